//! What is asked of the server, each on the route of `bench/aegis.yaml` that is made for it.

use aegis_bench::load::{Ask, Enough, Found, load, message};
use std::cell::RefCell;
use std::io::{Error, Result};
use std::net::SocketAddr;

/// In the order in which they are measured: approving takes the runs that were paused just before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    NoGuard,
    OneGuard,
    ThreeGuards,
    Blocked,
    Paused,
    Fetched,
    Approved,
}

impl Phase {
    pub(crate) const ALL: [Phase; 7] =
        [Phase::NoGuard, Phase::OneGuard, Phase::ThreeGuards, Phase::Blocked, Phase::Paused, Phase::Fetched, Phase::Approved];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::NoGuard => "run, no guard",
            Phase::OneGuard => "run, one guard allows",
            Phase::ThreeGuards => "run, three guards allow",
            Phase::Blocked => "run → blocked",
            Phase::Paused => "run → paused",
            Phase::Fetched => "GET run",
            Phase::Approved => "resume (approve)",
        }
    }

    fn ask(self, paused: &mut Vec<String>) -> Ask {
        let create = |route, lead, status| Ask::Create { route, text: message(lead), status };
        match self {
            Phase::NoGuard => create("bare", "", "completed"),
            Phase::OneGuard => create("default", "", "completed"),
            Phase::ThreeGuards => create("three", "", "completed"),
            Phase::Blocked => create("blocked", "This is about the forbidden topic. ", "blocked"),
            Phase::Paused => create("hold", "I would like financial advice. ", "paused"),
            Phase::Fetched => Ask::Fetch(paused.iter().take(50).cloned().collect()),
            Phase::Approved => Ask::Approve(RefCell::new(std::mem::take(paused))),
        }
    }

    /// Asks this for a while. `paused` gets the runs that now wait for a person, and loses those that do no more.
    ///
    /// # Errors
    /// An answer was not what it should be: then the figures are worth nothing.
    pub(crate) async fn run(self, server: SocketAddr, connections: usize, enough: Enough, paused: &mut Vec<String>) -> Result<Found> {
        let ask = self.ask(paused);
        let mut found = load(&[server], connections, &ask, enough).await?;
        match (self, ask) {
            (Phase::Paused, _) => paused.append(&mut found.runs),
            (Phase::Approved, Ask::Approve(left)) => *paused = left.into_inner(),
            _ => {}
        }
        match found {
            Found { answers: 0, .. } => Err(Error::other(format!("{}: no answer at all", self.name()))),
            Found { wrong: 0, .. } => Ok(found),
            _ => Err(Error::other(format!("{}: {} of {} answers were not what they should be", self.name(), found.wrong, found.answers))),
        }
    }
}
