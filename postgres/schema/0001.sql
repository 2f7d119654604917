-- The one row with the head of the history. Every transaction writes it. The low fillfactor leaves room in
-- its page, so that this makes no new index entries.
CREATE TABLE kapi.head (
	one     integer PRIMARY KEY CHECK (one = 1),
	epoch   text    NOT NULL,
	seq     bigint  NOT NULL,
	purged  bigint  NOT NULL,
	-- The place of this history: the database cluster, and the table's oid and timeline. At another
	-- place a new epoch begins (see Store.beginEpoch).
	cluster text    NOT NULL,
	place   text    NOT NULL
) WITH (fillfactor = 20);

-- The table is also the feed: seq is that of the row's last change. Values that SQL needs have their own
-- columns; everything else is in data (see encoding.go), because every peer reads every row.
CREATE TABLE kapi.actions (
	id         text COLLATE "C" NOT NULL,
	seq        bigint PRIMARY KEY,
	status     bigint NOT NULL,
	updated_at bigint NOT NULL,
	runner     text COLLATE "C",
	data       bytea  NOT NULL,
	CONSTRAINT actions_id UNIQUE (id)
);

-- The primary key ensures that no two ongoing actions hold the same key.
CREATE TABLE kapi.keys (
	key    text COLLATE "C" NOT NULL,
	action text COLLATE "C" NOT NULL,
	CONSTRAINT keys_once PRIMARY KEY (key)
);

-- Starts that transactions of embedding programs have recorded, and that have no seq yet. Their keys are
-- already in the table keys.
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

-- The secret with which peers sign, so that every peer can check the signatures.
CREATE TABLE kapi.secrets (
	one     integer PRIMARY KEY CHECK (one = 1),
	signing bytea   NOT NULL
);

-- The answers to starts that their senders may repeat.
CREATE TABLE kapi.answers (
	sender text COLLATE "C" NOT NULL,
	key    text COLLATE "C" NOT NULL,
	action text COLLATE "C" NOT NULL,
	hash   bytea  NOT NULL,
	body   bytea  NOT NULL,
	seen   bigint NOT NULL, -- when its action was last known to be ongoing
	PRIMARY KEY (sender, key)
);

-- The number of transactions that each writer has committed. A writer that lost the answer to a COMMIT
-- reads it here.
CREATE TABLE kapi.writers (
	id text COLLATE "C" PRIMARY KEY,
	n  bigint NOT NULL,
	at bigint NOT NULL
) WITH (fillfactor = 50);
