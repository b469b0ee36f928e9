DELETE FROM invoices WHERE ((NOT 'a' LIKE 'a' AND paid) = true) IS NOT NULL
