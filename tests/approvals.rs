//! What an approval promises: this content, to these people, decided once, and what follows happens once.

use crate::host::{Host, config};
use crate::provider::{Api, double, reply};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const QUESTION: &str = "Please give me financial advice.";

impl Api {
    fn calls(&self) -> usize {
        self.asked.lock().expect("no panics").len()
    }

    /// What the model was told last by the user.
    fn heard(&self) -> Value {
        self.asked.lock().expect("no panics").last().map(|(_, body)| body["messages"][0]["content"].clone()).unwrap_or_default()
    }
}

/// The usual configuration, in front of a model that counts.
pub(crate) fn in_front_of(address: SocketAddr, auth: &str) -> String {
    let provider = format!("fake: {{type: openai_compatible, base_url: \"http://{address}/v1\", model: m-1}}");
    config(auth).replace(r#"fake: {type: fake, response: "the reply"}"#, &provider)
}

pub(crate) async fn model() -> (Api, SocketAddr) {
    double(vec![reply(json!({"role": "assistant", "content": "the reply"}))]).await
}

/// The usual configuration with rules of approval for its guard, such as `required: 2`.
fn with_rule(config: String, rule: &str) -> String {
    config.replace("{phrases: [\"financial advice\"]}", &format!("{{phrases: [\"financial advice\"]}}\n    approval: {{{rule}}}"))
}

pub(crate) fn id(run: &Value) -> String {
    run["run_id"].as_str().expect("an id").to_owned()
}

pub(crate) async fn resume(host: &Host, key: &str, run: &Value, body: Value) -> (u16, Value) {
    host.post(key, &format!("/v1/runs/{}/resume", id(run)), body).await
}

fn approved() -> Value {
    json!({"decision": "approved"})
}

/// All decisions that the run's events tell of.
fn decided(run: &Value) -> Vec<&Value> {
    run["events"].as_array().expect("a list").iter().filter(|it| it["type"] == "decided").collect()
}

#[tokio::test]
async fn of_64_approvals_at_once_one_counts_and_the_others_are_told_whose() {
    let (api, address) = model().await;
    let host = Host::start(&in_front_of(address, "api_key")).await;
    let people = ["ann", "bea", "cyd", "dan"].map(|it| (it, host.key(it, &[])));
    let run = host.submit(&people[0].1, QUESTION, json!({})).await;
    let all = (0..64).map(|n| resume(&host, &people[n % 4].1, &run, approved()));
    let answers = futures::future::join_all(all).await;
    let (counted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.0 == 200);
    assert_eq!((counted.len(), refused.len()), (1, 63), "{answers:?}");
    let run = &counted[0].1;
    assert_eq!((&run["status"], api.calls()), (&json!("completed"), 1), "{run}");
    let events = decided(run);
    assert_eq!(events.len(), 1, "{run}");
    for (status, error) in refused {
        assert_eq!((*status, &error["error"]["decision"]["by"]), (409, &events[0]["by"]), "{error}");
        assert_eq!(error["error"]["decision"]["decision"], "approved");
    }
}

#[tokio::test]
async fn of_an_approval_and_a_denial_at_once_one_wins_and_everything_says_the_same() {
    let (api, address) = model().await;
    let host = Host::start(&in_front_of(address, "api_key")).await;
    let (bob, eve) = (host.key("bob", &[]), host.key("eve", &[]));
    let mut wins = [0, 0];
    for round in 0..40 {
        let run = host.submit(&bob, QUESTION, json!({})).await;
        let before = api.calls();
        let (approve, deny) = (resume(&host, &bob, &run, approved()), resume(&host, &eve, &run, json!({"decision": "denied"})));
        // Whoever is asked first of two futures has a head start.
        let (approve, deny) = if round % 2 == 0 {
            tokio::join!(approve, deny)
        } else {
            let (deny, approve) = tokio::join!(deny, approve);
            (approve, deny)
        };
        let (by, choice, status, lost) = match (approve.0, deny.0) {
            (200, 409) => ("bob", "approved", "completed", deny.1),
            (409, 200) => ("eve", "denied", "denied", approve.1),
            _ => panic!("{approve:?} {deny:?}"),
        };
        let (_, run) = host.get(&bob, &format!("/v1/runs/{}", id(&run))).await;
        let events = decided(&run);
        assert_eq!((run["status"].as_str(), events.len()), (Some(status), 1), "{run}");
        assert_eq!((&events[0]["by"], &events[0]["choice"]), (&json!(by), &json!(choice)));
        assert_eq!((&lost["error"]["decision"]["by"], &lost["error"]["decision"]["decision"]), (&json!(by), &json!(choice)), "{lost}");
        assert_eq!(api.calls() - before, usize::from(choice == "approved"), "the model was asked when it was denied, or more than once");
        wins[usize::from(choice == "approved")] += 1;
    }
    println!("denials and approvals that won: {wins:?}");
}

#[tokio::test]
async fn the_approval_of_a_tool_call_holds_for_its_arguments_alone() {
    let call = |to: &str| json!({"id": "c", "type": "function", "function": {"name": "pay", "arguments": json!({"to": to}).to_string()}});
    let says = |to: &str| reply(json!({"role": "assistant", "content": null, "tool_calls": [call(to)]}));
    let (_, address) = double(vec![says("financial advice ltd"), says("financial advice inc")]).await;
    let config = in_front_of(address, "none").replace("{ingress: [sensitive-topic]}", "{tool_call: [sensitive-topic]}");
    let host = Host::start(&config).await;
    let (first, second) = (host.submit("", "pay", json!({})).await, host.submit("", "pay", json!({})).await);
    assert_eq!((&first["approval"]["stage"], &second["approval"]["stage"]), (&json!("tool_call"), &json!("tool_call")), "{first}");
    let (status, error) = resume(&host, "", &first, json!({"decision": "approved", "digest": second["approval"]["digest"]})).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("AEG-RUN-004")), "the digest of other arguments: {error}");

    let arguments = |to: &str| json!([{"message": 1, "call": 0, "text": json!({"to": to}).to_string()}]);
    let digest = first["approval"]["digest"].clone();
    let edit = json!({"decision": "approved", "digest": digest, "edits": arguments("good financial advice plc")});
    let (status, asked) = resume(&host, "", &first, edit).await;
    assert_eq!((status, &asked["status"]), (200, &json!("paused")), "other arguments are another question: {asked}");
    let (status, error) = resume(&host, "", &first, json!({"decision": "approved", "digest": digest})).await;
    assert_eq!(status, 409, "what was shown before says nothing of what stands there now: {error}");
    for (edits, why) in [
        (json!([{"message": 1, "call": 0, "text": "{"}]), "JSON"),
        (json!([{"message": 0, "text": "pay nobody"}]), "may not be edited at tool_call"),
    ] {
        let (status, error) = resume(&host, "", &first, json!({"decision": "approved", "edits": edits})).await;
        let message = error["error"]["message"].to_string();
        assert!(status == 422 && message.contains(why) && error["error"]["param"] == "edits", "{error}");
    }
    let (_, done) = resume(&host, "", &first, json!({"decision": "approved", "edits": arguments("the baker")})).await;
    assert_eq!((&done["status"], &done["tool_calls"][0]), (&json!("completed"), &call("the baker")), "{done}");
}

