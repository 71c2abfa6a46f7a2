//! How long a start takes, from the process to its first "ready", with all guards of the configuration.

use crate::Bench;
use aegis_bench::table::{Table, spread};
use std::io::Result;

const TIMES: usize = 5;
pub(crate) const STEPS: u64 = 2 * TIMES as u64;

/// A cold start compiles the guards and configures them, a warm one reads what that gave.
pub(crate) fn table(bench: &Bench) -> Result<Table> {
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let folder = bench.place.folder()?;
        for (name, found) in [("cold", &mut cold), ("warm", &mut warm)] {
            bench.step(format!("start, {name} cache"));
            found.push(bench.place.build.start(folder.path())?.took.as_secs_f64() * 1e3);
        }
    }
    let mut table = Table::new(&["start", "ms to ready"]);
    table.row(["nothing compiled yet".into(), spread(&cold)]);
    table.row(["compiled before".into(), spread(&warm)]);
    Ok(table)
}
