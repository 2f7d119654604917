-- The one row that says how far the history has come. It is written in every transaction:
-- with room in its page that makes no new index entries.
CREATE TABLE kapi.head (
	one     integer PRIMARY KEY CHECK (one = 1),
	epoch   text    NOT NULL,
	seq     bigint  NOT NULL,
	purged  bigint  NOT NULL,
	-- Where this history takes place: the database cluster, and this very table on a timeline of it.
	-- Elsewhere is another history (see Store.beginEpoch).
	cluster text    NOT NULL,
	place   text    NOT NULL
) WITH (fillfactor = 20);

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
	heard_at      bigint NOT NULL
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
