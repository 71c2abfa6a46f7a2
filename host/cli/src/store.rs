//! The store, as commands open it: beside whoever has it.

use crate::failure::Failure;
use crate::hosting::config_file;
use aegis_core::Code;
use aegis_server::config::{PersistenceSettings, Settings, environment};
use aegis_server::open_store;
use aegis_store::{Access, Store};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
pub(crate) struct Of {
    /// The configuration that names the store; ./aegis.yaml when left out, and without one the store of `aegis dev`
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Of {
    /// Where the store is.
    pub(crate) fn persistence(&self) -> Result<PersistenceSettings, Failure> {
        Ok(Settings::persistence(config_file(self.config.as_deref()), &environment())?)
    }

    pub(crate) async fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        let persistence = self.persistence()?;
        make_place(config_file(self.config.as_deref()), &persistence)?;
        open(&persistence).await
    }
}

pub(crate) async fn open(persistence: &PersistenceSettings) -> Result<Arc<dyn Store>, Failure> {
    Ok(open_store(persistence, Access::Command).await?)
}

/// Without a configuration the store is that of `aegis dev`, which need not have run yet.
pub(crate) fn make_place(file: Option<&Path>, persistence: &PersistenceSettings) -> Result<(), Failure> {
    match (file, persistence) {
        (None, PersistenceSettings::Sqlite(path)) => make_folder(path),
        _ => Ok(()),
    }
}

/// The folder that a database will lie in.
pub(crate) fn make_folder(database: &Path) -> Result<(), Failure> {
    let folder = database.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| Failure::new(Code::CLI_FILE, format!("{}: {error}", folder.display())))
}
