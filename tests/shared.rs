//! One Postgres, and the real binary on it: alone as on its file, and several at once, of which one is killed.

use crate::host::{Host, aegis, config};
use aegis_postgres::Server;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

const QUESTION: &str = "Please give me financial advice.";
/// A host that is silent for longer is taken for dead, which is noticed and acted upon within a second.
const TAKEN_OVER: Duration = Duration::from_secs(5 + 1);

/// The two lines that differ: where runs are kept, and in the environment the database.
pub(crate) fn in_postgres(config: &str) -> String {
    config.replace("{type: sqlite, path: aegis.db}", "{type: postgres, url: secret://file/database}")
}

fn on_postgres(auth: &str) -> String {
    in_postgres(&config(auth))
}

async fn database() -> String {
    spawn_blocking(|| Server::shared().database()).await.expect("no panic")
}

/// A host that keeps its runs in `database`.
pub(crate) async fn start(config: &str, database: &str) -> Host {
    let dir = TempDir::new().expect("a temporary folder");
    std::fs::write(dir.path().join("aegis.yaml"), config).expect("writable");
    std::fs::write(dir.path().join("database"), database).expect("writable");
    Host::start_in(dir).await
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walkthrough_works_on_postgres_by_changing_two_lines() {
    let host = start(&on_postgres("api_key"), &database().await).await;
    let (alice, bob) = (host.key("alice", &[]), host.key("bob", &[]));
    let run = host.submit(&alice, QUESTION, json!({"background": true})).await;
    assert_eq!(run["status"], "paused", "{run}");
    let id = run["run_id"].as_str().expect("an id").to_owned();
    let host = host.crash_and_restart().await;
    let pending = host.aegis(&bob, &["runs", "list", "--pending"]);
    assert!(said(&pending).contains(&id), "{pending:?}");
    let approved = host.aegis(&bob, &["runs", "approve", &id, "--comment", "fine", "--json"]);
    assert!(approved.status.success(), "{approved:?}");
    let (_, run) = host.get(&alice, &format!("/v1/runs/{id}")).await;
    assert_eq!((&run["status"], &run["response"]), (&json!("completed"), &json!("the reply")), "{run}");

    let check = host.aegis("", &["db", "check"]);
    assert!(check.status.success() && said(&check).contains("1 runs") && said(&check).contains("0 faults"), "{check:?}");
    let exported = host.aegis("", &["ledger", "export"]);
    std::fs::write(host.dir.path().join("ledger.jsonl"), &exported.stdout).expect("writable");
    let verified = host.aegis("", &["ledger", "verify", "ledger.jsonl"]);
    assert!(verified.status.success(), "{verified:?}");
    let migrated = host.aegis("", &["db", "migrate", "--check"]);
    assert!(migrated.status.success() && said(&migrated).contains("nothing to do"), "{migrated:?}");
    let backup = host.aegis("", &["db", "backup", "copy.db"]);
    assert!(backup.status.code() == Some(1) && said(&backup).contains("pg_dump"), "{backup:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_host_was_in_the_middle_of_when_it_was_killed_another_finishes() {
    let delay = Duration::from_secs(3);
    let config = on_postgres("none").replace("response: \"the reply\"", "response: \"the reply\", delay: 3s");
    let database = database().await;
    let (mut dying, heir) = (start(&config, &database).await, start(&config, &database).await);
    // So long a host is in touch before it says of others that they are not.
    tokio::time::sleep(TAKEN_OVER).await;
    let run = dying.submit("", "How is the weather?", json!({"background": true})).await;
    assert_eq!(run["status"], "running", "{run}");
    let id = run["run_id"].as_str().expect("an id");
    dying.kill();
    let died = Instant::now();
    let run = heir.settled("", id, "completed").await;
    let took = died.elapsed();
    assert_eq!(run["response"], "the reply", "{run}");
    // One more second for a machine that has much else to do.
    assert!(took > delay && took < TAKEN_OVER + delay + Duration::from_secs(1), "{took:?}\n{}", heir.log());
    let check = heir.aegis("", &["db", "check"]);
    assert!(said(&check).contains("0 faults"), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_on_one_host_learns_of_what_happens_on_another() {
    let (database, slow) = (database().await, on_postgres("none").replace("response: \"the reply\"", "response: \"the reply\", delay: 2s"));
    let (one, other) = (start(&slow, &database).await, start(&slow, &database).await);
    let run = one.submit("", QUESTION, json!({})).await;
    let id = run["run_id"].as_str().expect("an id").to_owned();
    let (_, listed) = other.get("", "/v1/approvals").await;
    assert!(listed.to_string().contains(&id), "{listed}");
    let (resume, wait) = (format!("/v1/runs/{id}/resume"), format!("/v1/runs/{id}?wait=30s"));
    let decided = async {
        let decided = other.post("", &resume, json!({"decision": "approved"})).await;
        (decided, Instant::now())
    };
    let waited = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waited = one.get("", &wait).await;
        (waited, Instant::now())
    };
    let (((status, decided), then), ((_, waited), learned)) = tokio::join!(decided, waited);
    assert_eq!((status, &decided["status"], &waited["status"]), (200, &json!("completed"), &json!("completed")), "{waited}");
    let late = learned.saturating_duration_since(then);
    assert!(late < Duration::from_secs(2), "{late:?}");
    assert_eq!(one.get("", "/v1/approvals").await.1["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn now_is_what_the_database_says() {
    let database = database().await;
    // Ten minutes ahead: a function that is found before the real one.
    let sql = "CREATE SCHEMA ahead;
        CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '10 minutes' $$;
        DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = ahead, pg_catalog', current_database()); END $$";
    let url = database.clone();
    spawn_blocking(move || Server::shared().sql(&url, sql)).await.expect("no panic");
    let host = start(&on_postgres("none"), &database).await;
    let run = host.submit("", "How is the weather?", json!({})).await;
    let created = run["created_at"].as_str().expect("a moment").to_owned();
    let ahead =
        format!("SELECT '{created}'::timestamptz - pg_catalog.clock_timestamp() BETWEEN interval '9 minutes' AND interval '10 minutes'");
    let said = spawn_blocking(move || Server::shared().sql(&database, &ahead)).await.expect("no panic");
    assert_eq!(said, "t", "{created}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_to_two_hosts_at_once_is_carried_out_once() {
    let database = database().await;
    let (one, other) = (start(&on_postgres("none"), &database).await, start(&on_postgres("none"), &database).await);
    let body = json!({"messages": [{"role": "user", "content": "How is the weather?"}]});
    for n in 0..10 {
        let name = format!("key-{n}");
        let (a, b) =
            tokio::join!(one.post_named("", "/v1/runs", &name, body.clone()), other.post_named("", "/v1/runs", &name, body.clone()));
        assert_eq!((a.0, b.0, &a.1["run_id"]), (200, 200, &b.1["run_id"]), "{a:?} {b:?}");
    }
    let (_, runs) = one.get("", "/v1/runs?limit=100").await;
    assert_eq!(runs["data"].as_array().map(Vec::len), Some(10), "{runs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_when_postgres_is_cut_off_and_killed_under_load() {
    let server = spawn_blocking(Server::start).await.expect("no panic");
    let url = server.database();
    let hosts = Arc::new(vec![start(&on_postgres("none"), &url).await, start(&on_postgres("none"), &url).await]);
    let clients: Vec<_> = (0..6).map(|client| tokio::spawn(ask(hosts.clone(), client))).collect();
    let server = spawn_blocking(move || {
        let mut server = server;
        for round in 0..4 {
            std::thread::sleep(Duration::from_millis(700));
            if round % 2 == 0 {
                server.cut_connections()
            } else {
                server.kill()
            };
            if round % 2 == 1 {
                server.start_again();
            }
        }
        server
    });
    let server = server.await.expect("no panic");
    let mut answered: Vec<Value> = vec![];
    for client in clients {
        answered.extend(client.await.expect("no panic"));
    }
    for run in &answered {
        let id = run["run_id"].as_str().expect("an id");
        let (status, stored) = hosts[1].get("", &format!("/v1/runs/{id}")).await;
        assert_eq!((status, &stored["status"], &stored["response"]), (200, &run["status"], &run["response"]), "{id}");
    }
    let ids = server.sql(&url, "SELECT count(*) FROM aegis.run WHERE status = 'completed'");
    assert_eq!(ids, answered.len().to_string(), "each request has made one run");
    let check = hosts[0].aegis("", &["db", "check"]);
    assert!(said(&check).contains("0 faults"), "{check:?}");
}

/// Asks again with the same key until there is an answer, at the other host each time.
async fn ask(hosts: Arc<Vec<Host>>, client: usize) -> Vec<Value> {
    let body = json!({"messages": [{"role": "user", "content": "How is the weather?"}]});
    let mut answered = vec![];
    for n in 0..25 {
        let name = format!("client-{client}-{n}");
        let run = loop {
            let host = &hosts[(client + n + answered.len()) % 2];
            let (status, run) = host.post_named("", "/v1/runs", &name, body.clone()).await;
            if status == 200 && run["status"] == "completed" {
                break run;
            }
            assert!(status == 503 || run["status"] == "running", "{status} {run}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        answered.push(run);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_said_without_its_password() {
    let dir = TempDir::new().expect("a temporary folder");
    std::fs::write(dir.path().join("aegis.yaml"), on_postgres("none")).expect("writable");
    std::fs::write(dir.path().join("database"), "postgres://ada:hunter2@127.0.0.1:1/aegis").expect("writable");
    let output = aegis(dir.path()).args(["serve", "--no-auth"]).output().expect("the binary runs");
    let told = said(&output);
    assert!(told.contains("AEG-STO-009") && told.contains("cannot be reached") && !told.contains("hunter2"), "{told}");
    let output = aegis(dir.path()).args(["config", "check"]).output().expect("the binary runs");
    let told = said(&output);
    assert!(told.contains("postgres://127.0.0.1:1/aegis") && !told.contains("hunter2"), "{told}");
}
