-- Data has format 3, which adds what an action waits for. A build that doesn't know it can't read the rows.
UPDATE kapi.head SET min_report = 5, min_start = 5;
-- A light peer reads all pending actions in each transaction, because they include those that wait for keys.
CREATE INDEX IF NOT EXISTS actions_pending ON kapi.actions (seq) WHERE status = 0;
