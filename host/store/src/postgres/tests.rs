use super::*;
use crate::conformance::{Place, conformance, plain};
use crate::{CommitError, Doomed, Filter, Position, Runs, Store, Upkeep, Verifier, export, verify};
use aegis_core::{Answer, Commit, Event, Message, Principal, Request, Role, Run, Time, Usage};
use aegis_postgres::{Authority, Pooler, Server};
use futures::future::join_all;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// A database, in which the next host finds the one before dead.
struct Database {
    server: &'static Server,
    url: String,
}

impl Database {
    fn new() -> Database {
        let server = Server::shared();
        Database { server, url: server.database() }
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.url, sql)
    }

    /// What other hosts do to one that has been silent for too long.
    fn bury(&self) {
        self.sql("INSERT INTO aegis.dead SELECT id FROM aegis.host WHERE id IS NOT NULL; UPDATE aegis.host SET id = NULL");
    }

    async fn host(&self) -> Postgres {
        Postgres::open(&self.url, Access::Host).await.expect("a database")
    }
}

impl Place for Database {
    fn open(&self) -> Arc<dyn Store> {
        if self.sql("SELECT to_regclass('aegis.host') IS NOT NULL") == "t" {
            self.bury();
        }
        Arc::new(block_in_place(|| Handle::current().block_on(self.host())))
    }
}

conformance!(Database::new());

fn fail_if(faults: &[String]) {
    assert!(faults.is_empty(), "{faults:?}");
}

