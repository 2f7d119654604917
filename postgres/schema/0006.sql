-- The keys that pending actions wait for, or have got from the queue without having begun. ticket is that of
-- the action. So a light peer reads only the part of the queue that its changes concern. An older build would
-- queue actions without adding rows here, so it must not start any. The rows of those that wait already are
-- added by Store.fillQueue, because their keys are in data.
CREATE TABLE IF NOT EXISTS kapi.queue (
	key    text COLLATE "C" NOT NULL,
	ticket bigint NOT NULL,
	action text COLLATE "C" NOT NULL,
	PRIMARY KEY (key, ticket)
);
CREATE INDEX IF NOT EXISTS queue_ticket ON kapi.queue (ticket);
DROP INDEX IF EXISTS kapi.actions_pending;

-- No action that has ended has this seq or a lower one. So the oldest of them are found without reading
-- all ongoing actions. It may be too low; older builds ignore it.
ALTER TABLE kapi.head ADD COLUMN IF NOT EXISTS floor bigint NOT NULL DEFAULT 0;

UPDATE kapi.head SET min_start = greatest(min_start, 6);