#[tokio::test]
async fn an_edited_text_is_judged_again_and_earlier_approvals_do_not_count_for_it() {
    let (api, address) = model().await;
    let host = Host::start(&with_rule(in_front_of(address, "api_key"), "required: 2")).await;
    let people = ["ann", "bea", "cyd"].map(|it| host.key(it, &[]));
    let run = host.submit(&people[0], QUESTION, json!({})).await;
    let (_, pending) = host.get(&people[0], &format!("/v1/approvals?run={}", id(&run))).await;
    assert_eq!(pending["data"][0]["editable"], json!([{"message": 0, "part": 0}]), "{pending}");

    assert_eq!(resume(&host, &people[0], &run, approved()).await.1["approval"]["approved_by"], json!(["ann"]));
    let text = |text: &str| json!({"decision": "approved", "comment": "softer", "edits": [{"message": 0, "text": text}]});
    let (status, again) = resume(&host, &people[1], &run, text("Some financial advice?")).await;
    assert_eq!((status, &again["status"]), (200, &json!("paused")), "{again}");
    assert_eq!((&again["approval"]["approved_by"], &again["approval"]["required"]), (&json!([]), &json!(2)), "{again}");
    assert_ne!(again["approval"]["digest"], run["approval"]["digest"]);
    assert_ne!(again["approval"]["id"], run["approval"]["id"]);
    assert_eq!(api.calls(), 0);

    // Nothing is changed by these.
    for (edits, decision, why) in [
        (json!([{"message": 0, "text": "x"}]), "denied", "with an approval only"),
        (json!([{"message": 7, "text": "x"}]), "approved", "no text at part 0 of message 7"),
        (json!([{"message": 0, "text": "a"}, {"message": 0, "text": "b"}]), "approved", "overlap"),
        (json!([{"message": 0, "text": "x", "start": 3, "end": 99}]), "approved", "not a range"),
        (json!([{"message": 0, "text": "x", "start": 3}]), "approved", "both start and end"),
        (json!([{"text": "x"}]), "approved", "write message and part"),
        (json!([{"message": 0, "txet": "x"}]), "approved", "txet"),
    ] {
        let (status, error) = resume(&host, &people[2], &run, json!({"decision": decision, "edits": edits})).await;
        assert!(status == 422 && error["error"]["message"].to_string().contains(why), "{why}: {status} {error}");
    }
    let stranger = host.key("dan", &["--role", "user"]);
    let (status, error) = resume(&host, &stranger, &run, text("x")).await;
    assert_eq!((status, &error["error"]["code"]), (403, &json!("AEG-AUTH-003")), "{error}");

    // Of one and the same person an approval as it stands and one with edits are two decisions.
    assert_eq!(resume(&host, &people[0], &run, approved()).await.0, 200);
    let mut other = text("x");
    other["approval_id"] = again["approval"]["id"].clone();
    assert_eq!(resume(&host, &people[0], &run, other).await.0, 409, "its edits would be lost without a word");

    let (status, done) = resume(&host, &people[2], &run, text("How is the weather?")).await;
    assert_eq!((status, &done["status"]), (200, &json!("completed")), "{done}");
    assert_eq!((api.calls(), api.heard()), (1, json!("How is the weather?")));
    let events = decided(&done);
    let who: Vec<_> = events.iter().map(|it| (it["by"].as_str().expect("who"), it["edited"].is_string())).collect();
    assert_eq!(who, [("ann", false), ("bea", true), ("ann", false), ("cyd", true)], "{done}");
    assert_ne!(events[1]["edited"], events[3]["edited"]);
    assert_ne!(events[1]["edited"], done["events"][0]["content"], "the digest of what was asked first stands in the ledger, too");
}

