-- The keys that pending actions wait for, or have got from the queue without having begun. ticket is that of
-- the action. So a light peer reads only the part of the queue that its changes concern. An older build would
-- queue actions without adding rows here, so it must not start any.
CREATE TABLE queue (
	key    TEXT    NOT NULL,
	ticket INTEGER NOT NULL,
	action TEXT    NOT NULL,
	PRIMARY KEY (key, ticket)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_ticket ON queue (ticket);
INSERT INTO queue (key, ticket, action)
	WITH RECURSIVE each_key (key, rest, ticket, action) AS (
		SELECT '', waits || ' ', ticket, id FROM actions WHERE status = 0 AND waits <> ''
		UNION ALL SELECT substr(rest, 1, instr(rest, ' ') - 1), substr(rest, instr(rest, ' ') + 1), ticket, action
			FROM each_key WHERE rest <> ''
	)
	SELECT key, ticket, action FROM each_key WHERE key <> '';
DROP INDEX actions_pending;

-- No action that has ended has this seq or a lower one. So the oldest of them are found without reading
-- all ongoing actions. It may be too low; older builds ignore it.
ALTER TABLE head ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;

UPDATE head SET min_start = max(min_start, 9);

PRAGMA user_version = 9;
