-- The one row that says how far the history has come, and who may take part in it. It is written in
-- every transaction: with room in its page that makes no new index entries.
CREATE TABLE kapi.head (
	one     integer PRIMARY KEY CHECK (one = 1),
	epoch   text    NOT NULL,
	seq     bigint  NOT NULL,
	purged  bigint  NOT NULL,
	-- Where this history takes place: the database cluster, and this very table on a timeline of it.
	-- Elsewhere is another history (see Store.beginEpoch).
	cluster text    NOT NULL,
	place   text    NOT NULL,
	-- The least version of the schema that a build must know to write here at all, and to start
	-- actions. A migration that an older build would do wrong under raises them; one that it can live
	-- with leaves them. Every version of the schema has these columns.
	min_report integer NOT NULL,
	min_start  integer NOT NULL
) WITH (fillfactor = 20);

INSERT INTO kapi.head (one, epoch, seq, purged, cluster, place, min_report, min_start) VALUES (1, '', 0, 0, '', '', 1, 1);

-- The table is its own compacted log: a row stands where its last change is. What SQL asks for has
-- columns of its own; all else is in data (see encoding.go), because every peer reads every row.
CREATE TABLE kapi.actions (
	id         text COLLATE "C" NOT NULL,
	seq        bigint PRIMARY KEY,
	status     bigint NOT NULL,
	updated_at bigint NOT NULL,
	runner     text COLLATE "C",
	data       bytea  NOT NULL,
	CONSTRAINT actions_id UNIQUE (id)
);

-- Once: no two ongoing actions hold one key.
CREATE TABLE kapi.keys (
	key    text COLLATE "C" NOT NULL,
	action text COLLATE "C" NOT NULL,
	CONSTRAINT keys_once PRIMARY KEY (key)
);

-- Starts that transactions of users have recorded, and that have no seq yet. Their keys are among
-- keys already.
CREATE TABLE kapi.starts (
	id   text COLLATE "C" PRIMARY KEY,
	keys text NOT NULL, -- separated by spaces
	data text NOT NULL
);

CREATE TABLE kapi.runners (
	id            text COLLATE "C" PRIMARY KEY,
	host          text   NOT NULL,
	pid           bigint NOT NULL,
	boot_id       text   NOT NULL,
	pid_namespace text   NOT NULL,
	start_time    bigint NOT NULL,
	lease_ms      bigint NOT NULL,
	beat          bigint NOT NULL,
	heard_at      bigint NOT NULL,
	-- What the runner recorded of the processes that do its work.
	work          text   NOT NULL
) WITH (fillfactor = 50);

-- What was watched of silent runners, by each clock. Times are in nanoseconds.
CREATE TABLE kapi.observations (
	runner     text COLLATE "C" NOT NULL,
	clock      text COLLATE "C" NOT NULL,
	beat       bigint NOT NULL,
	silent     bigint NOT NULL,
	since_boot bigint NOT NULL,
	awake      bigint NOT NULL,
	PRIMARY KEY (runner, clock)
) WITH (fillfactor = 50);

CREATE TABLE kapi.tokens (
	id          text COLLATE "C" PRIMARY KEY,
	name        text   NOT NULL,
	type        text   NOT NULL,
	permissions bigint NOT NULL,
	created_at  bigint NOT NULL,
	expires_at  bigint NOT NULL, -- 0 is never
	hash        bytea  NOT NULL  -- SHA-256 of the whole token
);

-- A key that peers sign with what every peer must be able to check.
CREATE TABLE kapi.secrets (
	one     integer PRIMARY KEY CHECK (one = 1),
	signing bytea   NOT NULL
);

-- What was answered to starts that their senders may repeat.
CREATE TABLE kapi.answers (
	sender text COLLATE "C" NOT NULL,
	key    text COLLATE "C" NOT NULL,
	action text COLLATE "C" NOT NULL,
	hash   bytea  NOT NULL,
	body   bytea  NOT NULL,
	seen   bigint NOT NULL, -- when its action was last known to be ongoing
	PRIMARY KEY (sender, key)
);

-- How many transactions each writer has committed: whoever lost the answer to a COMMIT looks here.
CREATE TABLE kapi.writers (
	id text COLLATE "C" PRIMARY KEY,
	n  bigint NOT NULL,
	at bigint NOT NULL
) WITH (fillfactor = 50);