#[tokio::test]
async fn bytes_as_findings_give_them_can_be_replaced_and_what_changes_nothing_is_no_edit() {
    let (api, address) = model().await;
    let host = Host::start(&in_front_of(address, "none")).await;
    let run = host.submit("", QUESTION, json!({})).await;
    let (_, pending) = host.get("", &format!("/v1/approvals?run={}", id(&run))).await;
    let found = &pending["data"][0]["findings"][0];
    let edit = json!({"message": 0, "start": found["start"], "end": found["end"], "text": "a coffee"});
    let (_, done) = resume(&host, "", &run, json!({"decision": "approved", "edits": [edit]})).await;
    assert_eq!((&done["status"], api.heard()), (&json!("completed"), json!("Please give me a coffee.")), "{done}");

    let run = host.submit("", QUESTION, json!({})).await;
    let (_, done) = resume(&host, "", &run, json!({"decision": "approved", "edits": [{"message": 0, "text": QUESTION}]})).await;
    assert_eq!((&done["status"], api.heard()), (&json!("completed"), json!(QUESTION)), "{done}");
    assert_eq!(decided(&done)[0]["edited"], json!(null), "{done}");
}

#[tokio::test]
async fn expiry_denies_within_seconds_while_nothing_runs_and_after_a_restart() {
    let host = Host::start(&with_rule(config("none"), "expires_after: 2s")).await;
    let asked = Instant::now();
    let run = host.submit("", QUESTION, json!({})).await;
    let denied = host.settled("", &id(&run), "denied").await;
    assert!(asked.elapsed() < Duration::from_secs(12), "{:?}", asked.elapsed());
    assert!(denied["error"]["message"].to_string().contains("expired"), "{denied}");
    assert_eq!(resume(&host, "", &run, approved()).await.0, 409);

    let run = host.submit("", QUESTION, json!({})).await;
    let mut host = host;
    host.kill();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let host = host.crash_and_restart().await;
    let ready = Instant::now();
    let denied = host.settled("", &id(&run), "denied").await;
    assert!(ready.elapsed() < Duration::from_secs(10), "{:?}", ready.elapsed());
    assert!(denied["error"]["message"].to_string().contains("expired"), "{denied}");
}

