-- What a pending action waits for, for programs: the seq of the row when it was written, then key, id and
-- title of what is in the way, each on a line; '' for nothing. An older build that changes the row leaves
-- what no longer counts, as the seq is another one then.
ALTER TABLE actions ADD COLUMN waits_for TEXT NOT NULL DEFAULT '';

-- Actions that wait for keys are among the pending ones; a light peer reads them in each transaction.
CREATE INDEX actions_pending ON actions (ticket) WHERE status = 0;

PRAGMA user_version = 7;
