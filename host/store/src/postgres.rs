//! A store in a Postgres database that any number of equal hosts share: none leads, and none needs to know of another. One task of each host commits, and
//! makes many commits durable at once; others read, beat and listen. Every statement is one that a pooler in transaction mode can carry, nothing is kept
//! in a session, and no lock is held over two round trips but those of a batch.

mod address;
mod blobs;
mod connect;
mod keys;
mod listener;
mod removal;
mod requests;
mod runs;
mod schema;
mod seat;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

use crate::{Access, Hosts, StoreError};
use aegis_core::{Digest, RunId};
use async_trait::async_trait;
use connect::{Connector, PATIENCE, PAUSE, Pool};
use futures::future::BoxFuture;
use listener::Moves;
use rustls::CertificateError;
use seat::{Membership, Seat};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use uuid::Uuid;
use writer::Writer;

/// Runs, ledger, keys and sessions in a database.
pub struct Postgres {
    pool: Arc<Pool>,
    host: Option<Host>,
}

/// What a host has, and a command has not.
struct Host {
    membership: Arc<Membership>,
    moves: Arc<Moves>,
    writer: Writer,
    /// Runs may have been claimed of which nobody was told.
    claim_in_doubt: AtomicBool,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Postgres {
    /// Opens the database at `url`, and makes its tables where there are none or older ones. In a runtime of tokio, in which its tasks then run. A host
    /// waits 20 seconds for a database that cannot be reached, which may be starting as well; a command does not.
    ///
    /// # Errors
    /// It is not there or does not let us in, it is of a newer version that this one cannot work with, or the URL cannot be read.
    pub async fn open(url: &str, access: Access) -> Result<Postgres, StoreError> {
        let connector = Connector::new(url)?;
        let pool = Arc::new(Pool::new(connector.clone()));
        let patience = if access == Access::Host { PATIENCE } else { Duration::ZERO };
        bring_up(&pool, patience).await?;
        let host = match access {
            Access::Host => Some(Host::start(connector, pool.clone()).await?),
            Access::Command => None,
        };
        Ok(Postgres { pool, host })
    }

    /// Which version the database has, 0 where there is none, and which this program would make it.
    ///
    /// # Errors
    /// It is not there or does not let us in, or the URL cannot be read.
    pub async fn versions(url: &str) -> Result<(u32, u32), StoreError> {
        let db = Connector::new(url)?.connect().await?;
        Ok((schema::look(&db).await?, schema::NEWEST))
    }

    fn host(&self) -> Result<&Host, StoreError> {
        self.host.as_ref().ok_or(StoreError::NotHost)
    }

    fn seat(&self) -> Result<Seat, StoreError> {
        Ok(self.host()?.membership.seat())
    }
}

impl Host {
    async fn start(connector: Connector, pool: Arc<Pool>) -> Result<Host, StoreError> {
        let membership = Arc::new(Membership::join(&pool, our_name()).await?);
        let moves = Arc::new(Moves::new());
        let writer = Writer::start(connector.clone(), pool.clone(), membership.clone());
        let heart = tokio::spawn({
            let (membership, connector, pool) = (membership.clone(), connector.clone(), pool.clone());
            async move { membership.live(&connector, &pool).await }
        });
        let ears = tokio::spawn({
            let moves = moves.clone();
            async move { moves.hear(&connector, &pool).await }
        });
        Ok(Host { membership, moves, writer, claim_in_doubt: AtomicBool::new(false), tasks: vec![heart, ears] })
    }
}

async fn bring_up(pool: &Pool, patience: Duration) -> Result<(), StoreError> {
    let (until, mut pause, mut lost) = (Instant::now() + patience, PAUSE.0, Lost::default());
    loop {
        let end = async { schema::bring_up(&*pool.lend().await?).await };
        match end.await {
            Err(error @ StoreError::Away(_)) if Instant::now() < until => lost.missed("start", &error),
            end => return end,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// For people, in the log of others: which machine, and which process there. In a container each is the first process.
fn our_name() -> String {
    let machine = ["/proc/sys/kernel/hostname", "/etc/hostname"].into_iter().find_map(|it| std::fs::read_to_string(it).ok());
    format!("{} process {}", machine.unwrap_or_default().trim(), std::process::id()).trim_start().into()
}

#[async_trait]
impl Hosts for Postgres {
    fn clock_offset(&self) -> i64 {
        self.host.as_ref().map_or(0, |it| it.membership.offset())
    }

    fn run_moved(&self, run: RunId) -> BoxFuture<'static, ()> {
        match &self.host {
            Some(host) => host.moves.of(run),
            None => Moves::new().of(run),
        }
    }

    async fn orphaned(&self) {
        match &self.host {
            // Another host may have buried somebody, and died before it took over.
            Some(host) => drop(tokio::time::timeout(seat::LEASE / 5, host.membership.orphans.notified()).await),
            None => std::future::pending().await,
        }
    }

    fn in_touch(&self) -> Result<(), StoreError> {
        self.host.as_ref().map_or(Ok(()), |it| it.membership.in_touch())
    }

    async fn leave(&self) -> Result<(), StoreError> {
        let Some(host) = &self.host else { return Ok(()) };
        host.tasks.iter().for_each(JoinHandle::abort);
        host.membership.leave(&self.pool).await
    }
}

/// Says once that something is missing, and once that it is there again.
#[derive(Default)]
struct Lost(bool);

impl Lost {
    fn missed(&mut self, who: &str, error: &StoreError) {
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(who, %error, "lost the database; trying again");
        }
    }

    fn found(&mut self, who: &str) {
        if std::mem::take(&mut self.0) {
            tracing::info!(who, "the database is back");
        }
    }
}

fn uuid(run: RunId) -> Uuid {
    Uuid::from_bytes(*run.as_bytes())
}

fn run_id(id: Uuid) -> RunId {
    RunId::from_bytes(id.into_bytes())
}

fn digest(bytes: &[u8]) -> Result<Digest, StoreError> {
    bytes.try_into().map(Digest).map_err(|_| StoreError::Damaged("the database is damaged: a hash has not 32 bytes".into()))
}

/// What was asked was dropped without an answer.
fn gone() -> StoreError {
    StoreError::Io("the store's task failed on this: a fault in Aegis, the log has more".into())
}

/// What TLS has refused.
fn of_tls(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let io: &std::io::Error = std::error::Error::source(error)?.downcast_ref()?;
    io.get_ref()?.downcast_ref()
}

/// Nobody has answered, or not the database.
fn no_answer(error: &tokio_postgres::Error) -> StoreError {
    if let Some(rustls::Error::InvalidCertificate(why)) = of_tls(error) {
        let how = match why {
            CertificateError::UnknownIssuer => {
                ": have its authority among the system's, or name it by sslrootcert=FILE or in SSL_CERT_FILE"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => ": in the URL, name the host as it does",
            _ => "",
        };
        return StoreError::Place(format!("the database's certificate is not to be trusted ({why}){how}"));
    }
    match std::error::Error::source(error) {
        None => StoreError::Away(error.to_string()),
        Some(cause) if cause.is::<std::io::Error>() => StoreError::Away(cause.to_string()),
        // What is said neither by the network nor by the database does not change by itself.
        Some(cause) => StoreError::Place(format!("there is no connection to the database as its URL asks for it: {cause}")),
    }
}

fn failed(error: tokio_postgres::Error) -> StoreError {
    let Some(said) = error.as_db_error() else { return no_answer(&error) };
    let why = said.message().to_owned();
    let code = said.code();
    match code.code() {
        _ if *code == SqlState::DISK_FULL => StoreError::Full,
        _ if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE].contains(code) => {
            StoreError::Busy
        }
        // A standby, or a server that is about to end, has just begun, or has no connection to spare.
        "25006" | "25P03" | "53300" => StoreError::Away(why),
        it if it.starts_with("57P") || it.starts_with("08") => StoreError::Away(why),
        it if it.starts_with("28") || ["3D000", "3F000", "42501"].contains(&it) => {
            StoreError::Place(format!("the database does not let us in: {why}"))
        }
        it if it.starts_with("22") || it.starts_with("23") || it.starts_with("54") => StoreError::Refused(why),
        it if it.starts_with("XX") || ["42P01", "42703"].contains(&it) => StoreError::Damaged(format!("the database is damaged: {why}")),
        _ => StoreError::Io(format!("the database failed: {why}")),
    }
}
