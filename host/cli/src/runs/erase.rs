//! `aegis runs erase`: says what it would erase, asks, and does it.

use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{confirm, is_a_person_there, line, print, print_json, tell};
use aegis_core::Code;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// Who created the runs
    #[arg(long, value_name = "P")]
    principal: String,
    /// End runs that are not over, and erase those, too; otherwise they are listed, and left as they are
    #[arg(long)]
    cancel: bool,
    /// Do not ask before; without a terminal nothing is erased unless this is said
    #[arg(long, short)]
    yes: bool,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Erasure {
    erased: u64,
    #[serde(default)]
    cancelled: u64,
    #[serde(default)]
    open: u64,
    #[serde(default)]
    open_runs: Vec<String>,
}

impl Erase {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        if !self.yes {
            let would = Erasure::read(&self.ask(server, true).await?)?;
            tell(&would.would(&self.principal));
            if !is_a_person_there() || !confirm("Erase this for good?") {
                return Err(Failure::new(Code::CLI_DECLINED, "nothing was erased: say --yes where nobody can be asked"));
            }
        }
        let done = self.ask(server, false).await?;
        if self.json { print_json(&done) } else { print(&Erasure::read(&done)?.done(&self.principal)) }
    }

    async fn ask(&self, server: &Server, dry_run: bool) -> Result<Value, Failure> {
        server.post("/v1/erasures", &json!({"principal": self.principal, "cancel": self.cancel, "dry_run": dry_run})).await
    }
}

impl Erasure {
    fn read(answer: &Value) -> Result<Erasure, Failure> {
        Erasure::deserialize(answer).map_err(|error| Failure::new(Code::CLI_SERVER, format!("the server sent something else: {error}")))
    }

    fn would(&self, principal: &str) -> String {
        let ended =
            if self.cancelled > 0 { format!(", {} of which are not over and will be ended", self.cancelled) } else { String::new() };
        format!("the content of {} runs of {}{ended}{}", self.erased, line(principal), self.left())
    }

    fn done(&self, principal: &str) -> String {
        let ended = if self.cancelled > 0 { format!(", {} of which were ended for it", self.cancelled) } else { String::new() };
        format!("erased the content of {} runs of {}{ended}{}", self.erased, line(principal), self.left())
    }

    fn left(&self) -> String {
        if self.open == 0 {
            return String::new();
        }
        let ids: Vec<String> = self.open_runs.iter().map(|it| format!("\n  {}", line(it))).collect();
        format!("\n{} runs are not over and are left as they are; --cancel ends them{}", self.open, ids.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_named_and_what_is_ended_is_counted() {
        let left = Erasure { erased: 3, cancelled: 0, open: 2, open_runs: vec!["0192".into(), "0193".into()] };
        let expected =
            "erased the content of 3 runs of ada\n2 runs are not over and are left as they are; --cancel ends them\n  0192\n  0193";
        assert_eq!(left.done("ada"), expected);
        let ended = Erasure { erased: 3, cancelled: 2, open: 0, open_runs: vec![] };
        assert_eq!(ended.would("ada"), "the content of 3 runs of ada, 2 of which are not over and will be ended");
    }
}
