-- Where a runner renews itself by a write beside the store (see slots.go): the number of its slot, 0 for
-- none, in which file that is, and its lease. lease_ms is out of reach then: an older build sees no such
-- renewal, and must not take the runner for silent. It still sees whether its process is there.
ALTER TABLE runners ADD COLUMN slot          INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runners ADD COLUMN slot_file     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runners ADD COLUMN slot_lease_ms INTEGER NOT NULL DEFAULT 0;

-- Whether a peer with this clock has seen the lock on the runner's slot held.
ALTER TABLE observations ADD COLUMN held INTEGER NOT NULL DEFAULT 0;

PRAGMA user_version = 8;
