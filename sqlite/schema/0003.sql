-- The queue: what an action waits for (keys, separated by spaces), and the fence of its start.
ALTER TABLE actions ADD COLUMN waits TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN ticket INTEGER NOT NULL DEFAULT 0;
-- Of the flags, 8 is leave running, and 16 dismiss failed.

PRAGMA user_version = 3;
