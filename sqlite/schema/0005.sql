-- Who started the action over a server; '' if it was not started over one.
ALTER TABLE actions ADD COLUMN sender TEXT NOT NULL DEFAULT '';

PRAGMA user_version = 5;
