-- A key that peers sign with what every peer must be able to check.
CREATE TABLE secrets (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	signing BLOB    NOT NULL
) STRICT;

PRAGMA user_version = 2;
