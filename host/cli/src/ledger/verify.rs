//! `aegis ledger verify`

use crate::failure::Failure;
use crate::loading::blocking;
use crate::terminal::{facts, line, moment, print, print_json, tell};
use aegis_core::Code;
use aegis_store::{PublicKey, Verified};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// What `aegis ledger export` has written
    file: PathBuf,
    /// The key that has to have signed it, as `aegis keys ledger` prints it: ed25519:…
    #[arg(long, value_name = "PUB")]
    key: Option<PublicKey>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Verify { file, key, json } = self;
        let unreadable = |error: std::io::Error| Failure::new(Code::CLI_FILE, format!("{}: {error}", file.display()));
        let from = BufReader::with_capacity(1 << 20, File::open(&file).map_err(unreadable)?);
        let name = file.display().to_string();
        let broken = move |it| Failure::new(Code::STO_LEDGER, format!("{name}: {it}"));
        let seen = blocking(move || aegis_store::verify(from, key.as_ref()).map_err(broken)).await?;
        if json {
            return print_json(&json!({
                "head": seen.head, "trusted": seen.trusted,
                "removed": {"runs": seen.removals.runs, "content": seen.removals.content},
            }));
        }
        print(&facts(&about(&seen)))?;
        if !seen.trusted {
            tell(match seen.head.key {
                Some(_) => "the key is the one that the export names: compare it with the one you trust, or give it as --key",
                None => "nobody has signed it: it fits together, and that is all",
            });
        }
        Ok(())
    }
}

fn about(seen: &Verified) -> Vec<(&'static str, String)> {
    let head = &seen.head;
    let streams: Vec<String> = head.streams.iter().map(|it| format!("{}: {} to {}", line(&it.stream), it.first, it.n)).collect();
    let holds = if head.complete { "the whole ledger" } else { "a part of the ledger; nobody can say that nothing is missing" };
    let mut about = vec![
        ("ok", format!("{} entries", head.entries)),
        ("holds", holds.into()),
        ("streams", streams.join("\n")),
        ("made", moment(head.time)),
        ("signed by", head.key.map_or("nobody".into(), |it| it.to_string())),
    ];
    about.extend(removed(seen).map(|it| ("removed", it)));
    about
}

/// What the lines themselves say is not there any more.
fn removed(seen: &Verified) -> Option<String> {
    let (runs, content) = (seen.removals.runs.len(), seen.removals.content.len());
    let cut = seen.head.streams.iter().filter(|it| it.first > 1);
    let cut = cut.map(|it| format!("{}: lines 1 to {}", line(&it.stream), it.first - 1));
    let counts = [(runs, "runs"), (content, "times the content of a run")];
    let counts = counts.into_iter().filter(|it| it.0 > 0).map(|(count, what)| format!("{count} {what}"));
    let all: Vec<String> = cut.chain(counts).collect();
    (!all.is_empty()).then(|| all.join("\n"))
}