#[tokio::test]
async fn who_may_not_approve_their_own_may_not_with_any_key() {
    let host = Host::start(&with_rule(config("api_key"), "self_approval: false")).await;
    let (first, second, bob) = (host.key("ann", &[]), host.key("ann", &["--role", "approver", "--role", "admin"]), host.key("bob", &[]));
    let run = host.submit(&first, QUESTION, json!({})).await;
    for key in [&first, &second] {
        for decision in ["approved", "denied"] {
            let (status, error) = resume(&host, key, &run, json!({"decision": decision})).await;
            assert_eq!((status, &error["error"]["code"]), (403, &json!("AEG-AUTH-003")), "{error}");
        }
        assert_eq!(host.get(key, "/v1/approvals").await.1["data"], json!([]));
    }
    assert_eq!(resume(&host, &bob, &run, approved()).await.1["status"], "completed");
}

#[tokio::test]
async fn a_quorum_counts_people_and_one_denial_decides() {
    let host = Host::start(&with_rule(config("api_key"), "required: 2")).await;
    let (ann, bob, bobs_other, eve) = (host.key("ann", &[]), host.key("bob", &[]), host.key("bob", &[]), host.key("eve", &[]));
    let run = host.submit(&ann, QUESTION, json!({})).await;
    assert_eq!(resume(&host, &bob, &run, approved()).await.1["status"], "paused");
    let (status, error) = resume(&host, &bobs_other, &run, approved()).await;
    assert_eq!((status, &error["error"]["decision"]["by"]), (409, &json!("bob")), "the same person with another key: {error}");
    assert_eq!(host.get(&bobs_other, "/v1/approvals").await.1["data"], json!([]), "bob is not asked again");
    let (_, run) = host.get(&ann, &format!("/v1/runs/{}", id(&run))).await;
    assert_eq!((&run["status"], &run["approval"]["approved_by"]), (&json!("paused"), &json!(["bob"])), "{run}");
    assert_eq!(resume(&host, &eve, &run, approved()).await.1["status"], "completed");

    let run = host.submit(&ann, QUESTION, json!({})).await;
    assert_eq!(resume(&host, &bob, &run, approved()).await.1["status"], "paused");
    assert_eq!(resume(&host, &eve, &run, json!({"decision": "denied"})).await.1["status"], "denied");
}

