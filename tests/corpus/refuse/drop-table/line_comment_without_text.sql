DROP--
TABLE--
invoices