CREATE FUNCTION f(begin atomic) RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP TABLE invoices; SELECT 'end'
