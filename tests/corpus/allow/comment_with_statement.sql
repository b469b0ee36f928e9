SELECT 1 -- DROP TABLE users
, 2 /* ; TRUNCATE users */