//! What was acknowledged survives: a process that commits is killed, and everything it said was durable is there.

use aegis_core::{Backoff, Event, Fact, Message, OnUnknown, Plan, Principal, Record, Removed, Request, Role, Run, RunId, Stages, Time};
use aegis_store::{Access, Doomed, Filter, Page, Position, RunFilter, Runs, Sqlite, Upkeep, export, verify};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FILE: &str = "AEGIS_CRASH_TEST_FILE";
/// Unless `AEGIS_CRASH_ROUNDS` says otherwise.
const ROUNDS: u64 = 20;

fn rounds() -> u64 {
    std::env::var("AEGIS_CRASH_ROUNDS").map_or(ROUNDS, |it| it.parse().expect("AEGIS_CRASH_ROUNDS has to be a number"))
}

/// Xorshift: this only has to differ.
struct Random(u64);

impl Random {
    /// From the clock, and printed; `AEGIS_CRASH_SEED` repeats what happened before.
    fn seeded() -> Random {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64;
        let seed = std::env::var("AEGIS_CRASH_SEED").map_or_else(|_| now(), |it| it.parse().expect("AEGIS_CRASH_SEED has to be a number"));
        println!("AEGIS_CRASH_SEED={seed}");
        Random(seed | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn run(now: Time, random: [u8; 10]) -> Run {
    let plan = Plan {
        route: "default".into(),
        provider: "fake".into(),
        provider_is: None,
        model: String::new(),
        pipeline: Stages::default(),
        attempts: 1,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    };
    let request = Request { messages: vec![Message::text(Role::User, "x".repeat(1000))], ..Request::default() };
    Run::new(RunId::new(now, random), plan, request, Principal::anonymous(), false, [7; 32], now).expect("no approvers are named")
}

/// Creates and moves runs without end, and prints each version once it is durable.
async fn write(file: PathBuf) {
    let store = Arc::new(Sqlite::open(file, Access::Host).expect("a database"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as u64;
    let writers = (0..8_u8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0_u64.. {
                let mut random = [writer; 10];
                random[2..].copy_from_slice(&n.to_be_bytes());
                random[9] = writer;
                let mut run = run(Time(now + n), random);
                store.run_create(run.commit()).await.expect("a new run");
                println!("durable {} 1", run.id());
                run.handle(Event::Cancelled { by: Principal::anonymous() }, Time(now + n)).expect("a run under way");
                store.run_commit(run.commit()).await.expect("nobody else moves it");
                println!("durable {} 2", run.id());
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
}

/// Starts a process that writes, kills it after `delay`, and returns the versions that it said were durable.
fn killed(test: &str, file: &Path, delay: Duration) -> BTreeMap<RunId, u64> {
    let mut command = Command::new(std::env::current_exe().expect("this test has a file"));
    command.args(["--exact", test, "--nocapture"]).env(FILE, file);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let reader = std::thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        let versions = lines.filter_map(|line| {
            let (id, version) = line.strip_prefix("durable ")?.split_once(' ')?;
            // The last line may be cut.
            Some((id.parse().ok()?, version.parse().ok()?))
        });
        versions.collect()
    });
    std::thread::sleep(delay);
    child.kill().expect("it runs until it is killed");
    child.wait().expect("it ends");
    reader.join().expect("no panic")
}

/// In the process that is killed this writes; in the one that was asked for, it kills and looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commits_survive_a_kill() {
    if let Some(file) = std::env::var_os(FILE) {
        return write(file.into()).await;
    }
    let mut random = Random::seeded();
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("test.db");
    let mut durable = BTreeMap::new();
    for round in 1..=rounds() {
        durable.extend(killed("acknowledged_commits_survive_a_kill", &file, Duration::from_millis(20 + random.below(180))));
        let store = Sqlite::open(&file, Access::Host).expect("it opens after a kill");
        for (id, version) in &durable {
            let run = store.run_fetch(*id).await.expect("an answer").unwrap_or_else(|| panic!("round {round}: {id} is lost"));
            assert!(run.version() >= *version, "round {round}: version {version} of {id} is lost");
        }
        let report = store.check().await.expect("a report");
        assert_eq!(report.faults, Vec::<String>::new(), "round {round}");
        let open = store.run_claim(usize::MAX).await.expect("claims");
        assert!(open.iter().all(|id| durable.get(id) != Some(&2)), "round {round}: a run that is over was claimed");
    }
    let store = Sqlite::open(&file, Access::Command).expect("it opens");
    let some = store.run_list(&RunFilter::default(), &Page { limit: 1, after: None }).await.expect("a page");
    assert!(durable.len() > 100 && some.data.len() == 1, "the processes wrote too little: {}", durable.len());
}

fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as u64)
}

/// So many milliseconds after it is over a run loses its content, then it goes, and then its lines.
const KEPT: [u64; 3] = [5, 40, 80];

/// Removes what is old without end, all kinds at once.
async fn retain(store: &Sqlite) {
    loop {
        let before = |kept: u64| Time(now().0.saturating_sub(kept));
        for doomed in [
            Doomed::Content { ended_before: before(KEPT[0]) },
            Doomed::Runs { ended_before: before(KEPT[1]) },
            Doomed::Lines { written_before: before(KEPT[2]) },
        ] {
            store.remove(&doomed, now(), 20).await.expect("it goes");
        }
        store.shrink().await.expect("it may");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Creates runs and ends all but each fifth of them, and prints each version once it is durable, while retention is at work.
async fn write_and_retain(file: PathBuf) {
    let store = Arc::new(Sqlite::open(file, Access::Host).expect("a database"));
    let writers = (0..4_u8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0_u64.. {
                let mut random = [writer; 10];
                random[1..9].copy_from_slice(&n.to_be_bytes());
                let mut run = run(now(), random);
                store.run_create(run.commit()).await.expect("a new run");
                println!("durable {} 1", run.id());
                if n % 5 > 0 {
                    run.handle(Event::Cancelled { by: Principal::anonymous() }, now()).expect("a run under way");
                    store.run_commit(run.commit()).await.expect("nobody else moves it");
                    println!("durable {} 2", run.id());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    retain(&store).await;
    drop(writers);
}

/// Runs that the ledger says are gone, and whether that of any run that was not over.
async fn removed(store: &Sqlite) -> BTreeSet<RunId> {
    let lines = store.ledger_list(&Position::default(), usize::MAX).await.expect("lines");
    let (mut over, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for line in &lines {
        match Record::read(&line.entry).expect("a line") {
            Record::Run(entry) => {
                assert!(!gone.contains(&entry.run), "something happened to {} after it was removed", entry.run);
                over.extend(matches!(entry.fact, Fact::Cancelled { .. }).then_some(entry.run));
            }
            Record::Removal(removal) => {
                // Of some of them the lines may be gone already: then the ledger begins after them.
                if let Removed::Runs { runs, .. } = removal.what {
                    gone.extend(runs);
                }
            }
        }
    }
    let open = lines.iter().filter_map(|line| match Record::read(&line.entry) {
        Ok(Record::Run(entry)) if matches!(entry.fact, Fact::Created { .. }) => Some(entry.run),
        _ => None,
    });
    assert!(open.filter(|id| !over.contains(id)).all(|id| !gone.contains(&id)), "a run that was not over was removed");
    gone
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_under_a_kill_removes_what_it_says_and_no_run_that_is_not_over() {
    if let Some(file) = std::env::var_os(FILE) {
        return write_and_retain(file.into()).await;
    }
    let mut random = Random::seeded();
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("test.db");
    let (mut durable, mut gone, mut pruned, mut emptied) = (BTreeMap::<RunId, u64>::new(), BTreeSet::new(), 0, 0);
    for round in 1..=rounds() {
        let test = "retention_under_a_kill_removes_what_it_says_and_no_run_that_is_not_over";
        durable.extend(killed(test, &file, Duration::from_millis(100 + random.below(200))));
        let store = Sqlite::open(&file, Access::Host).expect("it opens after a kill");
        assert_eq!(store.check().await.expect("a report").faults, Vec::<String>::new(), "round {round}");
        let told = removed(&store).await;
        for (id, version) in &durable {
            match store.run_fetch(*id).await.expect("an answer") {
                Some(run) => {
                    assert!(run.version() >= *version && !told.contains(id), "round {round}: version {version} of {id} is lost");
                    assert!(run.erased().is_none() || run.status().is_final(), "round {round}: {id} was not over");
                    emptied += u64::from(run.erased().is_some());
                }
                // Told of now, or in a round before whose lines are gone by now.
                None => assert!(told.contains(id) || gone.contains(id), "round {round}: {id} is lost"),
            }
        }
        gone.extend(told);
        let mut exported = vec![];
        export(&store, &Filter::default(), None, now(), &mut exported).await.expect("memory has room");
        let seen = verify(exported.as_slice(), None).unwrap_or_else(|error| panic!("round {round}: {error}"));
        // A slow machine may not have written a line yet.
        pruned = pruned.max(seen.head.streams.first().map_or(0, |it| it.first - 1));
        // What is open holds the lines after it; so that some go, it ends.
        for id in store.run_claim(usize::MAX).await.expect("claims") {
            let mut run = store.run_fetch(id).await.expect("an answer").expect("it is open");
            run.handle(Event::Cancelled { by: Principal::anonymous() }, now()).expect("it is open");
            store.run_commit(run.commit()).await.expect("nobody else moves it");
            durable.insert(id, 2);
        }
    }
    println!("{} runs, {} removed, {emptied} times without content, {pruned} lines", durable.len(), gone.len());
    assert!(gone.len() > 50 && emptied > 50 && pruned > 50, "too little was removed: {}, {emptied}, {pruned}", gone.len());
}

/// What the disk holds at one moment, with nothing half written: as long as nobody else may write, the log does not change. Pages may
/// still move from the log into the database meanwhile, as they may when the power is cut.
struct Image {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl Image {
    fn take(file: &Path) -> Image {
        let lock = rusqlite::Connection::open(file).expect("a database");
        lock.busy_timeout(Duration::from_secs(60)).expect("it waits");
        lock.execute_batch("BEGIN IMMEDIATE").expect("nobody writes for long");
        let log = PathBuf::from(format!("{}-wal", file.display()));
        let image = Image { database: std::fs::read(file).expect("a database"), log: std::fs::read(log).expect("its log") };
        lock.execute_batch("ROLLBACK").expect("the lock is given back");
        image
    }

    /// Bytes of the log that count: what stands behind them is of an earlier use of the file.
    fn written(&self) -> usize {
        const HEADER: usize = 32;
        const FRAME: usize = 24 + 4096;
        let salts = &self.log[16..24];
        HEADER + FRAME * self.log[HEADER..].chunks_exact(FRAME).take_while(|frame| &frame[8..16] == salts).count()
    }

    /// The log of `later`, as far as it reached the disk: at least what this one holds, then any bytes of the rest, the last of them
    /// garbled, and whatever was there before behind them.
    fn torn(&self, later: &Image, random: &mut Random) -> Vec<u8> {
        let (safe, end) = (self.written(), later.written());
        let cut = safe + random.below((end - safe) as u64 + 1) as usize;
        let mut log = later.log[..cut].to_vec();
        let garbled = cut - (random.below(64) as usize).min(cut - safe);
        log[garbled..].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        match random.below(3) {
            0 => {}
            1 => log.extend((0..random.below(9000)).map(|_| random.below(256) as u8)),
            _ => log.extend(later.log.get(cut..).unwrap_or_default().iter().map(|_| 0)),
        }
        log
    }

    fn same_log(&self, later: &Image) -> bool {
        self.log.len() >= 32 && later.log.len() >= 32 && self.log[..32] == later.log[..32]
    }
}

/// Creates and moves runs until `stop`, and notes each version once it is durable.
async fn note(store: Arc<Sqlite>, writer: u8, durable: Arc<Mutex<BTreeMap<RunId, u64>>>, stop: Arc<Mutex<bool>>) {
    for n in 0_u64.. {
        if *stop.lock().expect("no panics") {
            return;
        }
        let mut random = [writer; 10];
        random[1..9].copy_from_slice(&n.to_be_bytes());
        let mut run = run(Time(1_000_000 + n), random);
        store.run_create(run.commit()).await.expect("a new run");
        durable.lock().expect("no panics").insert(run.id(), 1);
        run.handle(Event::Cancelled { by: Principal::anonymous() }, Time(1_000_000 + n)).expect("a run under way");
        store.run_commit(run.commit()).await.expect("nobody else moves it");
        durable.lock().expect("no panics").insert(run.id(), 2);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Cuts the power so many times while a new database is written to; how often that was in the middle of something.
async fn cut_power(random: &mut Random, cuts: u64) -> u64 {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("test.db");
    let store = Arc::new(Sqlite::open(&file, Access::Host).expect("a database"));
    let (durable, stop) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(Mutex::new(false)));
    let writers: Vec<_> = (0..4).map(|writer| tokio::spawn(note(store.clone(), writer, durable.clone(), stop.clone()))).collect();
    while durable.lock().expect("no panics").is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut torn = 0;
    for cut in 0..cuts {
        tokio::time::sleep(Duration::from_millis(random.below(40))).await;
        let acknowledged = durable.lock().expect("no panics").clone();
        let before = Image::take(&file);
        tokio::time::sleep(Duration::from_millis(1 + random.below(20))).await;
        let after = Image::take(&file);
        // The log begins anew now and then: then the second image says nothing about the first.
        let later = if before.same_log(&after) { &after } else { &before };
        let place = tempfile::TempDir::new().expect("a folder");
        let copy = place.path().join("copy.db");
        std::fs::write(&copy, &before.database).expect("a copy");
        std::fs::write(place.path().join("copy.db-wal"), before.torn(later, random)).expect("a copy");
        let copied = Sqlite::open(&copy, Access::Host).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
        for (id, version) in &acknowledged {
            let run = copied.run_fetch(*id).await.expect("an answer").unwrap_or_else(|| panic!("cut {cut}: {id} is lost"));
            assert!(run.version() >= *version, "cut {cut}: version {version} of {id} is lost");
        }
        assert_eq!(copied.check().await.expect("a report").faults, Vec::<String>::new(), "cut {cut}");
        torn += u64::from(later.written() > before.written());
    }
    *stop.lock().expect("no panics") = true;
    for writer in writers {
        writer.await.expect("no panic");
    }
    torn
}

/// What was acknowledged was on the disk; of what was being written, the log has a part that ends anywhere, and garbage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commits_survive_a_log_that_is_torn_anywhere_behind_them() {
    let (mut random, mut cuts, mut torn) = (Random::seeded(), 0, 0);
    while cuts < rounds() {
        let some = (rounds() - cuts).min(20);
        torn += cut_power(&mut random, some).await;
        cuts += some;
    }
    println!("{cuts} cuts, {torn} of them in the middle of something");
    assert!(torn * 3 > cuts, "{torn} of {cuts} cuts tore something");
}
