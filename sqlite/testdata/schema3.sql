-- A store as kapi made it with version 3 of the schema: one action runs, one has failed.
CREATE TABLE actions (
	seq                 INTEGER PRIMARY KEY,
	id                  TEXT    NOT NULL UNIQUE,
	title               TEXT    NOT NULL,
	description         TEXT    NOT NULL,
	created_at          INTEGER NOT NULL,
	status              INTEGER NOT NULL,
	progress            REAL,
	state               TEXT    NOT NULL,
	keys                TEXT    NOT NULL, -- separated by spaces, for showing; the table keys rules
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
	flags               INTEGER NOT NULL, -- 1 release on failure, 2 given up, 4 late end
	silence             TEXT    NOT NULL
, waits TEXT NOT NULL DEFAULT '', ticket INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "actions" VALUES(1,'tzoth2gct65ibt2a6eivuu3wwq','Backup','',1795901304242,1,NULL,'','backup',1795901304242,1795901304242,'4k6n7jtqyzdbvo466z2zmhdhhd','host',10952,1795901304242,0,'',NULL,1,0,'','',0);
INSERT INTO "actions" VALUES(3,'wqjirhqkrgs3435ku5hnjyb227','Import','',1795901305743,3,NULL,'exit status 1','import',1795901305748,1795901305743,'3hiceird2heqst4kftzmwcrvrh','host',10961,1795901305748,0,'',1,2,0,'','',0);
CREATE TABLE answers (
	sender TEXT    NOT NULL,
	key    TEXT    NOT NULL,
	action TEXT    NOT NULL,
	hash   BLOB    NOT NULL,
	body   BLOB    NOT NULL,
	seen   INTEGER NOT NULL, -- when its action was last known to be ongoing
	PRIMARY KEY (sender, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE head (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	epoch   TEXT    NOT NULL,
	seq     INTEGER NOT NULL,
	purged  INTEGER NOT NULL,
	-- The file this history lives in: a copy of it is another history (see settleEpoch).
	file    INTEGER NOT NULL
) STRICT;
INSERT INTO "head" VALUES(1,'gileyniopckcxwjam6od2y74fw',3,0,1795901304225011659);
CREATE TABLE keys (
	key    TEXT PRIMARY KEY,
	action TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "keys" VALUES('backup','tzoth2gct65ibt2a6eivuu3wwq');
INSERT INTO "keys" VALUES('import','wqjirhqkrgs3435ku5hnjyb227');
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
INSERT INTO "runners" VALUES('3hiceird2heqst4kftzmwcrvrh','host',10961,'00000000-0000-4000-8000-000000000001','pid:[4026531836] time:[4026531834]',2711044,15000,1,1795901305744);
INSERT INTO "runners" VALUES('4k6n7jtqyzdbvo466z2zmhdhhd','host',10952,'00000000-0000-4000-8000-000000000001','pid:[4026531836] time:[4026531834]',2710894,15000,1,1795901304242);
CREATE TABLE secrets (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	signing BLOB    NOT NULL
) STRICT;
INSERT INTO "secrets" VALUES(1,X'DC822323598D16AB139E89BCB182DEDAD7AECA88BB982DA921CA739D0986CDBC');
CREATE TABLE tokens (
	id          TEXT    PRIMARY KEY,
	name        TEXT    NOT NULL,
	type        TEXT    NOT NULL,
	permissions INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL, -- 0 is never
	hash        BLOB    NOT NULL  -- SHA-256 of the whole token
) STRICT, WITHOUT ROWID;
INSERT INTO "tokens" VALUES('7qj56m74yjf4q7vp','admin','user',8,1795901304220,0,X'140B21EC5688D2AC5928C05D2EB5801C44FABBD2A3A21DD6A36426061EE769DE');
PRAGMA application_id = 1801547881;
PRAGMA user_version = 3;
