SELECT 5--'
; DROP TABLE invoices; --'