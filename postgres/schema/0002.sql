-- Some stores of version 1 have these columns and tables already: builds between two versions made them.

-- The least version of the schema that a build must know to write here at all, and to start actions. A
-- migration that an older build would do wrong under raises them; one that it can live with leaves
-- them. Every version of the schema from this one on has these columns.
ALTER TABLE kapi.head ADD COLUMN IF NOT EXISTS min_report integer NOT NULL DEFAULT 1;
ALTER TABLE kapi.head ADD COLUMN IF NOT EXISTS min_start integer NOT NULL DEFAULT 1;

-- A history whose epoch is '' has not begun.
INSERT INTO kapi.head (one, epoch, seq, purged, cluster, place) VALUES (1, '', 0, 0, '', '') ON CONFLICT DO NOTHING;

-- What a runner recorded of the processes that do its work.
ALTER TABLE kapi.runners ADD COLUMN IF NOT EXISTS work text NOT NULL DEFAULT '';

-- What was watched of silent runners, by each clock. Times are in nanoseconds.
CREATE TABLE IF NOT EXISTS kapi.observations (
	runner     text COLLATE "C" NOT NULL,
	clock      text COLLATE "C" NOT NULL,
	beat       bigint NOT NULL,
	silent     bigint NOT NULL,
	since_boot bigint NOT NULL,
	awake      bigint NOT NULL,
	PRIMARY KEY (runner, clock)
) WITH (fillfactor = 50);
