//! What is over goes when its time has come or when it is asked for, the rest stays, and the ledger tells of all of it.

use crate::host::{Host, config};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn id(run: &Value) -> String {
    run["run_id"].as_str().expect("an id").to_owned()
}

/// Waits until `is` holds of the answer at `path`.
async fn until(host: &Host, path: &str, what: &str, is: impl Fn(u16, &Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, answer) = host.get("", path).await;
        if is(status, &answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: {status} {answer}\n{}", host.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn exported(host: &Host) -> String {
    let output = host.aegis("", &["ledger", "export"]);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).expect("JSON")
}

/// How the command says that an export of what is left verifies.
fn verified(host: &Host) -> String {
    std::fs::write(host.dir.path().join("exported"), exported(host)).expect("the folder is writable");
    done(host.aegis("", &["ledger", "verify", "exported"]))
}

fn sound(host: &Host) {
    assert!(done(host.aegis("", &["db", "check"])).contains("0 faults"));
}

#[tokio::test]
async fn what_is_over_loses_its_content_then_goes_and_then_its_lines_do() {
    let short = "retention: {content: 2s, completed: 8s, ledger: 10s}\n";
    let settings = config("none").replace("server: {", "server: {idempotency: 1s, ") + short;
    let host = Host::start(&settings).await;
    let over = id(&host.submit("", "hello TOPSECRET", json!({"metadata": {"m": "TOPSECRET"}})).await);
    let denied = id(&host.submit("", "financial advice TOPSECRET", json!({})).await);
    host.post("", &format!("/v1/runs/{denied}/resume"), json!({"decision": "denied", "comment": "because"})).await;
    for run in [&over, &denied] {
        let run = until(&host, &format!("/v1/runs/{run}"), "content", |_, it| !it["content_erased_at"].is_null()).await;
        assert!(!run.to_string().contains("TOPSECRET") && run["response"].is_null(), "{run}");
        assert_eq!(run["events"][0]["type"], "created", "{run}");
    }
    let waits = id(&host.submit("", "financial advice TOPSECRET", json!({})).await);
    assert!(done(host.aegis("", &["runs", "show", &over])).contains("content   erased 20"), "the command says it, too");
    assert_eq!(host.get("", &format!("/v1/runs/{over}/ledger")).await.0, 200);
    assert_eq!(host.get("", "/v1/runs").await.0, 200);
    sound(&host);
    assert!(verified(&host).contains("2 times the content of a run"));

    until(&host, &format!("/v1/runs/{over}"), "the run", |status, _| status == 404).await;
    until(&host, &format!("/v1/runs/{denied}"), "the run", |status, _| status == 404).await;
    let lines = until(&host, "/v1/ledger", "lines", |_, it| it["data"][0]["n"].as_u64() > Some(6)).await;
    assert!(!lines.to_string().contains(&format!("\"run\":\"{over}\"")), "what the ledger said of it: {lines}");
    let (_, run) = host.get("", &format!("/v1/runs/{waits}")).await;
    assert_eq!((&run["status"], run["content_erased_at"].is_null()), (&json!("paused"), true), "what is not over is left alone: {run}");
    let (status, run) = host.post("", &format!("/v1/runs/{waits}/resume"), json!({"decision": "approved"})).await;
    assert_eq!((status, &run["status"]), (200, &json!("completed")), "{run}");
    sound(&host);
    let verified = verified(&host);
    assert!(verified.contains("lines 1 to "), "{verified}");
    let (_, metrics) = host.get("", "/metrics").await;
    for what in ["content", "runs", "lines"] {
        let line = format!("aegis_removed_total{{what=\"{what}\"}} ");
        let count = metrics.as_str().and_then(|it| it.lines().find_map(|it| it.strip_prefix(&line)?.parse::<u64>().ok()));
        assert!(count >= Some(2), "{line}: {count:?}");
    }
    // Somebody cuts off one line more, and says nothing.
    let ledger = exported(&host);
    std::fs::write(host.dir.path().join("beheaded"), ledger.split_once('\n').expect("lines").1).expect("the folder is writable");
    assert_eq!(host.aegis("", &["ledger", "verify", "beheaded"]).status.code(), Some(1));
}

/// The files in and below `folder` in which `words` stand.
fn found_in(folder: &Path, words: &str) -> Vec<String> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).expect("a folder").map(|it| it.expect("a file").path()) {
        match entry.is_dir() {
            true => found.extend(found_in(&entry, words)),
            false => {
                let bytes = std::fs::read(&entry).expect("a file");
                let holds = bytes.windows(words.len()).any(|it| it == words.as_bytes());
                found.extend(holds.then(|| entry.display().to_string()));
            }
        }
    }
    found
}

