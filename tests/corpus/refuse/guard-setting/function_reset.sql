ALTER FUNCTION f RESET session_replication_role
