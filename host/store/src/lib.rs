//! Keeps runs, their ledger, the guards that they need, keys and sessions. Moves no run: what may happen to one is the core's business, and a
//! store only writes down what it is handed, completely or not at all.
//!
//! [`Store`] is what a host needs; [`Memory`], [`Sqlite`] and [`Postgres`] are stores, and one suite of tests holds for all of them.

mod blobs;
mod columns;
mod error;
mod export;
mod hosts;
mod keys;
mod ledger;
mod memory;
mod postgres;
mod requests;
mod runs;
mod sqlite;
mod upkeep;

#[cfg(test)]
mod conformance;

pub use blobs::Blobs;
pub use error::{CommitError, StoreError};
pub use export::{Broken, End, ExportError, Fault, Filter, Head, KeyError, LedgerKey, PublicKey, Verified, export, verify};
pub use hosts::Hosts;
pub use keys::{Key, Keys, NewKey, Session};
pub use ledger::{LedgerLine, Position, Removals, Verifier};
pub use memory::Memory;
pub use postgres::Postgres;
pub use requests::{Earlier, Requests};
pub use runs::{ApprovalFilter, Page, Paged, RunFilter, Runs, Unreadable};
pub use sqlite::{Access, BackupError, Sqlite, backup, versions};
pub use upkeep::{CheckReport, Description, Doomed, Gone, Held, Upkeep};

/// All that a host needs of a store.
pub trait Store: Runs + Requests + Keys + Blobs + Upkeep + Hosts {}

impl<T: Runs + Requests + Keys + Blobs + Upkeep + Hosts> Store for T {}
