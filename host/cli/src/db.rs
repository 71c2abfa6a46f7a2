//! `aegis db`: looks after the store itself, also while a server runs on it.

use crate::failure::Failure;
use crate::keys::Of;
use crate::terminal::{line, print, print_json};
use aegis_core::Code;
use aegis_store::Upkeep as _;
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(crate) enum Db {
    /// Read everything, and say what is wrong: the file, the ledger's chain, every run and its entries. Changes nothing
    Check(Check),
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
        }
    }
}

impl Check {
    async fn run(self) -> Result<(), Failure> {
        let report = self.of.store().await?.0.check().await?;
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
