-- The only row: how far the history has come.
CREATE TABLE head (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	epoch   TEXT    NOT NULL,
	seq     INTEGER NOT NULL,
	purged  INTEGER NOT NULL,
	-- The file that this history took place in: a copy of the file gets a new epoch (see file.settle).
	file    INTEGER NOT NULL
) STRICT;

-- The table is its own compacted log: each row has the seq of its last change.
CREATE TABLE actions (
	seq                 INTEGER PRIMARY KEY,
	id                  TEXT    NOT NULL UNIQUE,
	title               TEXT    NOT NULL,
	description         TEXT    NOT NULL,
	created_at          INTEGER NOT NULL,
	status              INTEGER NOT NULL,
	progress            REAL,
	state               TEXT    NOT NULL,
	keys                TEXT    NOT NULL, -- separated by spaces, for display; the table keys decides
	updated_at          INTEGER NOT NULL,
	started_at          INTEGER NOT NULL,
	runner              TEXT,
	host                TEXT    NOT NULL,
	pid                 INTEGER NOT NULL,
	heard_at            INTEGER NOT NULL,
	cancel_requested_at INTEGER NOT NULL,
	cancelled_by        TEXT    NOT NULL,
	exit_code           INTEGER,
	fence               INTEGER NOT NULL,
	flags               INTEGER NOT NULL, -- 1 release on failure, 2 not proven dead, 4 late end
	silence             TEXT    NOT NULL
) STRICT;

-- The primary key ensures that no two ongoing actions hold the same key.
CREATE TABLE keys (
	key    TEXT PRIMARY KEY,
	action TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runners (
	id            TEXT    PRIMARY KEY,
	host          TEXT    NOT NULL,
	pid           INTEGER NOT NULL,
	boot_id       TEXT    NOT NULL,
	pid_namespace TEXT    NOT NULL,
	start_time    INTEGER NOT NULL,
	lease_ms      INTEGER NOT NULL,
	beat          INTEGER NOT NULL,
	heard_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
	id          TEXT    PRIMARY KEY,
	name        TEXT    NOT NULL,
	type        TEXT    NOT NULL,
	permissions INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL, -- 0 is never
	hash        BLOB    NOT NULL  -- SHA-256 of the whole token
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 1;
