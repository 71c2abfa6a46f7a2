use super::*;
use crate::Store;
use crate::conformance::{Place, conformance};
use aegis_postgres::Server;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// A database, in which the next host finds the one before dead.
struct Database {
    server: &'static Server,
    url: String,
}

impl Database {
    fn new() -> Database {
        let server = Server::shared();
        Database { server, url: server.database() }
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.url, sql)
    }

    /// What other hosts do to one that has been silent for too long.
    fn bury(&self) {
        self.sql("INSERT INTO aegis.dead SELECT id FROM aegis.host WHERE id IS NOT NULL; UPDATE aegis.host SET id = NULL");
    }

    async fn host(&self) -> Postgres {
        Postgres::open(&self.url, Access::Host).await.expect("a database")
    }
}

impl Place for Database {
    fn open(&self) -> Arc<dyn Store> {
        if self.sql("SELECT to_regclass('aegis.host') IS NOT NULL") == "t" {
            self.bury();
        }
        Arc::new(block_in_place(|| Handle::current().block_on(self.host())))
    }
}

conformance!(Database::new());
