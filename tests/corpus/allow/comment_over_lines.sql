/* DROP TABLE users;
 TRUNCATE users; */ SELECT 1