-- Who started an action by way of a server; '' of all others.
ALTER TABLE actions ADD COLUMN sender TEXT NOT NULL DEFAULT '';

PRAGMA user_version = 5;
