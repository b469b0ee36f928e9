DELETE FROM users WHERE 1 -- = id
= 1