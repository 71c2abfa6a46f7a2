//! `aegis ledger`: hand the ledger out, verify what was handed out, ask the guards again. Works on the store itself, also while a
//! server runs on it.

mod export;
mod replay;
mod verify;

use crate::failure::Failure;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Write the ledger as JSON lines, with a signed head as the last one
    Export(export::Export),
    /// Verify an export, without the store: exits 1 and says where it breaks
    Verify(verify::Verify),
    /// Ask the same guards about the stored content again: exits 1 and names the runs in which they say something else
    Replay(replay::Replay),
}

impl Ledger {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Ledger::Export(export) => export.run().await,
            Ledger::Verify(verify) => verify.run().await,
            Ledger::Replay(replay) => replay.run().await,
        }
    }
}
