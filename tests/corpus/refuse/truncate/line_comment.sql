TRUNCATE -- all of it
invoices