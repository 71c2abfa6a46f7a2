//! `aegis db`: a copy taken under load is a whole database, and an older database is brought up.

use crate::host::{Host, aegis, config};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

fn run(folder: &Path, args: &[&str]) -> Output {
    aegis(folder).args(args).output().expect("the binary runs")
}

/// Exit 1 with this code and these words.
fn refused(output: &Output, code: &str, said: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr.starts_with(code) && stderr.contains(said), "{code}, {said:?}: {stderr}");
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Runs of every kind, one after the other, until `stop`; which ones were told of, and how they stood.
async fn load(url: String, stop: Arc<AtomicBool>) -> Vec<(String, String)> {
    let (client, mut told) = (crate::host::client(), vec![]);
    for text in ["hello", "financial advice", "good morning"].into_iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
        let answer = client.post(format!("{url}/v1/runs")).body(body).send().await.expect("the host answers");
        let (status, run) = crate::host::read(answer).await;
        assert_eq!(status, 200, "{run}");
        let field = |name: &str| run[name].as_str().expect("a text").to_owned();
        told.push((field("run_id"), field("status")));
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_is_restored_and_goes_on() {
    let host = Host::start(&config("none")).await;
    let before = load_for(&host, 60).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(load(host.url.clone(), stop.clone()))).collect();
    let backup = tokio::task::block_in_place(|| host.aegis("", &["db", "backup", "copy.db", "--json"]));
    stop.store(true, Ordering::Relaxed);
    let mut after = 0;
    for it in clients {
        after += it.await.expect("no panic").len();
    }
    assert!(after > 0, "there was no load");
    let copy = host.dir.path().join("copy.db");
    let metadata = copy.metadata().expect("a copy");
    assert_eq!(json_of(&backup)["bytes"], metadata.len());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    refused(&host.aegis("", &["db", "backup", "copy.db"]), "AEG-CLI-002", "copy.db is there already");

    let elsewhere = TempDir::new().expect("a folder");
    fs::write(elsewhere.path().join("aegis.yaml"), config("none")).expect("the folder is writable");
    fs::copy(&copy, elsewhere.path().join("aegis.db")).expect("restored");
    drop(host);
    let report = json_of(&run(elsewhere.path(), &["db", "check", "--json"]));
    assert!(report["faults"] == json!([]) && report["runs"].as_u64() >= Some(before.len() as u64), "{report}");
    let restored = Host::start_in(elsewhere).await;
    for (id, status) in &before {
        assert_eq!(restored.get("", &format!("/v1/runs/{id}")).await.1["status"], **status, "{id}");
        if status == "paused" {
            let (_, run) = restored.post("", &format!("/v1/runs/{id}/resume"), json!({"decision": "approved"})).await;
            assert_eq!(run["status"], "completed", "{run}");
        }
    }
    let export = restored.aegis("", &["ledger", "export"]);
    fs::write(restored.dir.path().join("ledger.jsonl"), export.stdout).expect("the folder is writable");
    let verified = restored.aegis("", &["ledger", "verify", "ledger.jsonl"]);
    assert!(verified.status.success(), "{verified:?}");
}

/// So many of them.
async fn load_for(host: &Host, runs: usize) -> Vec<(String, String)> {
    let mut told = vec![];
    for text in ["hello", "financial advice"].into_iter().cycle().take(runs) {
        let run = host.submit("", text, json!({})).await;
        let field = |name: &str| run[name].as_str().expect("a text").to_owned();
        told.push((field("run_id"), field("status")));
    }
    told
}

/// A folder with the database of a program that wrote version 1 of the format, or says that it wrote another.
fn older(version: Option<u32>) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("aegis.yaml"), config("none")).expect("the folder is writable");
    let db = Connection::open(folder.path().join("aegis.db")).expect("a place for it");
    db.execute_batch(include_str!("database-1.sql")).expect("it was good once");
    if let Some(version) = version {
        db.pragma_update(None, "user_version", version).expect("it may");
    }
    folder
}

#[tokio::test]
async fn an_older_database_is_said_copied_as_it_is_and_brought_up() {
    let folder = older(None);
    refused(&run(folder.path(), &["db", "migrate", "--check"]), "AEG-STO-008", "the database has version 1, and this program writes ");
    assert!(run(folder.path(), &["db", "backup", "before.db"]).status.success());
    let version = |file: &str| {
        let db = Connection::open(folder.path().join(file)).expect("a database");
        db.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).expect("a number")
    };
    assert_eq!((version("aegis.db"), version("before.db")), (1, 1), "to look at it and to copy it changes nothing");
    let migrated = json_of(&run(folder.path(), &["db", "migrate", "--json"]));
    assert_eq!((&migrated["from"], &migrated["migrated"]), (&json!(1), &json!(true)));
    assert_eq!(migrated["to"], version("aegis.db"));
    assert!(run(folder.path(), &["db", "migrate", "--check"]).status.success());
    fs::rename(folder.path().join("before.db"), folder.path().join("aegis.db")).expect("restored");
    for end in ["-wal", "-shm"] {
        drop(fs::remove_file(folder.path().join(format!("aegis.db{end}"))));
    }
    let host = Host::start_in(folder).await;
    assert_eq!(host.submit("", "hello", json!({})).await["status"], "completed", "a server brings it up by itself");
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let folder = older(Some(99));
    let read = || fs::read(folder.path().join("aegis.db")).expect("it is there");
    let before = read();
    for args in [&["db", "migrate"][..], &["db", "migrate", "--check"], &["db", "backup", "copy.db"], &["db", "check"]] {
        refused(&run(folder.path(), args), "AEG-STO-003", "the database has format 99, and this version knows up to ");
    }
    assert!(read() == before && !folder.path().join("copy.db").exists());
}
