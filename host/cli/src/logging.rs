//! Where logs go: to stderr, so that stdout is the command's answer alone.

use crate::terminal::colours_wanted;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// How a command logs when nobody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Does one thing and ends: warnings only.
    Command,
    /// A server for people who watch it.
    Dev,
    /// A server that machines watch: JSON, unless it runs on a terminal.
    Serve,
}

/// `AEGIS_LOG`, else `RUST_LOG`, says what is logged (`debug`, `aegis_server=debug,info`, …).
pub(crate) fn start(kind: Kind) {
    let default = if kind == Kind::Command { "warn" } else { "info" };
    let asked = ["AEGIS_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let filter = EnvFilter::builder().parse_lossy(asked.as_deref().unwrap_or(default));
    // Where stderr takes no more (a full disk), the subscriber would say so on stderr, and panic in whoever had something to log.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).log_internal_errors(false);
    if kind == Kind::Serve && !stderr().is_terminal() {
        log.json().flatten_event(true).init();
    } else {
        log.compact().with_ansi(stderr().is_terminal() && colours_wanted()).init();
    }
}
