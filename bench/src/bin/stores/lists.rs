//! Listing what waits for a decision, among very many runs: by the store and over HTTP, for somebody who may decide it all and for somebody who
//! may decide nothing.

use crate::made::{self, Stand};
use crate::{Bench, grouped};
use aegis_bench::load::{Ask, Enough, load};
use aegis_bench::table::short;
use aegis_core::{Digest, Principal, PrincipalRole, Time};
use aegis_store::{Access, ApprovalFilter, Keys as _, NewKey, Page, Runs as _, Sqlite};
use std::io::{Error, Result};
use std::path::Path;
use std::time::{Duration, Instant};

const RUNS: u64 = 1_000_000;
/// One of so many is paused.
const PAUSED: u64 = 100;
/// As `GET /v1/approvals` has them where nothing else is asked for.
const LIMIT: usize = 50;
const TIMES: usize = 200;

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let (folder, count) = (bench.place.folder()?, RUNS / bench.smaller);
    let file = folder.path().join("aegis.db");
    bench.begin("making runs", count);
    let begun = Instant::now();
    let stand = |number: u64| if number.is_multiple_of(PAUSED) { Stand::Paused } else { Stand::Completed };
    made::store(&file, count, stand, &bench.bar).await?;
    bench.row(format!("{} runs made and stored, s", grouped(count)), short(begun.elapsed().as_secs_f64()), "");
    let what = format!("of {} runs, {} paused:", grouped(count), grouped(count.div_ceil(PAUSED)));
    let expected = |who: &Principal| if who.is(PrincipalRole::Approver) { LIMIT } else { 0 };
    for who in callers() {
        bench.begin(format!("listing what {} may decide", who.id), TIMES as u64);
        let took = listed(bench, &file, &who, expected(&who)).await?;
        bench.row(format!("{what} what {} may decide, ms: first, p50, p99", who.id), took, "5");
    }
    over_http(bench, folder.path(), &what).await
}

fn callers() -> [Principal; 2] {
    let named = |id: &str, role| Principal { id: id.into(), teams: vec!["risk".into()], roles: vec![role] };
    [named("an approver", PrincipalRole::Approver), named("somebody in no list", PrincipalRole::User)]
}

async fn listed(bench: &Bench, file: &Path, who: &Principal, expected: usize) -> Result<String> {
    let store = Sqlite::open(file, Access::Command).map_err(Error::other)?;
    let mut took = vec![];
    for _ in 0..TIMES {
        let begun = Instant::now();
        let found = store.approval_list(&ApprovalFilter { decidable_by: who.clone() }, &Page { limit: LIMIT, after: None }).await;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        if found.map_err(Error::other)?.data.len() != expected {
            return Err(Error::other(format!("{} should see {expected} questions", who.id)));
        }
        bench.bar.inc(1);
    }
    let first = took[0];
    took.sort_by(f64::total_cmp);
    Ok(format!("{}, {}, {}", short(first), short(took[TIMES / 2]), short(took[TIMES * 99 / 100])))
}

async fn over_http(bench: &mut Bench, folder: &Path, what: &str) -> Result<()> {
    let store = Sqlite::open(folder.join("aegis.db"), Access::Command).map_err(Error::other)?;
    let mut keys = vec![];
    for (number, principal) in (1..).zip(callers()) {
        let key = format!("aeg-{number:064x}");
        let new = NewKey { id: number.to_string(), hash: Digest::of(key.as_bytes()), principal: principal.clone(), created_at: Time(1) };
        store.key_create(&new).await.map_err(Error::other)?;
        keys.push((principal.id, key));
    }
    drop(store);
    bench.begin("starting a server on it", 1);
    let server = bench.place.build.start_with_keys(folder)?;
    for (who, key) in keys {
        bench.begin(format!("listing over HTTP what {who} may decide"), 1);
        let enough = Enough { time: Duration::from_secs(30), answers: TIMES };
        let found = load(&[server.address], 1, &Ask::Get { path: "/v1/approvals", key }, enough).await?;
        if found.wrong > 0 {
            return Err(Error::other(format!("{} of {} lists were refused", found.wrong, found.answers)));
        }
        let took = format!("{}, {}, {}", short(found.first()), short(found.quantile(0.5)), short(found.quantile(0.99)));
        bench.row(format!("{what} the same over HTTP by {who}, ms"), took, "5");
    }
    Ok(())
}
