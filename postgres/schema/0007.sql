-- What is kept of the action of a defined operation (see store.EncodeDefined); NULL for any other. An older build that
-- changes the row leaves this column as it was.
ALTER TABLE kapi.actions ADD COLUMN IF NOT EXISTS defined text;

-- The arguments and checkpoints of actions.
CREATE TABLE IF NOT EXISTS kapi.saved (
	action  text COLLATE "C" NOT NULL,
	name    text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	data    bytea  NOT NULL,
	PRIMARY KEY (action, name)
) WITH (fillfactor = 50);

-- How often a checkpoint of an action was written, and the version of the latest.
CREATE TABLE IF NOT EXISTS kapi.marks (
	action  text COLLATE "C" PRIMARY KEY,
	saves   bigint NOT NULL,
	version bigint NOT NULL
) WITH (fillfactor = 50);

-- The operations that peers offer, and the runners of those peers.
CREATE TABLE IF NOT EXISTS kapi.operations (
	name       text COLLATE "C" PRIMARY KEY,
	about      bytea  NOT NULL,
	offered_at bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS kapi.offers (
	runner text COLLATE "C" NOT NULL,
	name   text COLLATE "C" NOT NULL,
	PRIMARY KEY (runner, name)
);

-- An older build would take keys with no regard to operations, and know nothing of a limit. It still reports what it
-- runs.
UPDATE kapi.head SET min_start = greatest(min_start, 7);
