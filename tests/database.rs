//! How failures of a Postgres that is shared end for its hosts: no room on its disk, a certificate that nobody vouches for.

use crate::host::{Host, aegis, config, ends};
use aegis_postgres::{Authority, Server};
use futures::future::join_all;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::block_in_place;

const QUESTION: &str = "Please give me financial advice.";
/// Until a host that can go on does.
const PATIENCE: Duration = Duration::from_secs(40);

/// A folder with a configuration that keeps runs at `url`.
fn folder(url: &str) -> TempDir {
    let dir = TempDir::new().expect("a temporary folder");
    let config = config("none")
        .replace("{type: sqlite, path: aegis.db}", "{type: postgres, url: secret://file/database}")
        .replace("server: {", "server: {request_timeout: 5s, ");
    std::fs::write(dir.path().join("aegis.yaml"), config).expect("writable");
    std::fs::write(dir.path().join("database"), url).expect("writable");
    dir
}

fn id(run: &Value) -> String {
    run["run_id"].as_str().expect("an id").to_owned()
}

/// Asks until it says so, and comes back with the answers: the last commit decides, and a small one may still find room.
async fn until_not_ready(host: &Host, body: &Value) -> Vec<(u16, Value)> {
    let (until, mut answers) = (Instant::now() + PATIENCE, vec![]);
    while host.get("", "/readyz").await.0 != 503 {
        assert!(Instant::now() < until, "it says that it is ready: {}", host.log());
        answers.push(host.post("", "/v1/runs", body.clone()).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_postgres_is_said_loses_nothing_and_once_there_is_room_all_goes_on() {
    let Some(mut server) = block_in_place(|| Server::start_on_a_small_disk(128)) else { return };
    let url = block_in_place(|| server.database());
    let hosts = [Host::start_in(folder(&url)).await, Host::start_in(folder(&url)).await];
    let body = |size: usize| json!({"messages": [{"role": "user", "content": "x".repeat(size)}]});
    let paused = id(&hosts[0].submit("", QUESTION, json!({})).await);
    let mut kept = vec![id(&hosts[1].submit("", "hello", json!({})).await)];
    server.fill_disk();

    let (mut refused, mut unsure) = (0, 0);
    let asked = (0..40).map(|n| hosts[n % 2].post("", "/v1/runs", body(20_000)));
    let large = body(20_000);
    let (answers, more) = tokio::join!(join_all(asked), join_all(hosts.iter().map(|it| until_not_ready(it, &large))));
    for (status, said) in answers.into_iter().chain(more.into_iter().flatten()) {
        match (status, said["error"]["code"].as_str()) {
            (200, _) => kept.push(id(&said)),
            (503, Some("AEG-STO-001")) => refused += 1,
            // Where there was no room for its log, either, Postgres has ended; whether this was taken before, nobody knows.
            (503, Some("AEG-STO-009")) => unsure += 1,
            _ => panic!("{status} {said}"),
        }
    }
    println!("{refused} were refused, of {unsure} nobody knows, {} were kept", kept.len());
    assert!(refused + unsure > 20, "the disk never filled");
    for host in &hosts {
        assert_eq!(host.get("", "/healthz").await.0, 200);
    }

    server.make_room();
    if server.has_ended() {
        block_in_place(|| server.start_again());
    }
    let until = Instant::now() + PATIENCE;
    for host in &hosts {
        loop {
            match host.post("", "/v1/runs", body(1)).await {
                (200, run) => break kept.push(id(&run)),
                (status, said) => assert!(status == 503 && Instant::now() < until, "there is room: {status} {said}\n{}", host.log()),
            }
            unsure += 1;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(host.get("", "/readyz").await.0, 200, "{}", host.log());
    }
    for run in &kept {
        assert_eq!(hosts[1].settled("", run, "completed").await["run_id"], *run.as_str());
    }
    let (status, run) = hosts[1].post("", &format!("/v1/runs/{paused}/resume"), json!({"decision": "approved"})).await;
    assert_eq!((status, &run["status"]), (200, &json!("completed")), "{run}");
    let there: usize = block_in_place(|| server.sql(&url, "SELECT count(*) FROM aegis.run")).parse().expect("a number");
    let known = kept.len() + 1;
    assert!((known..=known + unsure).contains(&there), "{there} runs, of {known} clients know, of {unsure} they do not");
    let check = hosts[0].aegis("", &["db", "check"]);
    assert!(String::from_utf8_lossy(&check.stdout).contains("0 faults"), "{check:?}");
}

/// `aegis serve`, which should end, and whose certificates count for it.
fn refused(dir: &Path, authorities: &Path) -> String {
    let mut command = aegis(dir);
    command.args(["serve", "--no-auth", "--listen", "127.0.0.1:0"]).env("SSL_CERT_FILE", authorities);
    let output = ends(command);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_behind_tls_is_used_where_its_certificate_is_vouched_for_and_refused_where_not() {
    let server = block_in_place(Server::start);
    let url = block_in_place(|| server.database()).replace("127.0.0.1", "localhost");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.issue(&["localhost"]);
    block_in_place(|| server.speak_tls(&certificate, &key));
    let files = TempDir::new().expect("a temporary folder");
    let file = |name: &str, authority: &Authority| {
        std::fs::write(files.path().join(name), authority.pem()).expect("writable");
        files.path().join(name)
    };
    let (ca, other) = (file("ca.pem", &ours), file("other.pem", &theirs));

    let authorities = [("SSL_CERT_FILE", ca.to_str().expect("a text"))];
    let by_environment = Host::start_as(folder(&format!("{url}?sslmode=verify-full")), &["serve", "--no-auth"], &authorities).await;
    let by_url = Host::start_in(folder(&format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display()))).await;
    let run = by_environment.submit("", QUESTION, json!({})).await;
    let (_, run) = by_url.post("", &format!("/v1/runs/{}/resume", id(&run)), json!({"decision": "approved"})).await;
    assert_eq!(run["status"], "completed", "{run}");
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING(pid) WHERE application_name = 'aegis' AND NOT ssl";
    assert_eq!(block_in_place(|| server.sql(&url.replace("localhost", "127.0.0.1"), plain)), "0");

    for (url, authorities, expected) in [
        (format!("{url}?sslmode=verify-full"), &other, "is not to be trusted"),
        (format!("{url}?sslmode=verify-full").replace("localhost", "127.0.0.1"), &ca, "in the URL, name the host as it does"),
    ] {
        let said = refused(folder(&url).path(), authorities);
        assert!(said.contains("AEG-STO-005") && said.contains(expected), "{url}: {said}");
    }
}
