-- Which processes of a dead runner were asked to end (see store.Asked). An older build adds nothing here.
ALTER TABLE runners ADD COLUMN asked TEXT NOT NULL DEFAULT '';

PRAGMA user_version = 11;
