ALTER DATABASE app a = b tablespace fast
