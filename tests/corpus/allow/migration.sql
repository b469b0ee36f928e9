BEGIN;
-- Accounts get a state. The old flag stays until the next release; do not DROP it here.
CREATE TYPE account_state AS ENUM ('new', 'open', 'closed');
ALTER TABLE accounts ADD COLUMN state account_state NOT NULL DEFAULT 'new';
UPDATE accounts SET state = 'closed' WHERE closed_at IS NOT NULL;
CREATE INDEX accounts_by_state ON accounts (state) WHERE state <> 'closed';
COMMENT ON COLUMN accounts.state IS 'replaces "closed"; see accounts_by_state';
COMMIT;
