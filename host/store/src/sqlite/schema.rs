//! What the database looks like, and how an older one becomes a newer one. A file of somebody else is never written to.

use super::lines;
use crate::StoreError;
use aegis_core::Link;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::path::Path;

/// `AEGI`, in the header of every database of Aegis.
const APPLICATION: i64 = 0x4145_4749;

/// Each step leads from the version that is its index to the next one, and never changes once it was released.
const STEPS: &[&str] = &[
    "
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
",
    "
    CREATE TABLE blob(
        digest BLOB PRIMARY KEY,          -- SHA-256 of the bytes
        bytes  BLOB NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE request(                 -- that clients may send again, by the keys that they gave them
        principal  TEXT NOT NULL,
        key        BLOB NOT NULL,         -- its SHA-256
        body       BLOB NOT NULL,         -- a digest of what was asked for, under the key
        run        INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY(principal, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX request_run ON request(run);
    CREATE INDEX request_expires ON request(expires_at);
",
    "
    ALTER TABLE run ADD COLUMN erased INTEGER NOT NULL DEFAULT 0;   -- 1: its content is gone
    CREATE INDEX run_over ON run(erased, updated_at) WHERE status IN ('completed', 'blocked', 'denied', 'cancelled', 'error');
    CREATE TABLE pruned(                  -- the ledger's first line follows this one, which is gone
        one  INTEGER PRIMARY KEY CHECK(one = 1),
        n    INTEGER NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
",
    "
    -- From here on a row of the ledger holds all lines of a transaction: `seq` is the number of the first, `entry` has them with a line break
    -- between two, mostly packed, and `hash` the 32 bytes of each. So a row of one line is as it was.
    ALTER TABLE ledger DROP COLUMN run;
",
    "
    ALTER TABLE approver ADD COLUMN id BLOB NOT NULL DEFAULT x'';   -- the run's: whoever is named finds the newest first
    UPDATE approver SET id = (SELECT id FROM run WHERE run.seq = approver.run);
    CREATE INDEX approver_name ON approver(name, list, id);
",
];

/// The version that this program makes and brings others up to.
pub(super) const NEWEST: u32 = STEPS.len() as u32;

/// What a new database begins with.
pub(super) fn make(db: &mut Connection) -> Result<(), StoreError> {
    db.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL;")?;
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    climb(&step, 0)?;
    Ok(step.commit()?)
}

/// Makes sure that this is a database of Aegis of the newest version.
pub(super) fn bring_up(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    // Looking comes before anything that would write.
    look(db, path)?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;          -- group commit makes it free
         PRAGMA wal_autocheckpoint = 1000;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;          -- what is deleted is overwritten",
    )?;
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster since.
    let version = look(&step, path)?;
    climb(&step, version)?;
    Ok(step.commit()?)
}

fn climb(step: &Connection, version: u32) -> Result<(), StoreError> {
    climb_to(step, version, NEWEST)
}

fn climb_to(step: &Connection, version: u32, end: u32) -> Result<(), StoreError> {
    for script in &STEPS[version as usize..end as usize] {
        step.execute_batch(script)?;
    }
    if version < end {
        step.pragma_update(None, "application_id", APPLICATION)?;
        step.pragma_update(None, "user_version", end)?;
    }
    Ok(())
}

/// Makes sure that the file can become smaller, which those of earlier versions cannot before they are written anew, once. Where there is no
/// room for that, it is done at a later start.
pub(super) fn make_shrinkable(db: &Connection, path: &Path) -> Result<(), StoreError> {
    const INCREMENTAL: i64 = 2;
    if db.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0))? != INCREMENTAL {
        tracing::info!(path = %path.display(), "writing the database anew, so that it can become smaller from now on");
        if let Err(error) = db.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM") {
            tracing::warn!(%error, "the database could not be written anew; it works, and does not become smaller");
        }
    }
    Ok(())
}

/// A database as an earlier program has left it.
#[cfg(test)]
pub(super) fn make_older(path: &Path, version: u32) {
    let db = Connection::open(path).expect("a place for it");
    climb_to(&db, 0, version).expect("every step leads on");
}

/// Bytes of the largest database that is looked through before a host starts, which takes a few milliseconds. In a larger one,
/// damage shows when what is damaged is read.
const LOOKED_THROUGH: u64 = 16 << 20;

/// Looks for damage.
pub(super) fn check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    if path.metadata().is_ok_and(|it| it.len() > LOOKED_THROUGH) {
        return Ok(());
    }
    let fault: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match fault.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Damaged(format!("{} is damaged: {}", path.display(), fault.replace('\n', " ")))),
    }
}

/// The version that is there, 0 for an empty file.
pub(super) fn look(db: &Connection, path: &Path) -> Result<u32, StoreError> {
    let foreign = || StoreError::Damaged(format!("{} is no database of Aegis: give another path, or restore a backup", path.display()));
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => foreign(),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged(format!("{} is damaged: {error}", path.display())),
        _ => error.into(),
    })?;
    let version = number("user_version")?;
    let empty = || db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get::<_, bool>(0));
    match u32::try_from(version) {
        Ok(0) if application == 0 && empty()? => Ok(0),
        Ok(found) if application == APPLICATION && found > NEWEST => Err(StoreError::Newer { found, known: NEWEST }),
        Ok(found) if application == APPLICATION && found > 0 => Ok(found),
        _ => Err(foreign()),
    }
}

/// A number for a host that no host before it had.
pub(super) fn next_host(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.query_row("UPDATE meta SET hosts = hosts + 1 RETURNING hosts", [], |row| row.get(0))?)
}

/// The link that the next line of the ledger takes.
pub(super) fn end_of_ledger(db: &Connection) -> Result<Link, StoreError> {
    let stream: String = db.query_row("SELECT stream FROM meta", [], |row| row.get(0))?;
    Ok(match lines::end(db)? {
        Some((n, previous)) => Link { stream, n, previous },
        None => Link::first(stream),
    })
}
