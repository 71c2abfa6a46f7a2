//! `aegis runs list`

use super::view::{RunView, table};
use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{Look, line, print, print_json, tell};
use aegis_core::Code;
use clap::Args;
use serde_json::{Value, json};

/// Runs that the server hands out at once.
const PAGE: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those that wait for a decision
    #[arg(long)]
    pending: bool,
    /// So many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        let (data, unreadable, next) = self.fetch(server).await?;
        if self.json {
            return print_json(&json!({"data": data, "unreadable": unreadable, "next": next}));
        }
        let mut runs: Vec<RunView> = data.iter().chain(&unreadable).map(RunView::read).collect::<Result<_, _>>()?;
        // Newest first, as they came: an id begins with its time.
        runs.sort_by(|a, b| b.run_id.cmp(&a.run_id));
        if runs.is_empty() {
            tell(if self.pending { "no run waits for a decision" } else { "no runs" });
            return Ok(());
        }
        print(&table(&runs, Look::of_stdout()))?;
        if !next.is_null() {
            tell(&format!("older ones are not shown: use --limit, now {}", self.limit));
        }
        unreadable.iter().filter_map(|it| it["message"].as_str()).for_each(|it| tell(&line(it)));
        Ok(())
    }

    /// Runs, those that the store cannot read, and where more begin.
    async fn fetch(&self, server: &Server) -> Result<(Vec<Value>, Vec<Value>, Value), Failure> {
        let (mut data, mut unreadable, mut next) = (vec![], vec![], Value::Null);
        loop {
            let page = server.get(&self.path(data.len() + unreadable.len(), &next)).await?;
            let Some(found) = page["data"].as_array().cloned() else {
                return Err(Failure::new(Code::CLI_SERVER, "the server sent no list of runs"));
            };
            next = page["next"].clone();
            let damaged = page["unreadable"].as_array().cloned().unwrap_or_default();
            let last = (found.is_empty() && damaged.is_empty()) || next.is_null();
            data.extend(found);
            unreadable.extend(damaged);
            if last || data.len() + unreadable.len() >= self.limit as usize {
                return Ok((data, unreadable, next));
            }
        }
    }

    fn path(&self, have: usize, after: &Value) -> String {
        let limit = (self.limit as usize - have).min(PAGE);
        let status = if self.pending { "&status=paused" } else { "" };
        let after = after.as_str().map(|it| format!("&after={it}")).unwrap_or_default();
        format!("/v1/runs?limit={limit}{status}{after}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_fetched_page_by_page() {
        let list = List { pending: true, limit: 120, json: false };
        assert_eq!(list.path(0, &Value::Null), "/v1/runs?limit=100&status=paused");
        assert_eq!(list.path(100, &json!("0192")), "/v1/runs?limit=20&status=paused&after=0192");
        let list = List { pending: false, limit: 50, json: false };
        assert_eq!(list.path(0, &Value::Null), "/v1/runs?limit=50");
    }
}