#[tokio::test]
async fn of_every_field_of_a_rule_the_guards_counts_else_the_routes_else_the_tops() {
    let config = with_rule(config("api_key"), "expires_after: 3h")
        .replace("routes:\n", "approval: {approvers: [\"team:risk\"], required: 3, self_approval: false, expires_after: 1h}\nroutes:\n")
        .replace("default: {provider: fake}", "default: {provider: fake, approval: {required: 1, expires_after: 2h}}");
    let host = Host::start(&config).await;
    let (ann, bob) = (host.key("ann", &["--team", "risk"]), host.key("bob", &["--team", "risk"]));
    let (rita, eve) = (host.key("rita", &["--team", "risk", "--team", "legal"]), host.key("eve", &["--team", "legal"]));
    let run = host.submit(&ann, QUESTION, json!({"approvers": ["team:legal", "ann"]})).await;
    let approval = &run["approval"];
    assert_eq!((&approval["approvers"], &approval["required"]), (&json!([["team:risk"], ["team:legal", "ann"]]), &json!(1)), "{run}");
    let hour = |field: &str| approval[field].as_str().expect("a time")[11..13].parse::<u32>().expect("an hour");
    let minutes = |field: &str| approval[field].as_str().expect("a time")[14..16].to_owned();
    assert_eq!(((hour("requested_at") + 3) % 24, minutes("requested_at")), (hour("expires_at"), minutes("expires_at")), "{run}");
    for (who, key) in [("the creator, in every list", &ann), ("not in the request's", &bob), ("not in the configuration's", &eve)] {
        assert_eq!(resume(&host, key, &run, approved()).await.0, 403, "{who}");
    }
    assert_eq!(resume(&host, &rita, &run, approved()).await.1["status"], "completed");
}

// Commands block their thread, and the model has to answer meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_edits_approves_and_follows() {
    let (api, address) = model().await;
    let host = Host::start(&in_front_of(address, "none")).await;
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let run = host.submit("", QUESTION, json!({})).await;
    let id = id(&run);
    let shown = text(&host.aegis("", &["runs", "show", &id]));
    let digest = &run["approval"]["digest"].as_str().expect("a digest")["sha256:".len()..][..12];
    assert!(shown.contains(&format!("digest     {digest}\n")), "{shown}");

    std::fs::write(host.dir.path().join("text"), "A little financial advice?").expect("writable");
    let asked = host.aegis("", &["runs", "approve", &id, "--edit", "0=@text"]);
    assert!(asked.status.success() && text(&asked).contains("paused"), "a script is not asked: {asked:?}");
    let wrong = host.aegis("", &["runs", "approve", &id, "--edit", "0.7=x"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("no text at part 7 of message 0"), "{wrong:?}");
    assert_eq!(host.aegis("", &["runs", "approve", &id, "--edit", "nowhere"]).status.code(), Some(2));

    let follower = crate::host::aegis(host.dir.path())
        .env("AEGIS_SERVER_URL", &host.url)
        .args(["runs", "watch", &id])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let done = host.aegis("", &["runs", "approve", &id, "--yes", "--edit", "0=How is the weather?", "--json"]);
    assert!(done.status.success() && text(&done).contains("\"completed\""), "{done:?}");
    let followed = tokio::task::spawn_blocking(move || follower.wait_with_output().expect("it ends with the run"));
    let followed = tokio::time::timeout(Duration::from_secs(30), followed).await.expect("it ends with the run").expect("no panic");
    let told = text(&followed);
    assert!(followed.status.success() && told.contains("  answered") && told.contains("status    completed"), "{followed:?}");
    assert_eq!(told.matches("  decided").count(), 2, "each event once: {told}");
    assert_eq!(api.heard(), "How is the weather?");
}

#[tokio::test]
async fn new_questions_are_told_as_they_come_until_nobody_reads() {
    use std::io::BufRead;
    let host = Host::start(&config("none")).await;
    let mut follower = crate::host::aegis(host.dir.path())
        .env("AEGIS_SERVER_URL", &host.url)
        .args(["runs", "watch", "--pending", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = std::io::BufReader::new(follower.stdout.take().expect("a pipe"));
    for _ in 0..2 {
        let run = host.submit("", QUESTION, json!({})).await;
        let (read, line) = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            lines.read_line(&mut line).expect("a line");
            (lines, line)
        })
        .await
        .expect("no panic");
        lines = read;
        let question: Value = serde_json::from_str(&line).expect("JSON on one line");
        assert_eq!(question["run_id"], run["run_id"]);
    }
    drop(lines);
    host.submit("", QUESTION, json!({})).await;
    let until = Instant::now() + Duration::from_secs(20);
    while follower.try_wait().expect("our child").is_none() {
        if Instant::now() > until {
            let _ = follower.kill();
            panic!("it goes on though nobody reads");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
