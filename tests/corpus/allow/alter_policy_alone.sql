ALTER POLICY own ON accounts
