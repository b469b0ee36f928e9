DELETE FROM users -- all old ones
WHERE id = 1