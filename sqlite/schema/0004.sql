-- What a runner recorded of the processes that do its work.
ALTER TABLE runners ADD COLUMN work TEXT NOT NULL DEFAULT '';

-- What was watched of silent runners, by each clock. Times are in nanoseconds.
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
