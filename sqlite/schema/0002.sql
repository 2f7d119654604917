-- A key that peers sign with what every peer must be able to check.
CREATE TABLE secrets (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	signing BLOB    NOT NULL
) STRICT;

-- What was answered to starts that their senders may repeat.
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
