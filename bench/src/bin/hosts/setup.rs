//! What the load is put on: hosts, and what they keep their runs in.

use aegis_bench::place::Place;
use aegis_bench::server::{Build, Server};
use std::io::{Error, Result};
use std::net::SocketAddr;
use tempfile::TempDir;

/// A server that runs already.
pub(crate) struct Other {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

pub(crate) enum Setup {
    Sqlite,
    /// So many hosts.
    Postgres(usize),
    Other(Other),
}

impl Setup {
    pub(crate) fn name(&self) -> String {
        match self {
            Setup::Sqlite => "SQLite, 1 host".into(),
            Setup::Postgres(1) => "Postgres, 1 host".into(),
            Setup::Postgres(hosts) => format!("Postgres, {hosts} hosts"),
            Setup::Other(_) => "the other".into(),
        }
    }

    pub(crate) fn has_postgres(&self) -> bool {
        matches!(self, Setup::Postgres(_))
    }
}

/// All that a row needs; it ends with this. The hosts go first.
pub(crate) struct Running {
    hosts: Vec<Server>,
    other: Option<(SocketAddr, u32)>,
    postgres: Option<(aegis_postgres::Server, String)>,
    folders: Vec<TempDir>,
}

/// So far.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) transactions: f64,
    pub(crate) wal: f64,
}

impl Running {
    pub(crate) fn start(place: &Place, setup: &Setup) -> Result<Running> {
        let mut running = Running { hosts: vec![], other: None, postgres: None, folders: vec![] };
        let hosts = match setup {
            Setup::Sqlite => 1,
            Setup::Postgres(hosts) => {
                let server = aegis_postgres::Server::start_durable(place.below());
                let url = server.database();
                running.postgres = Some((server, url));
                *hosts
            }
            Setup::Other(Other { address, pid }) => {
                running.other = Some((*address, *pid));
                0
            }
        };
        let written = std::fs::read_to_string(&place.build.config)?;
        for _ in 0..hosts {
            let folder = place.folder()?;
            let host = match &running.postgres {
                None => place.build.start(folder.path())?,
                Some((_, url)) => {
                    let config = folder.path().join("aegis.yaml");
                    std::fs::write(folder.path().join("database"), url)?;
                    std::fs::write(&config, on_postgres(&written)?)?;
                    Build { config, ..place.build.clone() }.start_as_configured(folder.path())?
                }
            };
            running.hosts.push(host);
            running.folders.push(folder);
        }
        Ok(running)
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.hosts.iter().map(|it| it.address).chain(self.other.map(|it| it.0)).collect()
    }

    pub(crate) fn hosts(&self) -> Vec<u32> {
        self.hosts.iter().map(|it| it.pid).chain(self.other.map(|it| it.1)).collect()
    }

    pub(crate) fn postgres(&self) -> Vec<u32> {
        self.postgres.as_ref().map_or(vec![], |(server, _)| server.processes())
    }

    pub(crate) fn counters(&self) -> Result<Counters> {
        let Some((server, url)) = &self.postgres else {
            let each = self.hosts.iter().map(|it| it.counter("aegis_store_transactions_total"));
            return Ok(Counters { transactions: each.sum::<Result<f64>>()?, wal: 0.0 });
        };
        let said = server
            .sql(url, "SELECT xact_commit, pg_current_wal_insert_lsn() - '0/0' FROM pg_stat_database WHERE datname = current_database()");
        let (transactions, wal) = said.split_once('|').ok_or_else(|| Error::other(said.clone()))?;
        let number = |text: &str| text.parse().map_err(Error::other);
        Ok(Counters { transactions: number(transactions)?, wal: number(wal)? })
    }
}

fn on_postgres(config: &str) -> Result<String> {
    let sqlite = "persistence: {type: sqlite, path: aegis.db}";
    if !config.contains(sqlite) {
        return Err(Error::other(format!("the configuration has no line {sqlite:?}")));
    }
    Ok(config.replace(sqlite, "persistence: {type: postgres, url: secret://file/database}"))
}
