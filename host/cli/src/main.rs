//! The command line. A command is a file; this one only says which there are, and how they end: 0 done, 1 refused or failed,
//! 2 wrong usage.

mod allocator;
mod client;
mod completions;
mod config;
mod db;
mod dev;
mod failure;
mod guard;
mod hosting;
mod keys;
mod ledger;
mod loading;
mod logging;
mod notify;
mod ready;
mod runs;
mod serve;
mod store;
mod terminal;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;

/// Guards in front of language models: WebAssembly components judge, people approve.
#[derive(Debug, Parser)]
#[command(name = "aegis", version, propagate_version = true, after_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const ENVIRONMENT: &str = "Environment:
  AEGIS_SERVER_URL  the server that `runs` and `ready` talk to (default http://127.0.0.1:8000)
  AEGIS_API_KEY     the key it is talked to with
  AEGIS_LOG         what is logged, for example debug (else RUST_LOG)
  NO_COLOR          no colours when set";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server to try things with: no authentication, this machine alone
    Dev(dev::Dev),
    /// Start a server
    Serve(serve::Serve),
    /// Ask whether a server takes requests: exits 0 when it does
    Ready(ready::Ready),
    /// List, show, create and decide runs
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Begin, build, test, inspect and measure guards
    #[command(subcommand)]
    Guard(guard::Guard),
    /// Create, list and revoke keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Export the ledger, verify an export, ask the guards again
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// Check, copy and migrate the store
    #[command(subcommand)]
    Db(db::Db),
    /// Check and show the configuration
    #[command(subcommand)]
    Config(config::Config),
    /// Print completions for a shell
    Completions(completions::Completions),
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|it| it == aegis_wasm::COMPILE) {
        let done = aegis_wasm::compile_for_parent(std::io::stdin(), std::io::stdout());
        return if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    command()
}

#[tokio::main]
async fn command() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.command.logs());
    match cli.command.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::tell(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn logs(&self) -> logging::Kind {
        match self {
            Command::Dev(_) => logging::Kind::Dev,
            Command::Serve(_) => logging::Kind::Serve,
            _ => logging::Kind::Command,
        }
    }

    async fn run(self) -> Result<(), Failure> {
        match self {
            Command::Dev(dev) => dev.run().await,
            Command::Serve(serve) => serve.run().await,
            Command::Ready(ready) => ready.run().await,
            Command::Runs(runs) => runs.run().await,
            Command::Guard(guard) => guard.run().await,
            Command::Keys(keys) => keys.run().await,
            Command::Ledger(ledger) => ledger.run().await,
            Command::Db(db) => db.run().await,
            Command::Config(config) => config.run().await,
            Command::Completions(completions) => completions.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_fit_together() {
        Cli::command().debug_assert();
    }
}
