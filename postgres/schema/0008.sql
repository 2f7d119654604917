-- Which processes of a dead runner were asked to end (see store.Asked). An older build adds nothing here.
ALTER TABLE kapi.runners ADD COLUMN IF NOT EXISTS asked text NOT NULL DEFAULT '';
