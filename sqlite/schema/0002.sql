-- The key with which a peer signs what every other peer must be able to verify.
CREATE TABLE secrets (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	signing BLOB    NOT NULL
) STRICT;

-- The answers to starts that their senders may repeat.
CREATE TABLE answers (
	sender TEXT    NOT NULL,
	key    TEXT    NOT NULL,
	action TEXT    NOT NULL,
	hash   BLOB    NOT NULL,
	body   BLOB    NOT NULL,
	seen   INTEGER NOT NULL, -- when its action was last known to be ongoing
	PRIMARY KEY (sender, key)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;
