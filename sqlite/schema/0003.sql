-- The queue: the keys that an action waits for, separated by spaces, and the fence of its start.
ALTER TABLE actions ADD COLUMN waits TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN ticket INTEGER NOT NULL DEFAULT 0;
-- New flags: 8 leave running, 16 dismiss failed.

PRAGMA user_version = 3;
