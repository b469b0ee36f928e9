SELECT E'a'
-- b
'\'; DROP TABLE users; --'