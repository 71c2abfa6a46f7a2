//! What the database looks like, and how an older one becomes a newer one while hosts of both versions work on it. Every table stands in the schema
//! `aegis` and is named with it: a pooler may lose what a session was told of its search path.
//!
//! Each table but the small ones is keyed by a run's id first (which begins with its time), or by the ledger's stream: so they can be partitioned by
//! time and distributed by run, and no constraint crosses from one to the other.

use super::connect::within;
use super::failed;
use crate::StoreError;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// Each step leads from the version that is its index to the next one, and never changes once it was released. Hosts of the version before go on while
/// it is made and after it: a step only adds, and what it adds, they need not know. What they no longer use is taken away by a later step.
const STEPS: &[&str] = &["
    CREATE TABLE aegis.host(                      -- seats, which hosts take one after the other; each has its stream of the ledger
        stream      text PRIMARY KEY,
        id          bigint UNIQUE,                -- who sits there, a number that no host before it had; NULL: nobody
        name        text NOT NULL,                -- for people
        lease       timestamptz NOT NULL,         -- from then on others may take it for dead
        n           bigint NOT NULL DEFAULT 0,    -- the last line
        hash        bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
        pruned_n    bigint NOT NULL DEFAULT 0,    -- the first line follows this one, which is gone
        pruned_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
    ) WITH (fillfactor = 20);                     -- one row a host, changed by every commit: its versions share a page
    CREATE TABLE aegis.dead(host bigint PRIMARY KEY);   -- hosts whose runs are to be taken over
    CREATE SEQUENCE aegis.hosts;

    CREATE TABLE aegis.run(
        id         uuid PRIMARY KEY,              -- version 7: they grow
        version    bigint NOT NULL,
        status     text NOT NULL,
        route      text NOT NULL,
        principal  text NOT NULL,
        host       bigint NOT NULL,               -- who committed or claimed it last
        shared     boolean NOT NULL,              -- a person or a second host was concerned with it: others are told when it moves
        created_at bigint NOT NULL,               -- milliseconds, like all times
        updated_at bigint NOT NULL,
        due        bigint,
        lists      bigint,                        -- of the open question: how many lists of approvers it has
        erased     smallint NOT NULL DEFAULT 0,   -- 1: its content is gone
        checkpoint bytea NOT NULL
    );
    ALTER TABLE aegis.run ALTER COLUMN checkpoint SET STORAGE EXTERNAL;   -- packed already
    CREATE INDEX run_principal ON aegis.run(principal, id);
    CREATE INDEX run_open ON aegis.run(host, id) WHERE status IN ('pending', 'running');
    CREATE INDEX run_paused ON aegis.run(id) WHERE status = 'paused';
    CREATE INDEX run_due ON aegis.run(due, id) WHERE status = 'paused';
    CREATE INDEX run_over ON aegis.run(erased, updated_at) WHERE status IN ('completed', 'blocked', 'denied', 'cancelled', 'error');

    CREATE TABLE aegis.approver(
        run  uuid NOT NULL,
        list bigint NOT NULL,
        name text NOT NULL,
        PRIMARY KEY(run, list, name)
    );
    CREATE TABLE aegis.excluded(
        run       uuid NOT NULL,
        principal text NOT NULL,
        PRIMARY KEY(run, principal)
    );
    CREATE TABLE aegis.request(                   -- that clients may send again, by the keys that they gave them
        principal  text NOT NULL,
        key        bytea NOT NULL,                -- its SHA-256
        body       bytea NOT NULL,                -- a digest of what was asked for, under the key
        run        uuid NOT NULL,
        asked_at   bigint NOT NULL,
        expires_at bigint NOT NULL,
        PRIMARY KEY(principal, key)
    );
    CREATE INDEX request_run ON aegis.request(run);
    CREATE INDEX request_expires ON aegis.request(expires_at);

    CREATE TABLE aegis.ledger(
        stream text NOT NULL,
        n      bigint NOT NULL,
        run    uuid,                              -- no reference: the ledger outlives runs
        entry  bytea NOT NULL,
        hash   bytea NOT NULL,
        PRIMARY KEY(stream, n)
    );

    CREATE TABLE aegis.key(
        seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id         text NOT NULL UNIQUE,
        hash       bytea NOT NULL UNIQUE,
        principal  text NOT NULL,                 -- JSON: with its teams and roles
        created_at bigint NOT NULL,
        revoked_at bigint
    );
    CREATE TABLE aegis.session(
        hash       bytea PRIMARY KEY,
        key        text NOT NULL,
        token      text NOT NULL,
        expires_at bigint NOT NULL
    );
    CREATE TABLE aegis.blob(
        digest bytea PRIMARY KEY,                 -- SHA-256 of the bytes
        bytes  bytea NOT NULL,
        kept   bigint NOT NULL DEFAULT 0          -- so often again: whoever forgets it must have seen it last
    );
"];

/// The version that this program makes and brings others up to.
pub(super) const NEWEST: u32 = STEPS.len() as u32;
/// The oldest version whose hosts can work with what [`NEWEST`] looks like.
const OLDEST: u32 = 1;
/// `AEGI`: who brings the database up holds this lock.
const LOCK: i64 = 0x4145_4749;

/// Makes sure that the database is one that this program can work with. Two that do so at once do it one after the other.
pub(super) async fn bring_up(db: &Client) -> Result<(), StoreError> {
    if look(db).await? >= NEWEST {
        return Ok(());
    }
    within(db.batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = '10s'; SELECT pg_advisory_xact_lock({LOCK}::bigint)"))).await?;
    let end = match climb(db).await {
        Ok(()) => "COMMIT",
        Err(error) => {
            drop(within(db.batch_execute("ROLLBACK")).await);
            return Err(error);
        }
    };
    within(db.batch_execute(end)).await
}

async fn climb(db: &Client) -> Result<(), StoreError> {
    // Another process may have been faster since.
    let version = look(db).await?;
    if version >= NEWEST {
        return Ok(());
    }
    // `CREATE SCHEMA IF NOT EXISTS` would need the right to create one where there is one.
    let prepare = "DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'aegis') THEN CREATE SCHEMA aegis; END IF;
        END $$;
        CREATE TABLE IF NOT EXISTS aegis.version(
            one     integer PRIMARY KEY CHECK(one = 1),
            version integer NOT NULL,
            oldest  integer NOT NULL              -- programs that know this version, and not the newest one, can work with it
        )";
    within(db.batch_execute(prepare)).await?;
    for step in &STEPS[version as usize..] {
        // However long it takes: only the lock on a table that others use is not waited for.
        db.batch_execute(step).await.map_err(failed)?;
    }
    let note =
        "INSERT INTO aegis.version VALUES(1, $1, $2) ON CONFLICT (one) DO UPDATE SET version = excluded.version, oldest = excluded.oldest";
    let (newest, oldest) = (NEWEST.cast_signed(), OLDEST.cast_signed());
    within(db.execute_typed(note, &[(&newest, Type::INT4), (&oldest, Type::INT4)])).await.map(drop)
}

/// The version that is there, 0 where there is none.
pub(super) async fn look(db: &Client) -> Result<u32, StoreError> {
    // By the tables and not by `to_regclass`, which remembers that there was none.
    let sql = "SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = 'aegis' AND relname = 'version'),
        current_setting('server_version_num'::text)::int, current_setting('server_encoding'::text)";
    let there = within(db.query_typed(sql, &[])).await?;
    let server: i32 = there[0].get(1);
    if server < 150_000 {
        return Err(StoreError::Place(format!("the database is Postgres {}: Aegis needs 15 or newer", server / 10_000)));
    }
    let encoding: &str = there[0].get(2);
    if encoding != "UTF8" {
        return Err(StoreError::Place(format!(
            "the database's encoding is {encoding}, and Aegis needs UTF8: make one by CREATE DATABASE aegis ENCODING 'UTF8' TEMPLATE template0, and name that"
        )));
    }
    if !there[0].get::<_, bool>(0) {
        return Ok(0);
    }
    let rows = within(db.query_typed("SELECT version, oldest FROM aegis.version", &[])).await?;
    let Some(row) = rows.first() else { return Ok(0) };
    let (version, oldest) = (row.get::<_, i32>(0).cast_unsigned(), row.get::<_, i32>(1).cast_unsigned());
    if oldest > NEWEST { Err(StoreError::Newer { found: version, known: NEWEST }) } else { Ok(version) }
}
