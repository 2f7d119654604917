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

-- The actions that have ended, among any number of ongoing ones.
CREATE INDEX IF NOT EXISTS actions_ended ON kapi.actions (seq) WHERE status >= 4;

UPDATE kapi.head SET min_start = greatest(min_start, 6);
