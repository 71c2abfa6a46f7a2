-- A database as version 1 of the format had it: what later versions are brought up from.
PRAGMA page_size = 4096;
PRAGMA journal_mode = WAL;
CREATE TABLE meta(
    one    INTEGER PRIMARY KEY CHECK(one = 1),
    stream TEXT NOT NULL,             -- the ledger's name: no line can be moved to the ledger of another file
    hosts  INTEGER NOT NULL           -- so many have opened it; the last one is the one that is alive
) STRICT;
INSERT INTO meta VALUES(1, lower(hex(randomblob(16))), 0);

CREATE TABLE run(
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,  -- UUID v7: they grow, so that new ones share pages
    version    INTEGER NOT NULL,
    status     TEXT NOT NULL,
    route      TEXT NOT NULL,
    principal  TEXT NOT NULL,
    host       INTEGER NOT NULL,      -- who committed or claimed it last
    created_at INTEGER NOT NULL,      -- milliseconds, like all times
    updated_at INTEGER NOT NULL,
    due        INTEGER,
    lists      INTEGER,               -- of the open question: how many lists of approvers it has
    checkpoint BLOB NOT NULL
) STRICT;
CREATE INDEX run_principal ON run(principal, id);
CREATE INDEX run_open ON run(id) WHERE status IN ('pending', 'running');
CREATE INDEX run_paused ON run(id) WHERE status = 'paused';
CREATE INDEX run_due ON run(due) WHERE status = 'paused';

CREATE TABLE approver(
    run  INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    list INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY(run, list, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE excluded(
    run       INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    principal TEXT NOT NULL,
    PRIMARY KEY(run, principal)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger(
    seq   INTEGER PRIMARY KEY,        -- the number in the stream
    run   BLOB NOT NULL,              -- no reference: the ledger outlives runs
    entry BLOB NOT NULL,
    hash  BLOB NOT NULL
) STRICT;

CREATE TABLE key(
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    hash       BLOB NOT NULL UNIQUE,
    principal  TEXT NOT NULL,         -- JSON: with its teams and roles
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE TABLE session(
    hash       BLOB PRIMARY KEY,
    key        TEXT NOT NULL REFERENCES key(id) ON DELETE CASCADE,
    token      TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA application_id = 1095059273; -- AEGI
PRAGMA user_version = 1;
