-- Sessions of the page stand among the tokens: the id of the token that one was begun with, '' if without
-- one, NULL of a token. The hash is that of both halves. No older build takes one for a token, as it hashes
-- no token to that.
ALTER TABLE tokens ADD COLUMN session_of TEXT;

PRAGMA user_version = 6;
