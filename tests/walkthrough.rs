//! The one thing that Aegis is for: a guard pauses a run, a person decides, the run goes on.

use crate::host::{Host, config};
use serde_json::json;

const QUESTION: &str = "Please give me financial advice.";

#[tokio::test]
async fn a_run_that_no_guard_minds_completes() {
    let host = Host::start(&config("none")).await;
    let run = host.submit("", "How is the weather?", json!({})).await;
    assert_eq!((&run["status"], &run["response"]), (&json!("completed"), &json!("the reply")), "{run}");
    assert_eq!(run["principal_id"], "anonymous");
}

#[tokio::test]
async fn a_paused_run_completes_once_it_is_approved_by_the_api() {
    let host = Host::start(&config("none")).await;
    let run = host.submit("", QUESTION, json!({"background": true})).await;
    assert_eq!(run["status"], "paused", "{run}");
    assert_eq!(run["response"], json!(null));
    assert_eq!(run["approval"]["prompt"], "Financial advice requires human review");
    assert_eq!(run["approval"]["guard"], "sensitive-topic");
    let id = run["run_id"].as_str().expect("an id");
    let (status, run) = host.post("", &format!("/v1/runs/{id}/resume"), json!({"decision": "approved"})).await;
    assert_eq!((status, &run["status"], &run["response"]), (200, &json!("completed"), &json!("the reply")), "{run}");
}

#[tokio::test]
async fn a_denied_run_stays_denied() {
    let host = Host::start(&config("none")).await;
    let run = host.submit("", QUESTION, json!({})).await;
    let resume = format!("/v1/runs/{}/resume", run["run_id"].as_str().expect("an id"));
    let (status, run) = host.post("", &resume, json!({"decision": "denied", "comment": "not here"})).await;
    assert_eq!((status, &run["status"], &run["response"]), (200, &json!("denied"), &json!(null)), "{run}");
    let (status, error) = host.post("", &resume, json!({"decision": "approved"})).await;
    assert_eq!(status, 409, "{error}");
}

#[tokio::test]
async fn with_keys_only_an_approver_decides_and_strangers_see_nothing() {
    let host = Host::start(&config("api_key")).await;
    let (alice, bob, eve) =
        (host.key("alice", &["--role", "user"]), host.key("bob", &["--role", "approver"]), host.key("eve", &["--role", "user"]));
    let (status, error) = host.post("", "/v1/runs", json!({"messages": [{"role": "user", "content": "x"}]})).await;
    assert_eq!((status, &error["error"]["code"]), (401, &json!("AEG-AUTH-001")));

    let run = host.submit(&alice, QUESTION, json!({})).await;
    let id = run["run_id"].as_str().expect("an id");
    assert_eq!(host.get(&eve, &format!("/v1/runs/{id}")).await.0, 404, "a stranger sees the run");
    let resume = format!("/v1/runs/{id}/resume");
    for key in [&alice, &eve] {
        let (status, error) = host.post(key, &resume, json!({"decision": "approved"})).await;
        assert_eq!((status, &error["error"]["code"]), (403, &json!("AEG-AUTH-003")), "{error}");
    }
    for wrong in ["deny", "reject", "DENIED", ""] {
        let (status, error) = host.post(&bob, &resume, json!({"decision": wrong})).await;
        assert_eq!(status, 422, "{wrong}: {error}");
    }
    let (status, run) = host.post(&bob, &resume, json!({"decision": "approved"})).await;
    assert_eq!((status, &run["status"]), (200, &json!("completed")), "{run}");
}

#[tokio::test]
async fn the_lists_of_a_request_narrow_who_decides() {
    let host = Host::start(&config("api_key")).await;
    let (alice, bob, rita) = (host.key("alice", &[]), host.key("bob", &[]), host.key("rita", &["--team", "risk"]));
    let run = host.submit(&alice, QUESTION, json!({"approvers": ["team:risk"]})).await;
    let id = run["run_id"].as_str().expect("an id");
    assert_eq!(run["approval"]["approvers"], json!([["team:risk"]]));
    let resume = format!("/v1/runs/{id}/resume");
    assert_eq!(host.post(&bob, &resume, json!({"decision": "approved"})).await.0, 403);
    assert_eq!(host.get(&bob, "/v1/approvals").await.1["data"], json!([]));
    let (_, pending) = host.get(&rita, "/v1/approvals").await;
    assert_eq!(pending["data"].as_array().expect("a list").len(), 1, "{pending}");
    assert_eq!(host.post(&rita, &resume, json!({"decision": "approved"})).await.0, 200);
}

#[tokio::test]
async fn the_walkthrough_works_by_the_command_line() {
    let host = Host::start(&config("api_key")).await;
    let (alice, bob) = (host.key("alice", &[]), host.key("bob", &[]));
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();

    let created = host.aegis(&alice, &["runs", "create", QUESTION, "--background", "--json"]);
    assert!(created.status.success(), "{created:?}");
    let run: serde_json::Value = serde_json::from_str(&text(&created)).expect("JSON");
    let id = run["run_id"].as_str().expect("an id");
    let pending = host.aegis(&bob, &["runs", "list", "--pending"]);
    assert!(text(&pending).contains(id), "{pending:?}");
    let asked = host.aegis(&bob, &["runs", "show", id]);
    assert!(text(&asked).contains("Please give me [[financial advice]]."), "an approver has to see what is asked: {asked:?}");
    let approved = host.aegis(&bob, &["runs", "approve", id, "--comment", "fine", "--json"]);
    assert!(approved.status.success(), "{approved:?}");
    let shown = host.aegis(&alice, &["runs", "show", id]);
    assert!(text(&shown).contains("completed") && text(&shown).contains("the reply"), "{shown:?}");
    let again = host.aegis(&bob, &["runs", "deny", id]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("AEG-RUN-004"), "{again:?}");
}