#[tokio::test]
async fn what_one_principal_has_said_is_erased_from_every_file_and_others_keep_theirs() {
    let host = Host::start_as(
        {
            let dir = tempfile::TempDir::new().expect("a temporary folder");
            std::fs::write(dir.path().join("aegis.yaml"), config("api_key")).expect("the folder is writable");
            dir
        },
        &["serve"],
        &[],
    )
    .await;
    let (ada, eve, root) = (host.key("ada", &[]), host.key("eve", &[]), host.key("root", &["--role", "admin"]));
    let mut ids = vec![];
    for n in 0..20 {
        ids.push(id(&host.submit(&ada, &format!("hello GONEMARK {n}"), json!({"metadata": {"m": "GONEMARK"}})).await));
        host.submit(&eve, &format!("hello KEPTMARK {n}"), json!({})).await;
    }
    let body = json!({"messages": [{"role": "user", "content": "GONEMARK"}]});
    host.post_named(&ada, "/v1/runs", "k", body.clone()).await;
    let waits = id(&host.submit(&ada, "financial advice GONEMARK", json!({})).await);
    assert!(!found_in(host.dir.path(), "GONEMARK").is_empty());

    let refused = host.aegis(&ada, &["runs", "erase", "--principal", "ada", "--yes"]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("AEG-AUTH-002"), "{}", said(&refused));
    let unasked = host.aegis(&root, &["runs", "erase", "--principal", "ada"]);
    assert!(unasked.status.code() == Some(1) && said(&unasked).contains("the content of 21 runs of ada"), "{}", said(&unasked));
    assert!(host.get(&ada, &format!("/v1/runs/{}", ids[0])).await.1["content_erased_at"].is_null(), "nobody was asked, nothing was done");

    let erased = done(host.aegis(&root, &["runs", "erase", "--principal", "ada", "--yes"]));
    assert!(erased.contains("erased the content of 21 runs of ada") && erased.contains(&waits), "{erased}");
    let (_, run) = host.get(&ada, &format!("/v1/runs/{waits}")).await;
    assert_eq!(run["status"], "paused", "what is not over is left as it is");
    let erased = done(host.aegis(&root, &["runs", "erase", "--principal", "ada", "--cancel", "--yes"]));
    assert!(erased.contains("erased the content of 1 runs of ada, 1 of which were ended for it"), "{erased}");
    assert_eq!(found_in(host.dir.path(), "GONEMARK"), Vec::<String>::new());
    assert_eq!(found_in(host.dir.path(), "KEPTMARK").len(), 1);

    for run in ids.iter().chain([&waits]) {
        let (status, run) = host.get(&ada, &format!("/v1/runs/{run}")).await;
        assert!(status == 200 && run["content_erased_at"].is_string(), "{run}");
    }
    assert_eq!(host.post_named(&ada, "/v1/runs", "k", body).await.1["response"], "the reply", "its key was forgotten with it");
    sound(&host);
    let ledger = exported(&host);
    assert!(ledger.contains(r#""type":"erased""#) && ledger.contains(r#""principal":"ada","by":"root""#), "{ledger}");
    assert!(verified(&host).contains("22 times the content of a run"));
    let replayed = done(host.aegis("", &["ledger", "replay"]));
    assert!(replayed.contains("22 runs"), "those that cannot be proved any more are counted: {replayed}");
}

#[tokio::test]
async fn a_run_that_cannot_be_read_keeps_nothing_else_of_its_principal_in_the_files() {
    let host = Host::start(&config("none")).await;
    let mut ids = vec![];
    for _ in 0..5 {
        ids.push(id(&host.submit("", "hello GONEMARK", json!({})).await));
    }
    for _ in 0..2 {
        ids.push(id(&host.submit("", "financial advice GONEMARK", json!({})).await));
    }
    let meddler = rusqlite::Connection::open(host.dir.path().join("aegis.db")).expect("the database");
    for damaged in [&ids[0], &ids[5]] {
        let sql = format!("UPDATE run SET checkpoint = x'01' WHERE hex(id) = '{}'", damaged.replace('-', "").to_uppercase());
        assert_eq!(meddler.execute(&sql, []).expect("it may"), 1);
    }
    drop(meddler);
    for more in [&[][..], &["--cancel"]] {
        let erased = host.aegis("", &[&["runs", "erase", "--principal", "anonymous", "--yes"], more].concat());
        assert!(erased.status.code() == Some(1) && said(&erased).contains("2 runs cannot be read"), "{}", said(&erased));
    }
    assert_eq!(found_in(host.dir.path(), "GONEMARK"), Vec::<String>::new());
    for run in ids[1..5].iter().chain([&ids[6]]) {
        assert!(host.get("", &format!("/v1/runs/{run}")).await.1["content_erased_at"].is_string());
    }
}

/// Runs of one principal without a pause, until `erase` is done.
async fn under_traffic(host: &Arc<Host>, erase: impl AsyncFnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let goes_on = |_| {
        let (host, stop) = (host.clone(), stop.clone());
        tokio::spawn(async move {
            for _ in 0..2000 {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                host.submit("", "hello", json!({})).await;
            }
        })
    };
    let traffic: Vec<_> = (0..12).map(goes_on).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    erase().await;
    stop.store(true, Ordering::Relaxed);
    for it in traffic {
        it.await.expect("no panic");
    }
}

#[tokio::test]
async fn an_erasure_ends_while_its_principal_goes_on_and_takes_no_run_that_ends_now_for_damaged() {
    let host = Arc::new(Host::start(&config("none")).await);
    under_traffic(&host, async || {
        for _ in 0..5 {
            let (_, would) = host.post("", "/v1/erasures", json!({"principal": "anonymous", "dry_run": true})).await;
            let (status, answer) = host.post("", "/v1/erasures", json!({"principal": "anonymous"})).await;
            assert_eq!(status, 200, "{answer}");
            let count = |it: &Value| it["erased"].as_u64().expect("a number");
            assert!(count(&answer) < 5 * count(&would) + 200, "it runs after those that come: {answer}, of {would}");
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_removed_where_nobody_asked_for_it() {
    let host = Host::start(&config("none")).await;
    let run = id(&host.submit("", "hello", json!({})).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (_, run) = host.get("", &format!("/v1/runs/{run}")).await;
    assert_eq!((&run["response"], run["content_erased_at"].is_null()), (&json!("the reply"), true));
    assert!(!host.get("", "/metrics").await.1.to_string().contains("aegis_removed_total{"));
}
