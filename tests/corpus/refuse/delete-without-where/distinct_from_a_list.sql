DELETE FROM invoices WHERE ((paid) IS DISTINCT FROM 2 IN (3) OR true) = true
