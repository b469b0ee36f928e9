/*
 * TRUNCATE users;
 * DELETE FROM users;
 */