-- The folder and the name under which the file was last opened: its write-ahead log lies there.
ALTER TABLE head ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
-- The least version of the schema that a build must know to write here at all, and to start actions. A
-- migration that an older build would do wrong under raises them; one that it can live with leaves
-- them. Every version of the schema from this one on has these columns.
ALTER TABLE head ADD COLUMN min_report INTEGER NOT NULL DEFAULT 1;
ALTER TABLE head ADD COLUMN min_start INTEGER NOT NULL DEFAULT 1;

-- A history whose epoch is '' has not begun.
INSERT OR IGNORE INTO head (one, epoch, seq, purged, file) VALUES (1, '', 0, 0, 0);

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
