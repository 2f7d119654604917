-- Sessions of the page are stored among the tokens. session_of is NULL for a token; for a session it is the
-- id of the token that it was begun with, or '' if there was none. The hash of a session is over both of its
-- halves, which no token hashes to, so an older build never accepts a session as a token.
ALTER TABLE kapi.tokens ADD COLUMN IF NOT EXISTS session_of text COLLATE "C";
