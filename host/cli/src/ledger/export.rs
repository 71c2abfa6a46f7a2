//! `aegis ledger export`

use crate::failure::Failure;
use crate::hosting::config_file;
use crate::store::{make_place, open};
use crate::terminal::tell;
use aegis_core::{Code, RunId, Time};
use aegis_server::config::{Settings, environment};
use aegis_server::now;
use aegis_store::{ExportError, Filter};
use clap::Args;
use jiff::Timestamp;
use std::io::{BufWriter, ErrorKind, stdout};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Only this run
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    /// Only runs that this principal created
    #[arg(long, value_name = "P")]
    principal: Option<String>,
    /// Nothing earlier: a day, or a moment such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "T", value_parser = moment)]
    since: Option<Time>,
    /// Nothing from then on: a day, or a moment
    #[arg(long, value_name = "T", value_parser = moment)]
    until: Option<Time>,
    /// The configuration that names the store and the key; ./aegis.yaml when left out, and without one the store of `aegis dev`
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
}

impl Export {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let settings = settings(self.config.as_deref())?;
        let store = open(&settings.persistence).await?;
        let filter = Filter { run: self.run, principal: self.principal, since: self.since, until: self.until };
        let mut out = BufWriter::new(stdout().lock());
        let head = match aegis_store::export(&*store, &filter, settings.ledger_key.as_deref(), now(), &mut out).await {
            Ok(head) => head,
            // Whoever closed the pipe has read enough.
            Err(ExportError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(ExportError::Write(error)) => return Err(Failure::new(Code::CLI_FILE, format!("stdout: {error}"))),
            Err(error @ ExportError::Pruned) => return Err(Failure::new(Code::STO_FAILED, error.to_string())),
            Err(ExportError::Store(error)) => return Err(error.into()),
        };
        if head.key.is_none() {
            tell(
                "not signed: without a key anybody can write such a file. `aegis keys ledger FILE` makes one; name it as `ledger: {key: secret://file/FILE}`",
            );
        }
        if !head.complete {
            tell("filtered: this proves what is in it, and not that nothing is missing");
        }
        Ok(())
    }
}

/// The configuration that was named, else ./aegis.yaml, else that of `aegis dev`.
pub(super) fn settings(named: Option<&std::path::Path>) -> Result<Settings, Failure> {
    let file = config_file(named);
    let settings = Settings::for_ledger(file, &environment())?;
    make_place(file, &settings.persistence)?;
    Ok(settings)
}

/// A day is its first moment, in UTC.
fn moment(text: &str) -> Result<Time, String> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.into() };
    let moment: Timestamp = whole.parse().map_err(|_| "write a day such as 2026-01-31, or a moment such as 2026-01-31T12:00:00Z")?;
    u64::try_from(moment.as_millisecond()).map(Time).map_err(|_| "that was before 1970".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_and_nonsense_is_refused() {
        assert_eq!(moment("1970-01-02"), Ok(Time(86_400_000)));
        assert_eq!(moment("1970-01-01T00:00:01.5Z"), Ok(Time(1_500)));
        assert_eq!(moment("1970-01-01T01:00:00+01:00"), Ok(Time(0)));
        for wrong in ["", "yesterday", "2026-13-01", "1969-12-31"] {
            assert!(moment(wrong).is_err(), "{wrong:?}");
        }
    }
}
