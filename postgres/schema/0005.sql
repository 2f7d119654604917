-- Data of format 3, which has what an action waits for: a build that doesn't know it can't read the rows.
UPDATE kapi.head SET min_report = 5, min_start = 5;
-- Actions that wait for keys are among the pending ones; a light peer reads them in each transaction.
CREATE INDEX IF NOT EXISTS actions_pending ON kapi.actions (seq) WHERE status = 0;
