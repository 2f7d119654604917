-- What a pending action waits for, for programs: the row's seq when this was written, then the key, id
-- and title of the action in the way, each on its own line; '' if it waits for nothing. An older build
-- that changes the row doesn't update this column, but then the seq differs and the column is ignored.
ALTER TABLE actions ADD COLUMN waits_for TEXT NOT NULL DEFAULT '';

-- A light peer reads the pending actions in each transaction, because some of them wait for keys.
CREATE INDEX actions_pending ON actions (ticket) WHERE status = 0;

PRAGMA user_version = 7;
