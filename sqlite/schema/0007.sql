-- What a pending action waits for, for programs: the seq of the row when it was written, then key, id and
-- title of what is in the way, each on a line; '' for nothing. An older build that changes the row leaves
-- what no longer counts, as the seq is another one then.
ALTER TABLE actions ADD COLUMN waits_for TEXT NOT NULL DEFAULT '';

PRAGMA user_version = 7;
