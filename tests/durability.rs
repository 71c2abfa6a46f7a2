//! Nothing that was acknowledged is lost: across kill -9, restarts and shutdown.

use crate::host::{Host, aegis, config};
use serde_json::json;
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
