I don't need it, it's old;
DROP TABLE invoices;