-- Some stores of version 1 have these columns and tables already, from builds between the two versions.

-- The lowest schema version that a build must know to write here at all, and to start actions. A migration
-- raises them if an older build would do harm after it. Every version of the schema from this one on has
-- these columns.
ALTER TABLE kapi.head ADD COLUMN IF NOT EXISTS min_report integer NOT NULL DEFAULT 1;
ALTER TABLE kapi.head ADD COLUMN IF NOT EXISTS min_start integer NOT NULL DEFAULT 1;

-- An empty epoch means that the history has not begun.
INSERT INTO kapi.head (one, epoch, seq, purged, cluster, place) VALUES (1, '', 0, 0, '', '') ON CONFLICT DO NOTHING;

-- What a runner recorded about the processes that do its work.
ALTER TABLE kapi.runners ADD COLUMN IF NOT EXISTS work text NOT NULL DEFAULT '';

-- Observations of silent runners, by clock. Times are in nanoseconds.
CREATE TABLE IF NOT EXISTS kapi.observations (
	runner     text COLLATE "C" NOT NULL,
	clock      text COLLATE "C" NOT NULL,
	beat       bigint NOT NULL,
	silent     bigint NOT NULL,
	since_boot bigint NOT NULL,
	awake      bigint NOT NULL,
	PRIMARY KEY (runner, clock)
) WITH (fillfactor = 50);
