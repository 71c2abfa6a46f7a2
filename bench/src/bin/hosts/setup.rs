//! What the load is put on: hosts, and what they keep their runs in.

use aegis_bench::server::{Build, Server};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Two hundred bytes, as people write them.
pub(crate) const MESSAGE: &str = "Please go through the notes from Tuesday and tell me which of the open points still needs an owner. The service \
    answered in 38 ms on average, 12.5 percent faster than in the week before, and nobody kn";

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

/// Where everything is, and where it is put.
pub(crate) struct Place {
    binary: PathBuf,
    /// The configuration as it is written down.
    config: String,
    folder: PathBuf,
}

/// All that a row needs; it ends with this. The hosts go first.
pub(crate) struct Running {
    hosts: Vec<Server>,
    other: Option<(SocketAddr, u32)>,
    postgres: Option<(aegis_postgres::Server, String)>,
    _folders: Vec<TempDir>,
}

/// So far.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) transactions: f64,
    pub(crate) wal: f64,
}

impl Place {
    pub(crate) fn new(binary: Option<PathBuf>, config: &Path) -> Result<Place> {
        let here = std::env::current_exe()?;
        let folder = here.parent().ok_or_else(|| Error::other("this program is in no folder"))?.to_path_buf();
        let binary = binary.unwrap_or_else(|| folder.join("aegis"));
        let missing = |_| Error::new(ErrorKind::NotFound, format!("there is no {}: say `make bench`", binary.display()));
        Ok(Place { binary: binary.canonicalize().map_err(missing)?, config: std::fs::read_to_string(config)?, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn start(&self, setup: &Setup) -> Result<Running> {
        let (hosts, postgres) = match setup {
            Setup::Other(Other { address, pid }) => {
                return Ok(Running { hosts: vec![], other: Some((*address, *pid)), postgres: None, _folders: vec![] });
            }
            Setup::Sqlite => (1, None),
            Setup::Postgres(hosts) => {
                let server = aegis_postgres::Server::start_durable(&self.folder);
                let url = server.database();
                (*hosts, Some((server, url)))
            }
        };
        let mut running = Running { hosts: vec![], other: None, postgres, _folders: vec![] };
        for _ in 0..hosts {
            let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&self.folder)?;
            let config = folder.path().join("aegis.yaml");
            let build = Build { binary: self.binary.clone(), config: config.clone() };
            let started = if let Some((_, url)) = &running.postgres {
                std::fs::write(folder.path().join("database"), url)?;
                std::fs::write(&config, self.config_on_postgres()?)?;
                build.start_as_configured(folder.path())?
            } else {
                std::fs::write(&config, &self.config)?;
                build.start(folder.path())?
            };
            running.hosts.push(started);
            running._folders.push(folder);
        }
        Ok(running)
    }

    fn config_on_postgres(&self) -> Result<String> {
        let sqlite = "persistence: {type: sqlite, path: aegis.db}";
        if !self.config.contains(sqlite) {
            return Err(Error::other(format!("the configuration has no line {sqlite:?}")));
        }
        Ok(self.config.replace(sqlite, "persistence: {type: postgres, url: secret://file/database}"))
    }
}

impl Running {
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
