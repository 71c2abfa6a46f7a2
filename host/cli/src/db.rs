//! `aegis db`: looks after the store itself, also while a server runs on it; only a database of an older version is not brought up then.

use crate::failure::Failure;
use crate::loading::{Bar, blocking};
use crate::store::{Of, open};
use crate::terminal::{line, print, print_json};
use aegis_core::Code;
use aegis_server::config::PersistenceSettings;
use aegis_server::store_versions;
use aegis_store::backup;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Db {
    /// Read everything, and say what is wrong: the file, the ledger's chain, every run and its entries. Changes nothing
    Check(Check),
    /// Copy the database as it is at one moment into a new file, also while a server writes to it. Restored elsewhere, a server goes on
    /// from that moment; never let both go on
    Backup(Backup),
    /// Bring a database of an older version up to this one; a server does the same when it starts
    Migrate(Migrate),
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The copy; nothing may be there yet
    file: PathBuf,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Only say whether there is something to do: exits 1 where there is
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    of: Of,
}

impl Db {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Db::Check(check) => check.run().await,
            Db::Backup(backup) => backup.run().await,
            Db::Migrate(migrate) => migrate.run().await,
        }
    }
}

impl Check {
    async fn run(self) -> Result<(), Failure> {
        let report = self.of.store().await?.check().await?;
        let (runs, lines, faults) = (report.runs, report.lines, report.faults);
        if self.of.json {
            print_json(&json!({"runs": runs, "lines": lines, "faults": faults}))?;
        } else {
            faults.iter().try_for_each(|it| print(&line(it)))?;
            print(&format!("{runs} runs, {lines} lines in the ledger, {} faults", faults.len()))?;
        }
        if faults.is_empty() { Ok(()) } else { Err(Failure::new(Code::STO_DAMAGED, "the database is damaged: see what was found")) }
    }
}

impl Backup {
    async fn run(self) -> Result<(), Failure> {
        let PersistenceSettings::Sqlite(from) = self.of.persistence()? else {
            let why = "runs are kept in Postgres, which has its own ways: pg_dump, or what its operator offers";
            return Err(Failure::new(Code::STO_PLACE, why));
        };
        let (source, to) = (from.clone(), self.file.clone());
        let bytes = blocking(move || {
            let bar = Bar::of_bytes();
            Ok(backup(&source, &to, &mut |done, all| bar.bytes(done, all))?)
        });
        let (bytes, to) = (bytes.await?, self.file.display().to_string());
        if self.of.json {
            return print_json(&json!({"file": to, "bytes": bytes}));
        }
        print(&format!("{}: {} of {}", line(&to), HumanBytes(bytes), line(&from.display().to_string())))
    }
}

impl Migrate {
    async fn run(self) -> Result<(), Failure> {
        let persistence = self.of.persistence()?;
        let (found, known) = store_versions(&persistence).await?;
        if !self.check && found < known {
            open(&persistence).await?;
        }
        if self.of.json {
            print_json(&json!({"from": found, "to": known, "migrated": !self.check && found < known}))?;
        } else {
            print(&said(found, known, self.check))?;
        }
        let older = Failure::new(Code::STO_OLDER, format!("the database has version {found}, and this program writes {known}"));
        if self.check && found < known { Err(older) } else { Ok(()) }
    }
}

fn said(found: u32, known: u32, check: bool) -> String {
    match (found < known, check) {
        (false, _) => format!("version {found}: nothing to do"),
        (true, true) => format!("version {found}, to be brought up to {known}"),
        (true, false) => format!("brought up from version {found} to {known}"),
    }
}
