UPDATE invoices SET paid = true WHERE (NOT (1, 2) = (1, 2) AND (a) OR NULL) IS NOT FALSE
