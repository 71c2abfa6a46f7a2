//! What the ledger costs: its part of a commit, and how long it takes to verify.

use crate::made::{guard, judge, plan};
use crate::{Bench, grouped};
use aegis_bench::meter::Used;
use aegis_bench::table::{short, spread};
use aegis_core::{Commit, Event, Message, Principal, Request, Role, Run, RunId, SharedPlan, Time, Verdict};
use aegis_store::{Access, Filter, LedgerKey, Memory, Runs as _, Sqlite, export, verify};
use std::fs::File;
use std::io::{BufReader, BufWriter, Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// Commits in a round; on a busy machine a round alone says little.
const COMMITS: u64 = 60_000;
const ROUNDS: u64 = 11;
const AT_ONCE: usize = 256;
const LINES: u64 = 1_000_000;

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let folder = bench.place.folder()?;
    bench.begin("commits with their entries and without", ROUNDS);
    let mut shares = vec![];
    for round in 0..ROUNDS {
        let with = committed(&folder.path().join(format!("with-{round}.db")), COMMITS / bench.smaller, true).await?;
        let without = committed(&folder.path().join(format!("without-{round}.db")), COMMITS / bench.smaller, false).await?;
        shares.push((with - without) / with * 100.0);
        bench.bar.inc(1);
    }
    bench.row("CPU of a commit that goes into the ledger, %", spread(&shares), "15");
    verified(bench, &folder.path().join("ledger.jsonl")).await
}

/// Seconds of CPU for runs that are created and judged, with their entries or without.
async fn committed(file: &Path, count: u64, entries: bool) -> Result<f64> {
    let plan = SharedPlan::from(plan("default", vec![guard()]));
    let store = Arc::new(Sqlite::open(file, Access::Host).map_err(Error::other)?);
    let before = Used::by(std::process::id())?.cpu_seconds;
    let mut waiting = JoinSet::new();
    for number in 0..count {
        let mut run = begun(number, &plan);
        judge(&mut run, Verdict::Allow);
        let commit = run.commit();
        let commit = Commit { entries: if entries { commit.entries } else { vec![] }, ..commit };
        let store = store.clone();
        waiting.spawn(async move { store.run_create(commit).await });
        if waiting.len() >= AT_ONCE
            && let Some(created) = waiting.join_next().await
        {
            created?.map_err(Error::other)?;
        }
    }
    while let Some(created) = waiting.join_next().await {
        created?.map_err(Error::other)?;
    }
    Ok(Used::by(std::process::id())?.cpu_seconds - before)
}

/// Runs of three lines each, exported to a file that is then verified.
async fn verified(bench: &mut Bench, file: &Path) -> Result<()> {
    let (store, plan, runs) = (Memory::new(), SharedPlan::from(plan("default", vec![guard()])), (LINES / bench.smaller).div_ceil(3));
    bench.begin("a long ledger", runs);
    for number in 0..runs {
        let mut run = begun(number, &plan);
        judge(&mut run, Verdict::Allow);
        run.handle(Event::Cancelled { by: Principal::anonymous() }, Time(number)).map_err(Error::other)?;
        store.run_create(run.commit()).await.map_err(Error::other)?;
        bench.bar.inc(1);
    }
    let key = LedgerKey::from_seed(&[1; 32]);
    let head = export(&store, &Filter::default(), Some(&key), Time(0), &mut BufWriter::new(File::create(file)?)).await;
    let head = head.map_err(Error::other)?;
    drop(store);
    bench.begin("verifying it", 1);
    let begun = Instant::now();
    let seen = verify(BufReader::with_capacity(1 << 20, File::open(file)?), Some(&key.public())).map_err(Error::other)?;
    let took = begun.elapsed().as_secs_f64();
    if seen.head != head {
        return Err(Error::other("another head was read than was written"));
    }
    bench.row(format!("a ledger of {} lines verified, s", grouped(head.entries)), short(took), "10");
    Ok(())
}

fn begun(number: u64, plan: &SharedPlan) -> Run {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    let request = Request { messages: vec![Message::text(Role::User, "a question of the usual length")], ..Request::default() };
    let run = Run::new(RunId::new(Time(number), random), plan.clone(), request, Principal::anonymous(), false, [3; 32], Time(number));
    run.expect("somebody may decide")
}
