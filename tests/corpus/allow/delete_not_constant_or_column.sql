DELETE FROM invoices WHERE NOT (current_user = 'admin' OR owner = 'me')
