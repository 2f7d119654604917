-- The folder and the name under which the file was last opened, so where its write-ahead log is.
ALTER TABLE head ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
-- The lowest schema version that a build must know to write here at all, and to start actions. A
-- migration raises them if an older build would make mistakes with the new schema, and leaves them if
-- not. Every version of the schema from this one on has these columns.
ALTER TABLE head ADD COLUMN min_report INTEGER NOT NULL DEFAULT 1;
ALTER TABLE head ADD COLUMN min_start INTEGER NOT NULL DEFAULT 1;

-- The epoch is '' until the history begins.
INSERT OR IGNORE INTO head (one, epoch, seq, purged, file) VALUES (1, '', 0, 0, 0);

-- What a runner recorded about the processes that do its work.
ALTER TABLE runners ADD COLUMN work TEXT NOT NULL DEFAULT '';

-- What was observed of silent runners, by each clock. Times are in nanoseconds.
CREATE TABLE observations (
	runner     TEXT    NOT NULL,
	clock      TEXT    NOT NULL,
	beat       INTEGER NOT NULL,
	silent     INTEGER NOT NULL,
	since_boot INTEGER NOT NULL,
	awake      INTEGER NOT NULL,
	PRIMARY KEY (runner, clock)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 4;
