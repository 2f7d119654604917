-- The sessions of the web page are rows of this table, too. session_of is the id of the token that the
-- session was begun with, '' if it was begun without one, and NULL in the row of a token. The hash of a
-- session is that of both its halves. An older build never accepts a session as a token, because no
-- token has such a hash.
ALTER TABLE tokens ADD COLUMN session_of TEXT;

PRAGMA user_version = 6;
