//! What must hold of hosts that have come back and have had a moment.

use super::ATTEMPTS;
use super::load::{Asked, Kind, Random, World};
use crate::host::Host;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Whatever takes longer has stopped.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many are asked at once.
const AT_ONCE: usize = 8;

impl World {
    pub(super) async fn look(&self, hosts: &[Host]) {
        self.settle(&hosts[0]).await;
        // Whoever got no answer and named its request sends it again.
        let named = |it: &&Asked| it.name().is_some();
        let unsure: Vec<Asked> = self.book().iter().filter(named).filter(|it| it.run.is_none()).cloned().collect();
        let some: Vec<Asked> = self.book().iter().rev().filter(named).step_by(7).take(5).cloned().collect();
        stream::iter(unsure).for_each_concurrent(AT_ONCE, |asked| async move { self.again(hosts, &asked).await }).await;
        stream::iter(some).for_each_concurrent(AT_ONCE, |asked| async move { self.again(hosts, &asked).await }).await;
        self.settle(&hosts[0]).await;
        let runs = all(&hosts[hosts.len() - 1]).await;
        self.cut_off.store(runs.values().map(|it| told(it, &["interrupted"])).sum(), Ordering::Relaxed);
        let book = self.book().clone();
        for asked in book {
            let Some(id) = &asked.run else { continue };
            let run = runs.get(id).unwrap_or_else(|| panic!("run {id} was acknowledged, and is lost"));
            self.told(asked.number, run);
            self.judge(&asked, run);
        }
        for id in self.api.runs() {
            assert!(runs.contains_key(&id), "the API was asked for a run that there is not: {id}");
        }
        let host = &hosts[hosts.len() - 1];
        let check = host.aegis("", &["db", "check", "--json"]);
        assert!(check.status.success(), "{check:?}");
        let exported = host.aegis("", &["ledger", "export"]);
        std::fs::write(host.dir.path().join("ledger.jsonl"), &exported.stdout).expect("writable");
        let verified = host.aegis("", &["ledger", "verify", "ledger.jsonl"]);
        assert!(exported.status.success() && verified.status.success(), "{verified:?}");
    }

