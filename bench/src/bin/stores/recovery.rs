//! A start that finds many runs in the middle of their provider calls.

use crate::made::{self, Stand};
use crate::{Bench, grouped};
use aegis_bench::table::short;
use aegis_core::Status;
use aegis_store::{Access, Page, RunFilter, Runs as _, Sqlite};
use std::io::{Error, Result};
use std::time::{Duration, Instant};

const UNFINISHED: u64 = 10_000;
const AT_MOST: Duration = Duration::from_secs(120);

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let (folder, count) = (bench.place.folder()?, UNFINISHED / bench.smaller);
    let file = folder.path().join("aegis.db");
    // Everything compiled, as for a server that was there before.
    drop(bench.place.build.start(folder.path())?);
    bench.begin("making unfinished runs", count);
    made::store(&file, count, |_| Stand::Calling, &bench.bar).await?;
    bench.begin("a start that takes them up", 1);
    let begun = Instant::now();
    let server = bench.place.build.start(folder.path())?;
    let ready = server.took.as_secs_f64();
    let store = Sqlite::open(&file, Access::Command).map_err(Error::other)?;
    while any(&store, Status::Running).await? || any(&store, Status::Pending).await? {
        if begun.elapsed() > AT_MOST {
            return Err(Error::other(format!("there were unfinished runs after {} s", AT_MOST.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ended = begun.elapsed().as_secs_f64();
    let done =
        store.run_list(&RunFilter { status: Some(Status::Completed), ..RunFilter::default() }, &Page { limit: 1, after: None }).await;
    if done.map_err(Error::other)?.data.is_empty() {
        return Err(Error::other("the unfinished runs did not complete"));
    }
    let measured = format!("{}, {}", short(ready), short(ended));
    bench.row(format!("a start with {} unfinished runs, s: ready, all of them called again and ended", grouped(count)), measured, "5");
    Ok(())
}

async fn any(store: &Sqlite, status: Status) -> Result<bool> {
    let filter = RunFilter { status: Some(status), ..RunFilter::default() };
    Ok(!store.run_list(&filter, &Page { limit: 1, after: None }).await.map_err(Error::other)?.data.is_empty())
}
