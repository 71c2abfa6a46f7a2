//! `aegis ready`: for whatever keeps a server running and has no HTTP client beside it, such as a container with nothing else in it.

use crate::client::Server;
use crate::failure::Failure;
use clap::Args;
use std::time::{Duration, Instant};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct Ready {
    /// Ask again until it is, for so long at most: 30s, 5min
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "0s")]
    wait: Duration,
}

impl Ready {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (server, begun) = (Server::from_env()?, Instant::now());
        loop {
            match server.ready().await {
                Err(_) if begun.elapsed() < self.wait => tokio::time::sleep(PAUSE).await,
                end => return end,
            }
        }
    }
}
