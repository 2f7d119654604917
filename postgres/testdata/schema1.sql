-- A store as kapi made it with version 1 of the schema, dumped: one action runs, one has failed.
CREATE SCHEMA kapi;

CREATE TABLE kapi.actions (
    id text NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL,
    status bigint NOT NULL,
    updated_at bigint NOT NULL,
    runner text COLLATE pg_catalog."C",
    data bytea NOT NULL
);

CREATE TABLE kapi.answers (
    sender text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C",
    hash bytea NOT NULL,
    body bytea NOT NULL,
    seen bigint NOT NULL
);

CREATE TABLE kapi.head (
    one integer NOT NULL,
    epoch text NOT NULL,
    seq bigint NOT NULL,
    purged bigint NOT NULL,
    cluster text NOT NULL,
    place text NOT NULL,
    CONSTRAINT head_one_check CHECK ((one = 1))
)
WITH (fillfactor='20');

CREATE TABLE kapi.keys (
    key text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE kapi.runners (
    id text NOT NULL COLLATE pg_catalog."C",
    host text NOT NULL,
    pid bigint NOT NULL,
    boot_id text NOT NULL,
    pid_namespace text NOT NULL,
    start_time bigint NOT NULL,
    lease_ms bigint NOT NULL,
    beat bigint NOT NULL,
    heard_at bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE kapi.secrets (
    one integer NOT NULL,
    signing bytea NOT NULL,
    CONSTRAINT secrets_one_check CHECK ((one = 1))
);

CREATE TABLE kapi.starts (
    id text NOT NULL COLLATE pg_catalog."C",
    keys text NOT NULL,
    data text NOT NULL
);

CREATE TABLE kapi.tokens (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    type text NOT NULL,
    permissions bigint NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    hash bytea NOT NULL
);

CREATE TABLE kapi.version (
    version integer NOT NULL
);

CREATE TABLE kapi.writers (
    id text NOT NULL COLLATE pg_catalog."C",
    n bigint NOT NULL,
    at bigint NOT NULL
)
WITH (fillfactor='50');

INSERT INTO kapi.actions VALUES ('ks2is7vhfao7cvwdnmjjcij3jm', 1, 1, 1795901318958, 'gsocy52oxgzdfagvruqilvsynw', '\x01800101010100dc9cfbc0c468dc9cfbc0c468dc9cfbc0c468001a6b7332697337766866616f37637677646e6d6a6a63696a336a6d064261636b7570000000001a67736f637935326f78677a6466616776727571696c7673796e7702766dfaac01dc9cfbc0c46801066261636b757000');
INSERT INTO kapi.actions VALUES ('zz2fzexj74smphhiysuzrohk5u', 3, 3, 1795901320970, 'ha37etnjz7g6vpbksjtty2khhq', '\x01c001030302008cbcfbc0c46894bcfbc0c4688cbcfbc0c46800021a7a7a32667a65786a3734736d706868697973757a726f686b357506496d706f7274000d6578697420737461747573203100001a6861333765746e6a7a3767367670626b736a747479326b68687102766d94ad0194bcfbc0c4680106696d706f727400');

INSERT INTO kapi.head VALUES (1, 'c5df6h472pkmfqujrbbo2bit3o', 3, 0, '7713337428888312612', '16388/00000001');

INSERT INTO kapi.keys VALUES ('backup', 'ks2is7vhfao7cvwdnmjjcij3jm');
INSERT INTO kapi.keys VALUES ('import', 'zz2fzexj74smphhiysuzrohk5u');

INSERT INTO kapi.runners VALUES ('gsocy52oxgzdfagvruqilvsynw', 'host', 11069, '00000000-0000-4000-8000-000000000001', 'pid:[4026531836] time:[4026531834]', 2712365, 15000, 1, 1795901318959);
INSERT INTO kapi.runners VALUES ('ha37etnjz7g6vpbksjtty2khhq', 'host', 11082, '00000000-0000-4000-8000-000000000001', 'pid:[4026531836] time:[4026531834]', 2712565, 15000, 1, 1795901320966);

INSERT INTO kapi.secrets VALUES (1, '\x951705161dfbcfebf10285db082323042d11c494ec44c560ca5dc7865adee32a');

INSERT INTO kapi.tokens VALUES ('y5wfhn4gvkjxacln', 'admin', 'user', 8, 1795901318904, 0, '\x92f917d35f3776e27fee8d82c84259e0f1e692ee17446aad6df121502a5451cd');

INSERT INTO kapi.version VALUES (1);

INSERT INTO kapi.writers VALUES ('mm6trklhysff2xa23ues4uxlh3', 1, 1795901318932);
INSERT INTO kapi.writers VALUES ('tfvtfglkum7jqyhgtgjxcbj4ng', 1, 1795901318958);
INSERT INTO kapi.writers VALUES ('dhdt5n2jqc7teqgeijlunltqob', 2, 1795901320971);

ALTER TABLE ONLY kapi.actions
    ADD CONSTRAINT actions_id UNIQUE (id);

ALTER TABLE ONLY kapi.actions
    ADD CONSTRAINT actions_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY kapi.answers
    ADD CONSTRAINT answers_pkey PRIMARY KEY (sender, key);

ALTER TABLE ONLY kapi.head
    ADD CONSTRAINT head_pkey PRIMARY KEY (one);

ALTER TABLE ONLY kapi.keys
    ADD CONSTRAINT keys_once PRIMARY KEY (key);

ALTER TABLE ONLY kapi.runners
    ADD CONSTRAINT runners_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kapi.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (one);

ALTER TABLE ONLY kapi.starts
    ADD CONSTRAINT starts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kapi.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);

ALTER TABLE ONLY kapi.writers
    ADD CONSTRAINT writers_pkey PRIMARY KEY (id);
