-- What is kept of the action of a defined operation (see store.EncodeDefined); NULL for any other. An older
-- build that changes the row leaves this column as it was.
ALTER TABLE actions ADD COLUMN defined TEXT;

-- The arguments and checkpoints of actions. It has row ids, because a row may have 256 KiB.
CREATE TABLE saved (
	action  TEXT    NOT NULL,
	name    TEXT    NOT NULL,
	version INTEGER NOT NULL,
	data    BLOB    NOT NULL,
	PRIMARY KEY (action, name)
) STRICT;

-- How often a checkpoint of an action was written, and the version of the latest.
CREATE TABLE marks (
	action  TEXT    PRIMARY KEY,
	saves   INTEGER NOT NULL,
	version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The operations that peers offer, and the runners of those peers.
CREATE TABLE operations (
	name       TEXT    PRIMARY KEY,
	about      BLOB    NOT NULL,
	offered_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE offers (
	runner TEXT NOT NULL,
	name   TEXT NOT NULL,
	PRIMARY KEY (runner, name)
) STRICT, WITHOUT ROWID;

-- An older build would take keys with no regard to operations, and know nothing of a limit. It still reports what
-- it runs.
UPDATE head SET min_start = max(min_start, 10);

PRAGMA user_version = 10;
