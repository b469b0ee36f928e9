SELECT E'a'
'\' ; '; DROP TABLE users; --'