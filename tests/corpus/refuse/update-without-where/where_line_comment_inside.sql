UPDATE users SET role = 'admin' WHERE 1 -- = id
= 1