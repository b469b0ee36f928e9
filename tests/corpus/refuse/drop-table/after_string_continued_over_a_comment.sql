SELECT 'a' -- '
'b'; DROP TABLE invoices