-- A runner may renew itself by a write to a slot beside the store (see slots.go). Then these columns have
-- the number of the slot (0 for none), the identity of its file, and the runner's lease. lease_ms is so
-- large that it never runs out, because an older build doesn't see such renewals and must not consider
-- the runner silent. It still sees whether the runner's process exists.
ALTER TABLE runners ADD COLUMN slot          INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runners ADD COLUMN slot_file     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runners ADD COLUMN slot_lease_ms INTEGER NOT NULL DEFAULT 0;

-- Whether a peer with this clock has seen the lock on the runner's slot held.
ALTER TABLE observations ADD COLUMN held INTEGER NOT NULL DEFAULT 0;

PRAGMA user_version = 8;
