//! The server: configuration, runs and who may move them, HTTP, the approvals page. Judging, storing and asking models
//! happen elsewhere; rules about runs are the core's.

mod api;
mod app;
mod archive;
pub mod auth;
mod clock;
pub mod config;
mod detached;
mod driver;
mod guesses;
mod metrics;
mod open;
mod places;
mod retention;
mod serve;
#[cfg(test)]
mod tests;
mod web;

pub use app::{App, AppError, Erasure, HostedGuard, NewDecision, NewErasure, NewRun};
pub use archive::Archive;
pub use clock::{now, rfc3339};
pub use metrics::Metrics;
pub use open::{HostedProvider, OpenError, builtin, guards, open_store, plans, providers, store_versions};
pub use serve::{ListenError, Server, told_to_stop};