/// The next version of a run that waits for its provider.
fn answered(run: &mut Run) -> Commit {
    let answer = Answer { message: Message::text(Role::Assistant, "yes"), finish_reason: None, usage: Usage::default() };
    let step = run.history().len() as u64;
    run.handle(Event::Answered { step, result: Ok(answer) }, run.created_at()).expect("a call that is under way");
    run.commit()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_come_at_once_make_the_tables_once_and_take_seats_of_their_own() {
    let database = Database::new();
    let hosts = join_all((0..4).map(|_| database.host())).await;
    let streams: BTreeSet<String> = hosts.iter().map(|it| it.describe().stream).collect();
    assert_eq!(streams.len(), 4);
    let mut runs: Vec<Run> = (1..=4).map(plain).collect();
    for (host, run) in hosts.iter().zip(&mut runs) {
        host.run_create(run.commit()).await.expect("a new run");
    }
    hosts[3].run_commit(answered(&mut runs[0])).await.expect("whoever has it, its version is right");
    for host in &hosts {
        assert_eq!(host.run_fetch(runs[0].id()).await, Ok(Some(runs[0].clone())));
    }
    let report = hosts[0].check().await.expect("a report");
    assert_eq!((report.runs, report.lines), (4, 5));
    fail_if(&report.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_hosts_that_commit_one_version_one_wins() {
    let database = Database::new();
    let (one, other) = (database.host().await, database.host().await);
    let mut runs: Vec<Run> = (0..50).map(plain).collect();
    let commits: Vec<(Commit, Commit)> = runs.iter_mut().map(|run| (run.commit(), answered(run))).collect();
    for (first, _) in &commits {
        one.run_create(first.clone()).await.expect("a new run");
    }
    let all = commits.iter().map(|(_, next)| async { tokio::join!(one.run_commit(next.clone()), other.run_commit(next.clone())) });
    for (n, ends) in join_all(all).await.into_iter().enumerate() {
        let lost = Err(CommitError::Conflict);
        assert!(ends == (Ok(()), lost.clone()) || ends == (lost, Ok(())), "{n}: {ends:?}");
    }
    fail_if(&one.check().await.expect("a report").faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_hosts_runs_are_taken_over_within_its_lease_and_a_second() {
    let database = Database::new();
    let (dying, heir) = (database.host().await, database.host().await);
    let mut run = plain(1);
    dying.run_create(run.commit()).await.expect("a new run");
    // As long as a host is in touch before it trusts itself to say who is not.
    let until = Instant::now() + seat::LEASE + Duration::from_secs(1);
    while Instant::now() < until {
        assert_eq!(heir.run_claim(10).await, Ok(vec![]), "it lives");
        heir.orphaned().await;
    }
    drop(dying);
    let died = Instant::now();
    let claimed = loop {
        let claimed = heir.run_claim(10).await.expect("claims");
        if !claimed.is_empty() {
            break claimed;
        }
        assert!(died.elapsed() < seat::LEASE * 3, "nobody takes over");
        heir.orphaned().await;
    };
    let took = died.elapsed();
    assert_eq!(claimed, [run.id()]);
    assert!(took < seat::LEASE + Duration::from_secs(1), "{took:?}");
    assert_eq!(heir.run_claim(10).await, Ok(vec![]), "handed out once");
    assert_eq!(database.sql("SELECT count(*) FROM aegis.dead"), "0", "nothing is left of it");
    heir.run_commit(answered(&mut run)).await.expect("it is the heir's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_leaves_is_not_waited_for_and_writes_nothing_more() {
    let database = Database::new();
    let (leaving, heir) = (database.host().await, database.host().await);
    let mut run = plain(1);
    leaving.run_create(run.commit()).await.expect("a new run");
    leaving.leave().await.expect("it may");
    assert_eq!(heir.run_claim(10).await, Ok(vec![run.id()]));
    assert!(leaving.run_commit(answered(&mut run)).await.is_err() && leaving.run_create(plain(2).commit()).await.is_err());
    assert_eq!(heir.run_fetch(run.id()).await, Ok(Some(plain_stored(1))));
    let stream = leaving.describe().stream;
    assert_eq!(database.host().await.describe().stream, stream, "the next host takes its seat, and its ledger goes on");
}

/// As it is after its first commit.
fn plain_stored(n: u16) -> Run {
    let mut run = plain(n);
    run.commit();
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_taken_for_dead_cannot_write_what_it_had_and_begins_anew() {
    let database = Database::new();
    let host = database.host().await;
    let mut run = plain(1);
    host.run_create(run.commit()).await.expect("a new run");
    database.bury();
    assert_eq!(host.run_commit(answered(&mut run)).await, Err(CommitError::Conflict));
    assert_eq!(host.run_fetch(run.id()).await, Ok(Some(plain_stored(1))), "nothing was written");
    host.run_create(plain(2).commit()).await.expect("what is new, nobody else has");
    assert_eq!(host.run_fetch_mine(run.id()).await, Ok(None), "and what it had is no more its own");
    assert_eq!(host.run_claim(10).await, Ok(vec![run.id()]), "but it takes it over like any other host");
    assert_eq!(host.run_fetch_mine(run.id()).await, Ok(Some(plain_stored(1))));
    database.bury();
    host.run_create(plain(3).commit()).await.expect("what finds it without a seat is written from its next one");
    fail_if(&host.check().await.expect("a report").faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_on_one_host_hears_of_a_decision_on_another() {
    let database = Database::new();
    let (one, other) = (database.host().await, database.host().await);
    let mut run = plain(1);
    one.run_create(run.commit()).await.expect("a new run");
    until_heard(&other).await;
    let moved = other.run_moved(run.id());
    run.handle(Event::Cancelled { by: Principal::anonymous() }, run.created_at()).expect("it is open");
    let begun = Instant::now();
    // By another host than the one that had it, or nobody else would care.
    let third = database.host().await;
    third.run_commit(run.commit()).await.expect("nobody was faster");
    moved.await;
    let heard = begun.elapsed();
    assert!(heard < Duration::from_millis(900), "it was looked for, not heard of: {heard:?}");
}

async fn until_heard(host: &Postgres) {
    let moves = &host.host.as_ref().expect("a host").moves;
    for _ in 0..500 {
        if moves.is_hearing() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it hears nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_in_transaction_mode_all_works_but_being_told() {
    let database = Database::new();
    let pooler = Pooler::start(database.server);
    let url = pooler.url(&database.url);
    let host = Arc::new(Postgres::open(&url, Access::Host).await.expect("by way of the pooler"));
    let mut runs: Vec<Run> = (1..=100).map(plain).collect();
    let commits: Vec<Commit> = runs.iter_mut().map(Run::commit).collect();
    let created = join_all(commits.into_iter().map(|it| host.run_create(it))).await;
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    for run in &mut runs {
        host.run_commit(answered(run)).await.expect("nobody was faster");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!host.host.as_ref().expect("a host").moves.is_hearing());
    let begun = Instant::now();
    host.run_moved(runs[0].id()).await;
    assert!(begun.elapsed() < Duration::from_millis(500), "it is looked for more often then");
    fail_if(&host.check().await.expect("a report").faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_fails_alone() {
    let database = Database::new();
    let host = database.host().await;
    let plan = plain(1).plan().clone();
    let ends = (1..=20_u16).map(|n| {
        let name = if n == 7 { "a\0b" } else { "ada" };
        let who = Principal { id: name.into(), ..Principal::anonymous() };
        let run = Run::new(plain(n).id(), plan.clone(), Request::default(), who, false, [7; 32], Time(1));
        let mut run = run.expect("a run");
        let host = &host;
        async move { (n, host.run_create(run.commit()).await) }
    });
    for (n, end) in join_all(ends).await {
        match end {
            Err(CommitError::Store(StoreError::Refused(_))) => assert_eq!(n, 7),
            end => assert_eq!((n == 7, end), (false, Ok(())), "{n}"),
        }
    }
    fail_if(&host.check().await.expect("a report").faults);
}

/// Creates and completes runs until told to stop; those of which it was told that they were there.
async fn load(hosts: &[Arc<Postgres>], stop: &AtomicBool, next: &AtomicU16) -> Vec<(Run, bool)> {
    let mut acknowledged = vec![];
    while !stop.load(Ordering::Relaxed) {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let host = &hosts[usize::from(n) % hosts.len()];
        let mut run = plain(n);
        if host.run_create(run.commit()).await.is_ok() {
            let before = run.clone();
            let end = host.run_commit(answered(&mut run)).await;
            acknowledged.push(if end.is_ok() { (run, true) } else { (before, false) });
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_when_postgres_is_cut_off_killed_and_restarted_under_load() {
    let mut server = Server::start();
    let url = server.database();
    let open = || async { Arc::new(Postgres::open(&url, Access::Host).await.expect("a database")) };
    let hosts = Arc::new(vec![open().await, open().await]);
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU16::new(0)));
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let (hosts, stop, next) = (hosts.clone(), stop.clone(), next.clone());
            tokio::spawn(async move { load(&hosts, &stop, &next).await })
        })
        .collect();
    let pause = || tokio::time::sleep(Duration::from_millis(300));
    for round in 0..9 {
        pause().await;
        block_in_place(|| match round % 3 {
            0 => server.cut_connections(),
            1 => {
                server.kill();
                server.start_again();
            }
            _ => {
                server.stop();
                server.start_again();
            }
        });
    }
    pause().await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<(Run, bool)> = join_all(workers).await.into_iter().flat_map(|it| it.expect("no panic")).collect();
    assert!(acknowledged.len() > 100, "there was hardly any load: {}", acknowledged.len());
    for (run, over) in &acknowledged {
        let stored = hosts[0].run_fetch(run.id()).await.expect("an answer").expect("it was acknowledged");
        assert!(stored == *run || !over, "{} was acknowledged and is not as it was", run.id());
    }
    fail_if(&hosts[0].check().await.expect("a report").faults);
    let unfinished = acknowledged.iter().filter(|it| !it.1).count();
    assert_eq!(unfinished, 0, "a restart of the database is waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_url_is_said_without_its_password() {
    let unused = "postgres://ada:hunter2@127.0.0.1:1/aegis";
    for (url, expected) in [
        ("mysql://ada:hunter2@localhost/aegis", "cannot be read"),
        ("postgres://ada:hunter2@localhost:port/aegis", "cannot be read"),
        ("host=localhost password=hunter2 colour=red", "cannot be read"),
        ("postgres://ada:pw@hunter2@localhost/aegis", "write %40"),
        ("postgres:///aegis", "names no host"),
        (unused, "cannot be reached"),
        (&Server::shared().url("nowhere"), "does not let us in: database \"nowhere\" does not exist"),
    ] {
        let error = Postgres::open(url, Access::Command).await.err().unwrap_or_else(|| panic!("{url} was opened")).to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{url}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_moves_no_runs_and_a_version_that_still_fits_is_no_obstacle() {
    let database = Database::new();
    let command = Postgres::open(&database.url, Access::Command).await.expect("it makes the tables");
    assert_eq!(command.run_create(plain(1).commit()).await, Err(CommitError::Store(StoreError::NotHost)));
    assert_eq!(command.run_claim(1).await, Err(StoreError::NotHost));
    assert_eq!(Postgres::versions(&database.url).await, Ok((schema::NEWEST, schema::NEWEST)));
    database.sql("UPDATE aegis.version SET version = 99");
    database.host().await.run_create(plain(1).commit()).await.expect("what is newer has only more");
    database.sql("UPDATE aegis.version SET oldest = 98");
    let refused = Postgres::open(&database.url, Access::Host).await.err();
    assert_eq!(refused, Some(StoreError::Newer { found: 99, known: schema::NEWEST }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_of_several_hosts_is_read_page_by_page_exported_and_verified() {
    let database = Database::new();
    let hosts = [database.host().await, database.host().await, database.host().await];
    for n in 1..=30 {
        let mut run = plain(n);
        hosts[usize::from(n) % 3].run_create(run.commit()).await.expect("a new run");
        hosts[usize::from(n + n / 3) % 3].run_commit(answered(&mut run)).await.expect("nobody was faster");
    }
    let (mut position, mut verifier, mut count) = (Position::default(), Verifier::default(), 0);
    loop {
        let page = hosts[0].ledger_list(&position, 7).await.expect("lines");
        if page.is_empty() {
            break;
        }
        page.iter().for_each(|line| verifier.follow(line).expect("an unbroken chain"));
        position.pass_all(&page);
        count += page.len();
    }
    verifier.end().expect("each begins at its beginning");
    assert_eq!(count, 60);
    for filter in [Filter::default(), Filter { principal: Some("ada".into()), ..Filter::default() }] {
        let mut bytes = vec![];
        export(&hosts[1], &filter, None, Time(9), &mut bytes).await.expect("memory has room");
        let seen = verify(bytes.as_slice(), None).expect("it verifies");
        assert_eq!((seen.head.entries, seen.head.streams.len()), (60, 3), "also of runs that were created in a stream that is read later");
    }
    fail_if(&hosts[2].check().await.expect("a report").faults);
    database.sql("DELETE FROM aegis.ledger WHERE (stream, n) = (SELECT stream, n FROM aegis.host ORDER BY stream LIMIT 1)");
    let faults = hosts[2].check().await.expect("a report").faults;
    assert!(faults.iter().any(|it| it.contains("it should end with line")), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_stream_says_was_removed_stays_while_another_tells_of_it() {
    let database = Database::new();
    let (one, other) = (database.host().await, database.host().await);
    let mut first = plain(1);
    other.run_create(first.commit()).await.expect("a new run");
    other.run_commit(answered(&mut first)).await.expect("nobody was faster");
    let removed = async |host: &Postgres, doomed: Doomed| host.remove(&doomed, Time(50), 99).await.expect("it goes").count;
    assert_eq!(removed(&one, Doomed::Runs { ended_before: Time(40) }).await, 1);
    let mut second = plain(60);
    one.run_create(second.commit()).await.expect("a new run");
    one.run_commit(answered(&mut second)).await.expect("nobody was faster");
    assert_eq!(one.remove(&Doomed::Runs { ended_before: Time(70) }, Time(80), 99).await.expect("it goes").count, 1);
    let lines = || Doomed::Lines { written_before: Time(79) };
    assert_eq!(removed(&one, lines()).await, 0, "the other stream has lines of the first run");
    fail_if(&one.check().await.expect("a report").faults);
    assert_eq!(removed(&other, lines()).await, 2);
    fail_if(&one.check().await.expect("a report").faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_session_ended_in_the_middle_of_it_is_made_once() {
    let database = Database::new();
    let host = database.host().await;
    let mut run = plain(1);
    host.run_create(run.commit()).await.expect("a new run");
    // A trigger holds up the commit, and meanwhile the session is ended: whoever waits cannot know whether it was written.
    let until = Instant::now() + Duration::from_secs(20);
    let next = answered(&mut run);
    database.sql(
        "CREATE FUNCTION aegis.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON aegis.ledger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION aegis.hold()",
    );
    let held = async {
        loop {
            let pid = database
                .sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT' AND state = 'active'");
            assert!(Instant::now() < until, "nobody commits");
            if !pid.is_empty() {
                break database.sql(&format!("SELECT pg_terminate_backend({pid})"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (end, _) = tokio::join!(host.run_commit(next), held);
    assert_eq!(end, Ok(()), "it was begun again, and there is one answer");
    assert_eq!(host.run_fetch(run.id()).await, Ok(Some(run)));
    fail_if(&host.check().await.expect("a report").faults);
}

/// A way to the server on a port of its own, which loses the answers to so many commits or claims, and with each its connection.
async fn forgetful(server: &Server) -> (u16, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (port, to, lose) = (listener.local_addr().expect("an address").port(), server.port(), Arc::new(AtomicU16::new(0)));
    let left = lose.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let there = TcpStream::connect(("127.0.0.1", to)).await.expect("the server is there");
            tokio::spawn(carry(client, there, left.clone()));
        }
    });
    (port, lose)
}

async fn carry(mut client: TcpStream, mut server: TcpStream, lose: Arc<AtomicU16>) -> std::io::Result<()> {
    let (mut asked, mut said) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            n = client.read(&mut asked) => {
                let n = n?;
                server.write_all(&asked[..n]).await?;
                let commits = asked[..n].windows(7).any(|it| it == b"COMMIT\0" || it == b"orphan ");
                let loses = |left: u16| left.checked_sub(1);
                if n == 0 || (commits && lose.fetch_update(Ordering::Relaxed, Ordering::Relaxed, loses).is_ok()) {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    return Ok(());
                }
            }
            n = server.read(&mut said) => {
                let n = n?;
                client.write_all(&said[..n]).await?;
                if n == 0 {
                    return Ok(());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_written_though_its_answer_was_lost_is_found_to_be() {
    let database = Database::new();
    let (port, lose) = forgetful(database.server).await;
    let url = database.url.replace(&database.server.port().to_string(), &port.to_string());
    let host = Postgres::open(&url, Access::Host).await.expect("a database");
    for n in 1..=5 {
        let mut run = plain(n);
        lose.store(1, Ordering::Relaxed);
        assert_eq!(host.run_create(run.commit()).await, Ok(()));
        lose.store(1, Ordering::Relaxed);
        assert_eq!(host.run_commit(answered(&mut run)).await, Ok(()), "written once, and not in its own way when it is tried again");
        assert_eq!(lose.load(Ordering::Relaxed), 0, "no answer was lost");
        assert_eq!(host.run_fetch(run.id()).await, Ok(Some(run)));
    }
    let report = host.check().await.expect("a report");
    assert_eq!((report.runs, report.lines), (5, 10));
    fail_if(&report.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_cannot_be_read_do_not_keep_the_content_of_others() {
    let database = Database::new();
    let host = database.host().await;
    for n in 1..=6 {
        let mut run = plain(n);
        host.run_create(run.commit()).await.expect("a new run");
        host.run_commit(answered(&mut run)).await.expect("nobody was faster");
    }
    database.sql("UPDATE aegis.run SET checkpoint = '\\x01' WHERE updated_at <= 4");
    for (limit, count) in [(1, 1), (2, 1), (2, 0)] {
        let gone = host.remove(&Doomed::Content { ended_before: Time(i64::MAX as u64) }, Time(9), limit).await;
        assert_eq!(gone.expect("it is removed").count, count);
    }
    let list = host.run_list(&crate::RunFilter::default(), &crate::Page { limit: 10, after: None }).await.expect("a list");
    assert_eq!((list.data.len(), list.unreadable.len()), (2, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_was_lost_is_told_by_the_next() {
    let database = Database::new();
    let dying = database.host().await;
    dying.run_create(plain(1).commit()).await.expect("a new run");
    dying.leave().await.expect("it may");
    let (port, lose) = forgetful(database.server).await;
    let url = database.url.replace(&database.server.port().to_string(), &port.to_string());
    let heir = Postgres::open(&url, Access::Host).await.expect("a database");
    lose.store(1, Ordering::Relaxed);
    assert!(matches!(heir.run_claim(9).await, Err(StoreError::Away(_))));
    assert_eq!(heir.run_claim(9).await, Ok(vec![plain(1).id()]));
    assert_eq!(heir.run_claim(9).await, Ok(vec![]), "handed out once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_no_answer_and_still_goes_on_is_waited_for() {
    let database = Database::new();
    let host = database.host().await;
    let mut run = plain(1);
    host.run_create(run.commit()).await.expect("a new run");
    database.sql("UPDATE aegis.run SET status = 'completed'");
    host.host.as_ref().expect("a host").writer.doubtful().lock().expect("no panics").insert(run.id());
    // As the server does for somebody who has given up.
    let late = "SELECT FROM aegis.host FOR NO KEY UPDATE; UPDATE aegis.run SET status = 'running'; SELECT pg_sleep(1)";
    let claimed = std::thread::scope(|scope| {
        scope.spawn(|| database.sql(late));
        let begun = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        let until = Instant::now() + Duration::from_secs(20);
        while database.sql(begun) != "1" {
            assert!(Instant::now() < until, "nothing goes on");
        }
        block_in_place(|| Handle::current().block_on(host.run_claim(9)))
    });
    assert_eq!(claimed, Ok(vec![run.id()]));
    assert_eq!(host.run_claim(9).await, Ok(vec![]), "handed out once");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_just_come_takes_nobody_for_dead() {
    let database = Database::new();
    let _host = database.host().await;
    let seat = database.sql("SELECT id FROM aegis.host");
    let mut newcomers = vec![];
    for _ in 0..5 {
        // As if nobody had been able to reach the database for a minute.
        database.sql("UPDATE aegis.host SET lease = clock_timestamp() - interval '1 minute'");
        newcomers.push(database.host().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(database.sql(&format!("SELECT count(*) FROM aegis.host WHERE id = {seat}")), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_nodes_the_one_that_takes_writes_is_found_whatever_the_others_do() {
    let [silent, reads, writes] = block_in_place(|| [Server::start(), Server::start(), Server::start()]);
    let url = writes.database();
    // The name is the same on each.
    reads.sql(
        &reads.database(),
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
    );
    silent.pause(true);
    let others = format!("@127.0.0.1:{},127.0.0.1:1,127.0.0.1:{},", silent.port(), reads.port());
    let begun = Instant::now();
    let host = Postgres::open(&url.replace('@', &others), Access::Host).await.expect("one of them is there");
    let mut run = plain(1);
    host.run_create(run.commit()).await.expect("a new run");
    host.run_commit(answered(&mut run)).await.expect("nobody was faster");
    assert!(begun.elapsed() < Duration::from_secs(5), "the silent one has kept it: {:?}", begun.elapsed());
    assert_eq!(writes.sql(&url, "SELECT count(*) FROM aegis.run"), "1");

    let lost = format!("postgres://ada:hunter2@127.0.0.1:1,127.0.0.1:{}/test0", reads.port());
    let error = Postgres::open(&lost.replace("ada:hunter2", "postgres:hunter2"), Access::Command).await.err().expect("nobody takes writes");
    let said = error.to_string();
    for expected in ["cannot be reached: 127.0.0.1:1: ", &format!("; 127.0.0.1:{}: database does not allow writes", reads.port())] {
        assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
    }

    let begun = Instant::now();
    let nobody = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/test0", silent.port(), reads.port());
    let said = Postgres::open(&nobody, Access::Command).await.err().expect("nobody takes writes").to_string();
    assert!(said.contains(&format!("127.0.0.1:{}: no answer; ", silent.port())), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(5), "the other one may take writes by now: {:?}", begun.elapsed());
    silent.pause(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_in_a_folder_is_a_place_too() {
    let database = Database::new();
    let name = database.url.rsplit('/').next().expect("a URL has a path");
    let place = format!("host={} port={} user=postgres dbname={name}", database.server.folder().display(), database.server.port());
    let host = Postgres::open(&place, Access::Host).await.expect("by its socket");
    host.run_create(plain(1).commit()).await.expect("a new run");
    assert_eq!(database.sql("SELECT count(*) FROM aegis.run"), "1");
}

/// Whether that connection speaks TLS, or why there is none.
async fn spoken(url: &str) -> Result<bool, StoreError> {
    let command = Postgres::open(url, Access::Command).await?;
    let rows = command.pool.rows("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await?;
    Ok(rows[0].get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_counts_with_its_authority_and_its_name_whatever_the_mode_is_called() {
    let server = block_in_place(Server::start);
    let (url, folder) = (server.database(), server.folder());
    let (ours, theirs) = (Authority::new(), Authority::new());
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("the folder is ours");
        folder.join(name).display().to_string()
    };
    let (ca, other, empty) = (file("ca.pem", ours.pem()), file("other.pem", theirs.pem()), file("empty.pem", "nothing"));
    let at = |host: &str, settings: &str| format!("{}?{settings}", url.replace("127.0.0.1", host));
    let refused = spoken(&at("localhost", "sslmode=require")).await.expect_err("it speaks none");
    assert!(matches!(&refused, StoreError::Place(why) if why.contains("server does not support TLS")), "{refused}");
    assert_eq!(spoken(&at("localhost", "sslmode=prefer")).await, Ok(false));

    let (certificate, key) = ours.issue(&["localhost"]);
    server.speak_tls(&certificate, &key);
    for mode in ["prefer", "require", "verify-ca", "verify-full"] {
        let mode = format!("sslmode={mode}&sslrootcert=");
        assert_eq!(spoken(&at("localhost", &format!("{mode}{ca}"))).await, Ok(true), "{mode}");
        for (host, settings, expected) in [
            ("127.0.0.1", format!("{mode}{ca}"), "in the URL, name the host as it does"),
            ("localhost", format!("{mode}{other}"), "name it by sslrootcert=FILE or in SSL_CERT_FILE"),
            ("localhost", mode.replace("&sslrootcert=", ""), "name it by sslrootcert=FILE or in SSL_CERT_FILE"),
            ("localhost", format!("{mode}{empty}"), "it holds no certificate"),
            ("localhost", format!("{mode}{ca}.gone"), "cannot be used"),
        ] {
            let refused = spoken(&at(host, &settings)).await.expect_err("nobody vouches for it");
            assert!(matches!(&refused, StoreError::Place(why) if why.contains(expected)), "{settings}: {refused}");
        }
    }
    assert_eq!(spoken(&at("127.0.0.1", "sslmode=disable")).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_the_database_comes_to_too_late_claims_nothing() {
    let server = Server::start();
    let url = server.database();
    let open = || async { Postgres::open(&url, Access::Host).await.expect("a database") };
    let (dying, heir) = (open().await, open().await);
    dying.run_create(plain(1).commit()).await.expect("a new run");
    dying.leave().await.expect("it may");
    let owner = || server.sql(&url, "SELECT host FROM aegis.run");
    let dead = owner();
    server.pause(true);
    assert!(matches!(heir.run_claim(9).await, Err(StoreError::Away(_))));
    server.pause(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(owner(), dead, "nobody would learn of it");
    assert_eq!(heir.run_claim(9).await, Ok(vec![plain(1).id()]));
    assert_eq!(heir.run_claim(9).await, Ok(vec![]), "handed out once");
}

/// A way to the server on a port of its own. Once it is told to, it carries nothing more for those who have come by then, and does not say so.
async fn stalling(server: &Server) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (port, to, stalled) = (listener.local_addr().expect("an address").port(), server.port(), Arc::new(AtomicBool::new(false)));
    let told = stalled.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (mut there, late) =
                (TcpStream::connect(("127.0.0.1", to)).await.expect("the server is there"), told.load(Ordering::Relaxed));
            let told = told.clone();
            tokio::spawn(async move {
                let stall = async {
                    while late || !told.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::select! {
                    end = tokio::io::copy_bidirectional(&mut client, &mut there) => drop(end),
                    () = stall => std::future::pending().await,
                }
            });
        }
    });
    (port, stalled)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_connections_fall_silent_is_heard_of_elsewhere_before_it_is_taken_for_dead() {
    let database = Database::new();
    let (port, stalled) = stalling(database.server).await;
    let url = database.url.replace(&database.server.port().to_string(), &port.to_string());
    let other = database.host().await;
    let host = Postgres::open(&url, Access::Host).await.expect("a database");
    let mut run = plain(1);
    host.run_create(run.commit()).await.expect("a new run");
    // As long as the other one is in touch before it says who is not.
    tokio::time::sleep(seat::LEASE + Duration::from_secs(1)).await;
    let seat = host.seat();
    stalled.store(true, Ordering::Relaxed);
    tokio::time::sleep(seat::LEASE + Duration::from_secs(2)).await;
    assert_eq!((host.seat(), other.run_claim(9).await), (seat, Ok(vec![])), "it lives");
    host.run_commit(answered(&mut run)).await.expect("by another connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_there_is_no_run_is_said_by_a_database_that_takes_writes_alone() {
    let server = block_in_place(Server::start);
    let host = Postgres::open(&server.database(), Access::Host).await.expect("a database");
    host.run_create(plain(1).commit()).await.expect("a new run");
    assert_eq!(host.run_fetch(plain(2).id()).await, Ok(None));
    let settle = |change: &str| {
        server.sql(&server.url("postgres"), change);
        server.sql(&server.url("postgres"), "SELECT pg_reload_conf()");
    };
    // A primary that its standbys have left, as soon as it has read that it has some.
    settle("ALTER SYSTEM SET synchronous_standby_names = 'gone'");
    let until = Instant::now() + Duration::from_secs(20);
    while let Ok(said) = tokio::time::timeout(Duration::from_secs(1), host.run_fetch(plain(2).id())).await {
        assert!(Instant::now() < until, "others may have made it: {said:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(host.run_fetch(plain(1).id()).await, Ok(Some(plain_stored(1))), "reading goes on");
    settle("ALTER SYSTEM RESET synchronous_standby_names");
    assert_eq!(host.run_fetch(plain(2).id()).await, Ok(None));
}

/// What the hosts of this database have as connections, abandoned ones among them.
fn connections(database: &Database) -> u32 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'aegis'";
    database.sql(count).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_another_program_holds_holds_up_nothing_else() {
    let database = Database::new();
    let (host, other) = (Arc::new(database.host().await), database.host().await);
    let (mut held, mut foreign) = (plain(1), plain(2));
    host.run_create(held.commit()).await.expect("a new run");
    other.run_create(foreign.commit()).await.expect("a new run");
    let (id, seats) = (held.id(), (host.seat().expect("a seat"), other.seat().expect("a seat")));
    let lock = format!(
        "BEGIN; SELECT 1 FROM aegis.run WHERE id = '{}' FOR UPDATE; SELECT 1 FROM aegis.host WHERE id = {} FOR UPDATE; SELECT pg_sleep(15); COMMIT",
        uuid(id),
        seats.1.id
    );
    let holder = tokio::task::spawn_blocking({
        let (server, url) = (database.server, database.url.clone());
        move || server.sql(&url, &lock)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let wanted = tokio::spawn({
        let (host, commit) = (host.clone(), answered(&mut held));
        async move {
            let mut refused = 0;
            loop {
                match host.run_commit(commit.clone()).await {
                    Ok(()) => return refused,
                    Err(error) => assert_eq!(error, CommitError::Store(StoreError::Busy), "nobody was faster"),
                }
                refused += 1;
            }
        }
    });
    let (mut n, mut longest, mut most) = (10, Duration::ZERO, 0);
    while !holder.is_finished() {
        let begun = Instant::now();
        let mut run = plain(n);
        host.run_create(run.commit()).await.expect("a new run");
        host.run_commit(answered(&mut run)).await.expect("nobody holds it");
        longest = longest.max(begun.elapsed());
        most = most.max(connections(&database));
        assert_eq!(other.run_fetch(plain(999).id()).await.err().filter(|it| *it != StoreError::Busy), None);
        n += 1;
    }
    holder.await.expect("no panic");
    assert!(wanted.await.expect("no panic") > 0, "it was held for longer than anybody waits");
    assert!(longest < Duration::from_secs(5) && most <= 22, "{longest:?}, {most} connections of two hosts");
    other.run_commit(answered(&mut foreign)).await.expect("its seat is free again");
    assert_eq!((host.seat(), other.seat()), (Ok(seats.0), Ok(seats.1)), "both live");
    assert_eq!(database.sql("SELECT count(*) FROM aegis.dead"), "0");
    fail_if(&host.check().await.expect("a report").faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_commits_that_come_at_once_those_wait_in_vain_alone_whose_rows_are_held() {
    let database = Database::new();
    let host = Arc::new(database.host().await);
    let mut runs: Vec<Run> = (1..=40).map(plain).collect();
    for run in &mut runs {
        host.run_create(run.commit()).await.expect("a new run");
    }
    let key =
        aegis_core::RequestKey { principal: "ada".into(), key: Digest([1; 32]), body: Digest([2; 32]), at: Time(1), expires_at: Time(2) };
    let mut asked = plain(50);
    host.run_create(Commit { request: Some(key.clone()), ..asked.commit() }).await.expect("a new run");
    let lock = format!(
        "BEGIN; SELECT 1 FROM aegis.run WHERE id IN ('{}', '{}') FOR UPDATE; SELECT 1 FROM aegis.request FOR UPDATE; SELECT pg_sleep(7); COMMIT",
        uuid(runs[3].id()),
        uuid(runs[30].id())
    );
    let holder = tokio::task::spawn_blocking({
        let (server, url) = (database.server, database.url.clone());
        move || server.sql(&url, &lock)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut commits: Vec<Commit> = runs.iter_mut().map(answered).collect();
    let mut again = plain(51);
    commits.push(Commit { request: Some(aegis_core::RequestKey { at: Time(3), expires_at: Time(4), ..key }), ..again.commit() });
    let begun = Instant::now();
    let ends = join_all(commits.into_iter().map(|commit| async {
        if commit.checkpoint.version == 1 { host.run_create(commit).await } else { host.run_commit(commit).await }
    }));
    let ends = ends.await;
    assert!(begun.elapsed() < Duration::from_secs(5) && !holder.is_finished(), "{:?}", begun.elapsed());
    for (n, end) in ends.into_iter().enumerate() {
        let expected = if [3, 30, 40].contains(&n) { Err(CommitError::Store(StoreError::Busy)) } else { Ok(()) };
        assert_eq!(end, expected, "{n}");
    }
    holder.await.expect("no panic");
    fail_if(&host.check().await.expect("a report").faults);
}

/// Whoever may make something in the schema `public` makes what fits our statements better than what they mean.
const HOSTILE: &str = "
    CREATE TABLE public.caught(what text);
    CREATE FUNCTION public.times(numeric, integer) RETURNS numeric LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.caught VALUES('numeric * integer'); RETURN $1 OPERATOR(pg_catalog.*) $2::numeric; END $$;
    CREATE OPERATOR public.* (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = public.times);
    CREATE FUNCTION public.times(numeric, bigint) RETURNS numeric LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.caught VALUES('numeric * bigint'); RETURN $1 OPERATOR(pg_catalog.*) $2::numeric; END $$;
    CREATE OPERATOR public.* (LEFTARG = numeric, RIGHTARG = bigint, FUNCTION = public.times);
    CREATE FUNCTION public.less(numeric, bigint) RETURNS boolean LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.caught VALUES('numeric < bigint'); RETURN true; END $$;
    CREATE OPERATOR public.< (LEFTARG = numeric, RIGHTARG = bigint, FUNCTION = public.less);
    CREATE FUNCTION public.less(bigint, numeric) RETURNS boolean LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.caught VALUES('bigint < numeric'); RETURN true; END $$;
    CREATE OPERATOR public.< (LEFTARG = bigint, RIGHTARG = numeric, FUNCTION = public.less);
    CREATE OPERATOR public.<= (LEFTARG = bigint, RIGHTARG = numeric, FUNCTION = public.less);
    CREATE FUNCTION public.nextval(text) RETURNS bigint LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.caught VALUES('nextval'); RETURN pg_catalog.nextval($1::regclass); END $$;
    CREATE FUNCTION public.pg_advisory_xact_lock(integer) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.caught VALUES('pg_advisory_xact_lock'); END $$;
    CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.caught VALUES('unnest'); RETURN; END $$;
    CREATE FUNCTION public.one_more(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.caught VALUES('count'); RETURN $1 + 1; END $$;
    CREATE AGGREGATE public.count(bigint) (SFUNC = public.one_more, STYPE = bigint, INITCOND = '0');
    CREATE FUNCTION public.last_of(bytea, bytea) RETURNS bytea LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'lag was called'; END $$;
    CREATE AGGREGATE public.lag(bytea) (SFUNC = public.last_of, STYPE = bytea);
";

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_schema_public_is_never_called() {
    let database = Database::new();
    database.sql(HOSTILE);
    let (host, dying) = (database.host().await, database.host().await);
    let mut run = plain(1);
    dying.run_create(run.commit()).await.expect("a new run");
    dying.leave().await.expect("it may");
    assert_eq!(host.run_claim(9).await, Ok(vec![run.id()]));
    host.run_commit(answered(&mut run)).await.expect("nobody was faster");
    host.run_fetch(plain(9).id()).await.expect("an answer");
    database
        .sql("UPDATE aegis.run SET status = 'paused', lists = 1; INSERT INTO aegis.approver SELECT id, 0, 'principal ada' FROM aegis.run");
    let page = crate::Page { limit: 9, after: None };
    let ada = Principal { id: "ada".into(), ..Principal::anonymous() };
    let asked = host.approval_list(&crate::ApprovalFilter { decidable_by: ada }, &page).await.expect("a list");
    assert_eq!(asked.data.len(), 1);
    listener::tell(&host.pool.lend().await.expect("a connection"), &[run.id().to_string()]).await;
    host.held("ada").await.expect("counts");
    for doomed in [
        Doomed::Content { ended_before: Time(i64::MAX as u64) },
        Doomed::Runs { ended_before: Time(i64::MAX as u64) },
        Doomed::Lines { written_before: Time(i64::MAX as u64) },
    ] {
        host.remove(&doomed, Time(9), 9).await.expect("it is removed, if there is any");
    }
    fail_if(&host.check().await.expect("a report").faults);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(database.sql("SELECT string_agg(DISTINCT what, ', ') FROM public.caught"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_in_the_row_of_another_run_is_no_run() {
    let database = Database::new();
    let host = database.host().await;
    for n in 1..=2 {
        host.run_create(plain(n).commit()).await.expect("a new run");
    }
    let (one, other) = (plain(1).id(), plain(2).id());
    database.sql(&format!(
        "UPDATE aegis.run SET checkpoint = (SELECT checkpoint FROM aegis.run WHERE id = '{}') WHERE id = '{}'",
        uuid(other),
        uuid(one)
    ));
    let damaged = StoreError::Damaged(format!("run {one} cannot be read: in its place stands run {other}"));
    assert_eq!(host.run_fetch(one).await, Err(damaged.clone()));
    assert_eq!(host.check().await.expect("a report").faults, [damaged.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_no_host_is_a_fault_and_is_taken_over() {
    let database = Database::new();
    let (gone, host) = (database.host().await, database.host().await);
    gone.run_create(plain(1).commit()).await.expect("a new run");
    host.run_create(plain(2).commit()).await.expect("a new run");
    let seat = gone.seat().expect("a seat");
    drop(gone);
    database.sql(&format!("DELETE FROM aegis.host WHERE id = {}", seat.id));
    let faults = host.check().await.expect("a report").faults;
    for expected in [format!("ledger {}: no seat", seat.stream), format!("run {} is open, and its host {}", plain(1).id(), seat.id)] {
        assert!(faults.iter().any(|it| it.contains(&expected)), "{expected}: {faults:?}");
    }
    assert_eq!(host.run_claim(9).await, Ok(vec![plain(1).id()]));
    assert_eq!(host.run_claim(9).await, Ok(vec![]), "handed out once, and its own run is not among them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_waits_for_a_database_that_starts_later_and_a_command_does_not() {
    let mut server = block_in_place(Server::start);
    let url = server.database();
    block_in_place(|| server.stop());
    let begun = Instant::now();
    let refused = Postgres::open(&url, Access::Command).await.err();
    assert!(matches!(refused, Some(StoreError::Away(_))) && begun.elapsed() < Duration::from_secs(5), "{refused:?}");
    let starting = tokio::spawn(async move { Postgres::open(&url, Access::Host).await.map(drop) });
    tokio::time::sleep(Duration::from_secs(2)).await;
    block_in_place(|| server.start_again());
    assert_eq!(starting.await.expect("no panic"), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_in_utf8_is_refused_with_what_to_write() {
    let server = block_in_place(Server::start);
    server.sql(&server.url("postgres"), "CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    for access in [Access::Host, Access::Command] {
        let refused = Postgres::open(&server.url("old"), access).await.err().expect("it has not all letters");
        let said =
            matches!(&refused, StoreError::Place(why) if why.contains("LATIN1") && why.contains("CREATE DATABASE aegis ENCODING 'UTF8'"));
        assert!(said, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_certificates_without_an_end_is_not_read_to_it() {
    let refused = Postgres::open("postgres://127.0.0.1:1/aegis?sslrootcert=/dev/zero", Access::Command).await.err();
    assert!(matches!(&refused, Some(StoreError::Place(why)) if why.contains("larger than 1 MiB")), "{refused:?}");
}