    /// Sends a request until there is a run, one time here and the next time there.
    async fn again(&self, hosts: &[Host], asked: &Asked) {
        let urls = hosts.iter().cycle().skip(asked.number as usize % hosts.len()).map(|it| &it.url);
        let until = Instant::now() + PATIENCE;
        for url in urls {
            if self.submit(url, asked).await == Some(200) {
                return;
            }
            assert!(Instant::now() < until, "no host answers {asked}", asked = asked.number);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// This host takes another request, which has a name: however often it has to be sent, it makes one run.
    pub(super) async fn ask_more(&self, host: &Host) {
        let named = std::iter::repeat_with(|| self.next(Kind::Allowed)).find(|it| it.name().is_some());
        self.again(std::slice::from_ref(host), &named.expect("most have names")).await;
    }

    /// Whatever is still open can be decided; so many at most.
    pub(super) async fn decide_open(&self, hosts: &[Host], most: usize, random: &mut Random) {
        for _ in 0..most {
            let Some(asked) = self.open(random) else { return };
            let (until, mut at) = (Instant::now() + PATIENCE, asked.number as usize);
            while !matches!(self.decide(&hosts[at % hosts.len()].url, &asked, asked.choice()).await, Some(200 | 409)) {
                assert!(Instant::now() < until, "no host decides on {:?}", asked.run);
                tokio::time::sleep(Duration::from_millis(100)).await;
                at += 1;
            }
        }
    }

    /// Nothing goes on without an end.
    async fn settle(&self, host: &Host) {
        let until = Instant::now() + PATIENCE;
        loop {
            let (_, page) = host.get("", "/v1/runs?status=running&limit=5").await;
            if page["data"] == json!([]) {
                return;
            }
            assert!(Instant::now() < until, "still running: {page}\n{}", host.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where a run may stand, and how often the API may have been asked for it.
    fn judge(&self, asked: &Asked, run: &Value) {
        let (status, calls) = (run["status"].as_str().expect("a status"), self.api.calls(run["run_id"].as_str().expect("an id")));
        let events = run["events"].as_array().expect("a list");
        let decided: Vec<&str> = events.iter().filter(|it| it["type"] == "decided").filter_map(|it| it["choice"].as_str()).collect();
        let expected: &[&str] = match (asked.kind, decided.as_slice()) {
            (Kind::Blocked, []) => &["blocked"],
            (Kind::Paused, []) => &["paused"],
            (Kind::Paused, ["denied"]) => &["denied"],
            (Kind::Paused, ["approved"]) | (_, []) => &["completed", "error"],
            _ => panic!("{:?} was decided {decided:?}: {run}", asked.kind),
        };
        assert!(expected.contains(&status), "{:?}, decided {decided:?}: {run}", asked.kind);
        assert!(decided.iter().all(|it| asked.sent.contains(it)), "nobody has decided so: {run}");
        assert!(asked.won.as_deref().is_none_or(|won| decided == [won]), "{:?} was told to have counted: {run}", asked.won);
        let (attempts, interrupted) = (told(run, &["answered", "interrupted"]), told(run, &["interrupted"]));
        assert!(calls <= attempts, "{calls} calls, and the ledger tells of {attempts}: {run}");
        let most = if asked.kind == Kind::Acts { 1 } else { ATTEMPTS };
        assert!(calls <= most, "{calls} calls: {run}");
        match status {
            "completed" => {
                let response = run["response"].as_str().expect("a text");
                let (id, number) = response.split_once(' ').expect("a reply of the API");
                assert!(id == run["run_id"] && number.parse::<usize>().is_ok_and(|it| it <= calls), "{run}");
            }
            "error" => assert!(interrupted > 0 && attempts == most, "only crashes bring runs to an end: {run}"),
            _ => assert_eq!(calls, 0, "{run}"),
        }
    }

    /// At the end: no request has made two runs, and none that was acknowledged has made none.
    pub(super) async fn count_runs(&self, host: &Host) {
        let (made, book) = (made(host).await, self.book().clone());
        for asked in &book {
            let runs = made.get(&asked.number).copied().unwrap_or_default();
            let expected = if asked.run.is_some() { 1..=1 } else { 0..=1 };
            assert!(expected.contains(&runs), "request {} has made {runs} runs", asked.number);
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let book = self.book();
        let count = |what: &dyn Fn(&Asked) -> bool| book.iter().filter(|it| what(it)).count();
        let over = |word: &str| count(&|it| it.over.as_ref().is_some_and(|(end, _)| end[0] == word));
        let counted = |it: &AtomicUsize| it.load(Ordering::Relaxed);
        Tally {
            requests: book.len(),
            acknowledged: count(&|it| it.run.is_some()),
            refused: counted(&self.refused),
            unanswered: counted(&self.unanswered),
            calls: self.api.all_calls(),
            cut_off: counted(&self.cut_off),
            races: counted(&self.races),
            ends: ["completed", "denied", "blocked", "error"].map(over),
        }
    }
}

/// What it came to.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    requests: usize,
    acknowledged: usize,
    refused: usize,
    unanswered: usize,
    calls: usize,
    cut_off: usize,
    races: usize,
    /// Completed, denied, blocked, failed.
    ends: [usize; 4],
}

impl Tally {
    pub(super) fn add(&mut self, other: Tally) {
        self.requests += other.requests;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.calls += other.calls;
        self.cut_off += other.cut_off;
        self.races += other.races;
        self.ends.iter_mut().zip(other.ends).for_each(|(mine, more)| *mine += more);
    }

    pub(super) fn assert_mixed(&self) {
        let [completed, denied, blocked, _] = self.ends;
        assert!(completed > 10 && denied > 0 && blocked > 5, "the load is not mixed: {self}");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { requests, acknowledged, refused, unanswered, calls, cut_off, races, ends: [completed, denied, blocked, failed] } = self;
        write!(
            to,
            "{requests} requests, {acknowledged} acknowledged ({refused} times 503, {unanswered} times no answer), {calls} calls, "
        )?;
        write!(to, "{cut_off} attempts cut off, {races} pairs of decisions at once: ")?;
        write!(to, "{completed} completed, {denied} denied, {blocked} blocked, {failed} failed")
    }
}

/// How many of a run's events are of these kinds.
fn told(run: &Value, kinds: &[&str]) -> usize {
    let events = run["events"].as_array().expect("a list").iter();
    events.filter(|it| it["type"].as_str().is_some_and(|it| kinds.contains(&it))).count()
}

/// Every run, by id.
pub(super) async fn all(host: &Host) -> BTreeMap<String, Value> {
    let (mut all, mut after) = (BTreeMap::new(), String::new());
    loop {
        let (_, page) = host.get("", &format!("/v1/runs?limit=200&after={after}")).await;
        let runs = page["data"].as_array().expect("a list").iter();
        all.extend(runs.map(|run| (run["run_id"].as_str().expect("an id").to_owned(), run.clone())));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return all,
        }
    }
}

/// How many runs each request has made, by the client's own number in it.
async fn made(host: &Host) -> BTreeMap<u64, u64> {
    let number = async |run: String| {
        let (_, came_in) = host.get("", &format!("/v1/runs/{run}/content")).await;
        let number = came_in["content"]["metadata"]["number"].as_str().and_then(|it| it.parse::<u64>().ok());
        number.unwrap_or_else(|| panic!("a number: {came_in}"))
    };
    let numbers: Vec<u64> = stream::iter(all(host).await.into_keys()).map(number).buffer_unordered(AT_ONCE).collect().await;
    numbers.into_iter().fold(BTreeMap::new(), |mut made, number| {
        *made.entry(number).or_default() += 1;
        made
    })
}
