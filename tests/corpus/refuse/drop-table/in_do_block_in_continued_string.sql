DO 'BEGIN DROP '
'TABLE invoices; END'