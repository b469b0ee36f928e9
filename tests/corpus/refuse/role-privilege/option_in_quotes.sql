ALTER ROLE agent "superuser"
