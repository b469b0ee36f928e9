TRUNCATE U&"d!0061ta" /* uescape ' */ UESCAPE $$!$$
