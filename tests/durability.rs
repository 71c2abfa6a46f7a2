//! Nothing that was acknowledged is lost: across kill -9, restarts and shutdown.

use crate::host::{Host, aegis, config};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_paused_run_survives_a_crash_and_completes() {
    let host = Host::start(&config("none")).await;
    let run = host.submit("", "financial advice, please", json!({})).await;
    let id = run["run_id"].as_str().expect("an id").to_owned();
    let host = host.crash_and_restart().await;
    let (_, again) = host.get("", &format!("/v1/runs/{id}")).await;
    assert_eq!((&again["status"], &again["approval"]), (&json!("paused"), &run["approval"]), "{again}");
    let (status, run) = host.post("", &format!("/v1/runs/{id}/resume"), json!({"decision": "approved"})).await;
    assert_eq!((status, &run["status"]), (200, &json!("completed")), "{run}");
}

#[tokio::test]
async fn unfinished_runs_of_a_dead_process_go_on_by_themselves() {
    let slow = config("none").replace(r#"response: "the reply""#, r#"response: "the reply", delay: 2s"#);
    let host = Host::start(&slow).await;
    let run = host.submit("", "hello", json!({"background": true})).await;
    assert_eq!(run["status"], "running", "{run}");
    let id = run["run_id"].as_str().expect("an id").to_owned();
    let host = host.crash_and_restart().await;
    let run = host.settled("", &id, "completed").await;
    let events = run["events"].to_string();
    assert!(events.contains("interrupted"), "the second attempt is not explained: {events}");
}

/// The events of a run, in one word each.
fn events(run: &Value) -> Vec<&str> {
    run["events"].as_array().expect("a list").iter().map(|it| it["type"].as_str().expect("a word")).collect()
}

#[tokio::test]
async fn a_call_that_a_crash_cut_off_is_not_made_again_where_the_route_says_so() {
    let acts = config("none")
        .replace(r#"response: "the reply""#, r#"response: "the reply", delay: 1h"#)
        .replace("default: {provider: fake}", "default: {provider: fake, on_unknown: error}");
    let host = Host::start(&acts).await;
    let run = host.submit("", "hello", json!({"background": true})).await;
    let host = host.crash_and_restart().await;
    let run = host.settled("", run["run_id"].as_str().expect("an id"), "error").await;
    assert_eq!((&run["error"]["code"], events(&run)), (&json!("AEG-PRV-002"), vec!["created", "judged", "interrupted"]), "{run}");
}

#[tokio::test]
async fn a_crash_during_a_back_off_forgets_no_attempt_and_invents_none() {
    let wobbly = config("none")
        .replace(r#"response: "the reply""#, r#"response: "the reply", fail: {status: 503, first: 1}"#)
        .replace("default: {provider: fake}", "default: {provider: fake, backoff: {first: 2s}}");
    let host = Host::start(&wobbly).await;
    let run = host.submit("", "hello", json!({"background": true})).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let host = host.crash_and_restart().await;
    let run = host.settled("", run["run_id"].as_str().expect("an id"), "completed").await;
    // The double begins to count anew with its process, and fails once more.
    let expected = ["created", "judged", "answered", "resumed", "answered", "resumed", "answered"];
    assert_eq!(events(&run), expected, "{run}");
}

#[tokio::test]
async fn a_crash_while_a_decision_is_carried_out_keeps_the_decision() {
    let slow = config("none").replace(r#"response: "the reply""#, r#"response: "the reply", delay: 1s"#);
    let mut host = Host::start(&slow).await;
    let run = host.submit("", "financial advice", json!({})).await;
    let resume = format!("{}/v1/runs/{}/resume", host.url, run["run_id"].as_str().expect("an id"));
    let sent = tokio::spawn(crate::host::client().post(resume).body(r#"{"decision":"approved"}"#).send());
    tokio::time::sleep(Duration::from_millis(600)).await;
    host.kill();
    assert!(sent.await.expect("no panic").is_err(), "the answer is lost");
    let host = host.crash_and_restart().await;
    let run = host.settled("", run["run_id"].as_str().expect("an id"), "completed").await;
    assert_eq!(events(&run), ["created", "judged", "decided", "interrupted", "answered"], "{run}");
}

#[tokio::test]
async fn a_request_that_comes_again_after_a_crash_makes_no_second_run() {
    let host = Host::start(&config("none")).await;
    let body = json!({"messages": [{"role": "user", "content": "financial advice, please"}]});
    let (_, first) = host.post_named("", "/v1/runs", "k", body.clone()).await;
    let resume = format!("/v1/runs/{}/resume", first["run_id"].as_str().expect("an id"));
    let (_, done) = host.post_named("", &resume, "d", json!({"decision": "approved"})).await;
    assert_eq!(done["status"], "completed", "{done}");
    let host = host.crash_and_restart().await;
    assert_eq!(host.post_named("", "/v1/runs", "k", body).await, (200, done.clone()));
    assert_eq!(host.post_named("", &resume, "d", json!({"decision": "approved"})).await, (200, done));
    assert_eq!(host.post_named("", &resume, "d", json!({"decision": "denied"})).await.0, 422);
    assert_eq!(runs(&host).await.len(), 1);
}

#[tokio::test]
async fn a_second_host_on_the_same_file_is_refused_and_the_first_goes_on() {
    let host = Host::start(&config("none")).await;
    let second = aegis(host.dir.path()).args(["serve", "--no-auth", "--listen", "127.0.0.1:0"]).output().expect("the binary runs");
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("AEG-STO-002"), "{second:?}");
    assert_eq!(host.submit("", "hello", json!({})).await["status"], "completed");
}

#[tokio::test]
async fn sigterm_lets_what_runs_finish_and_ends_the_process() {
    let slow = config("none").replace(r#"response: "the reply""#, r#"response: "the reply", delay: 1s"#);
    let mut host = Host::start(&slow).await;
    let (run, status) = tokio::join!(host.submit("", "hello", json!({})), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        host.terminate();
    });
    let () = status;
    assert_eq!(run["status"], "completed", "{run}");
    assert!(host.ended(Duration::from_secs(35)).await.success(), "{}", host.log());
}

#[tokio::test]
async fn a_host_that_was_told_to_stop_says_so_to_whoever_asks_for_something_new() {
    let slow = config("none").replace(r#"response: "the reply""#, r#"response: "the reply", delay: 2s"#);
    let mut host = Host::start(&slow).await;
    let paused = host.submit("", "financial advice", json!({})).await;
    let resume = format!("/v1/runs/{}/resume", paused["run_id"].as_str().expect("an id"));
    let (run, ()) = tokio::join!(host.submit("", "hello", json!({})), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        host.terminate();
        tokio::time::sleep(Duration::from_millis(500)).await;
        for (path, body) in
            [("/v1/runs", json!({"messages": [{"role": "user", "content": "x"}]})), (&*resume, json!({"decision": "approved"}))]
        {
            let answer = host.request("", reqwest::Method::POST, path, Some(body)).await;
            assert!(answer.headers().contains_key("retry-after"), "{path}: {answer:?}");
            let (status, error) = crate::host::read(answer).await;
            assert_eq!((status, &error["error"]["code"]), (503, &json!("AEG-SRV-002")), "{path}: {error}");
        }
        assert_eq!((host.get("", "/readyz").await.0, host.get("", "/v1/runs").await.0), (503, 200));
    });
    assert_eq!(run["status"], "completed", "{run}");
    assert!(host.ended(Duration::from_secs(10)).await.success(), "{}", host.log());
}

#[tokio::test]
async fn what_does_not_end_within_the_drain_is_handed_over_to_the_next_start() {
    let quick = config("none").replace("server: {", "server: {drain: 1s, ");
    let mut host = Host::start(&quick.replace(r#"response: "the reply""#, r#"response: "the reply", delay: 1h"#)).await;
    let (run, ()) = tokio::join!(host.submit("", "hello", json!({})), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        host.terminate();
    });
    assert_eq!(run["status"], "running", "{run}");
    assert!(host.ended(Duration::from_secs(10)).await.success(), "{}", host.log());
    std::fs::write(host.dir.path().join("aegis.yaml"), quick).expect("the folder is writable");
    let host = host.crash_and_restart().await;
    let run = host.settled("", run["run_id"].as_str().expect("an id"), "completed").await;
    assert!(run["events"].to_string().contains("interrupted"), "{run}");
}

#[tokio::test]
async fn a_revoked_key_is_refused_while_the_host_runs() {
    let host = Host::start(&config("api_key")).await;
    let key = host.key("alice", &[]);
    assert_eq!(host.get(&key, "/v1/runs").await.0, 200);
    let listed = host.aegis("", &["keys", "list", "--json"]);
    let keys: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let id = keys["data"][0]["id"].as_str().expect("an id");
    assert!(host.aegis("", &["keys", "revoke", id]).status.success());
    let until = std::time::Instant::now() + Duration::from_secs(6);
    while host.get(&key, "/v1/runs").await.0 != 401 {
        assert!(std::time::Instant::now() < until, "a revoked key still works after 6 s");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Another program at work on the host's database.
fn meddle(host: &Host) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(host.dir.path().join("aegis.db")).expect("a database");
    db.busy_timeout(Duration::from_secs(5)).expect("it waits");
    db
}

/// All of them. A page has fewer than it was asked for where runs are large.
async fn runs(host: &Host) -> Vec<Value> {
    let (mut all, mut after) = (vec![], String::new());
    loop {
        let (_, page) = host.get("", &format!("/v1/runs?limit=200&after={after}")).await;
        all.extend(page["data"].as_array().expect("a list").clone());
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return all,
        }
    }
}

/// With a `request_timeout`.
fn hasty(timeout: &str) -> String {
    format!("{}, request_timeout: {timeout}}}", config("none").trim_end().trim_end_matches('}'))
}

#[tokio::test]
async fn a_client_that_was_told_to_try_again_finds_nothing_begun() {
    let host = Host::start(&hasty("200ms")).await;
    let db = meddle(&host);
    db.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let body = json!({"messages": [{"role": "user", "content": "hello"}]});
    let ((status, answer), ()) = tokio::join!(host.post("", "/v1/runs", body), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        db.execute_batch("ROLLBACK").expect("the lock is given back");
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = runs(&host).await;
    assert_eq!(begun.len(), usize::from(status == 200), "{status} {answer}, and then {begun:?}");
}

#[tokio::test]
async fn every_run_that_there_is_was_told_to_its_client() {
    let host = Host::start(&hasty("1ms")).await;
    let body = json!({"messages": [{"role": "user", "content": "hello ".repeat(100_000)}]});
    let mut told = 0;
    for _ in 0..40 {
        told += usize::from(host.post("", "/v1/runs", body.clone()).await.0 == 200);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(runs(&host).await.len(), told);
}

#[tokio::test]
async fn a_run_that_has_begun_is_an_answer_although_the_store_fails_on_it_later() {
    let host = Host::start(&hasty("3s")).await;
    let db = meddle(&host);
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON run WHEN new.status = 'completed' BEGIN SELECT RAISE(ABORT, 'no'); END";
    db.execute_batch(refuse).expect("a trigger");
    let run = host.submit("", "hello", json!({})).await;
    assert_eq!(run["status"], "running", "{run}");
    db.execute_batch("DROP TRIGGER refuse").expect("no trigger");
    let run = host.settled("", run["run_id"].as_str().expect("an id"), "completed").await;
    assert!(!run["events"].to_string().contains("interrupted"), "the answer that there was is the one that counts: {run}");
}
