//! The ledger from the outside: handed out, verified, replayed, read over HTTP; and no content in it.

use crate::host::{Host, config, root};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

/// A guard that blocks, one that masks, and one that asks.
const GUARDS: &str = r#"guardrails:
  no-words:
    component: builtin:patterns
    settings: {patterns: ["bad-[a-z]+"], reason: "not in these words"}
  mask:
    component: builtin:patterns
    settings: {patterns: [{name: number, pattern: "[0-9]{6}"}], action: mask}
  sensitive-topic:"#;

fn with_key(auth: &str) -> String {
    let config = config(auth).replace("guardrails:\n  sensitive-topic:", GUARDS);
    config.replace("ingress: [sensitive-topic]", "ingress: [mask, no-words, sensitive-topic]") + "ledger: {key: secret://file/ledger.key}\n"
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", out(output), String::from_utf8_lossy(&output.stderr))
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", said(&output));
    out(&output)
}

/// Runs that were allowed, masked, blocked, and approved.
async fn lived(host: &Host, key: &str) -> Vec<String> {
    let mut ids = vec![];
    for (text, status) in [
        ("hello", "completed"),
        ("my number is 424242", "completed"),
        ("a bad-secretword", "blocked"),
        ("financial advice for Zebedee", "paused"),
    ] {
        let run = host.submit(key, text, json!({})).await;
        assert_eq!(run["status"], status, "{run}");
        ids.push(run["run_id"].as_str().expect("an id").to_owned());
    }
    let (status, run) = host.post(key, &format!("/v1/runs/{}/resume", ids[3]), json!({"decision": "approved", "comment": "because"})).await;
    assert_eq!((status, &run["status"]), (200, &json!("completed")), "{run}");
    ids
}

fn write(folder: &Path, name: &str, lines: &[&str]) {
    std::fs::write(folder.join(name), lines.join("\n") + "\n").expect("the folder is writable");
}

#[tokio::test]
async fn an_export_beside_a_running_host_is_signed_and_verifies_and_holds_no_content() {
    let host = Host::start(&with_key("none")).await;
    let public = done(host.aegis("", &["keys", "ledger", "ledger.key"]));
    let public = public.trim();
    assert_eq!(done(host.aegis("", &["keys", "ledger", "ledger.key"])).trim(), public, "a key that is there stays");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(host.dir.path().join("ledger.key")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let ids = lived(&host, "").await;
    let ledger = done(host.aegis("", &["ledger", "export"]));
    for content in ["hello", "424242", "secretword", "Zebedee", "the reply"] {
        assert!(!ledger.contains(content), "the ledger quotes {content:?}");
    }
    assert!(ledger.contains("because"), "who decided what with which comment stays");
    let lines: Vec<&str> = ledger.lines().collect();
    let head: Value = serde_json::from_str(lines.last().expect("a head")).expect("JSON");
    assert_eq!((&head["head"]["entries"], &head["head"]["key"]), (&json!(lines.len() - 1), &json!(public)));

    let verify = |name: &str, lines: &[&str], more: &[&str]| {
        write(host.dir.path(), name, lines);
        host.aegis("", &[&["ledger", "verify", name], more].concat())
    };
    assert!(done(verify("whole", &lines, &["--key", public])).contains("the whole ledger"));
    let other = done(host.aegis("", &["keys", "ledger", "other.key"]));
    for (name, broken, told) in [
        ("other", verify("other", &lines, &["--key", other.trim()]), "not by the key that you trust"),
        ("cut", verify("cut", &lines[..lines.len() - 1], &[]), "the head is missing"),
        ("shorter", verify("shorter", &[&lines[..lines.len() - 2], &lines[lines.len() - 1..]].concat(), &[]), "its end was cut off"),
        ("removed", verify("removed", &[&lines[..2], &lines[3..]].concat(), &[]), "line 3, stream "),
    ] {
        assert_eq!(broken.status.code(), Some(1), "{name}");
        assert!(said(&broken).contains("AEG-STO-007") && said(&broken).contains(told), "{name}: {}", said(&broken));
    }

    let one = host.aegis("", &["ledger", "export", "--run", &ids[2]]);
    assert!(said(&one).contains("filtered"), "{}", said(&one));
    let one = done(one);
    assert!(one.lines().count() > 2 && one.lines().rev().skip(1).all(|it| it.contains(&ids[2])), "{one}");
    assert!(done(verify("one", &one.lines().collect::<Vec<_>>(), &["--key", public])).contains("a part of the ledger"));
    assert_eq!(done(host.aegis("", &["ledger", "export", "--since", "2999-01-01"])).lines().count(), 1, "only a head");
}

#[tokio::test]
async fn what_guards_say_is_told_although_the_ledger_only_has_its_digest() {
    let host = Host::start(&with_key("none")).await;
    let ids = lived(&host, "").await;
    let (_, blocked) = host.get("", &format!("/v1/runs/{}", ids[2])).await;
    let why = blocked["error"]["message"].as_str().expect("a reason");
    let judged = |run: &Value, verdict: &str| {
        run["events"].as_array().expect("events").iter().find(|it| it["verdict"] == verdict).cloned().expect("an event")
    };
    assert_eq!(judged(&blocked, "block")["why"], why);
    assert!(judged(&blocked, "block").get("words").is_none());
    let (_, asked) = host.get("", &format!("/v1/runs/{}", ids[3])).await;
    assert!(judged(&asked, "require_approval")["prompt"].is_string(), "{asked}");
    let (status, ledger) = host.get("", &format!("/v1/runs/{}/ledger", ids[2])).await;
    assert_eq!(status, 200);
    let last = ledger["data"].as_array().expect("entries").last().expect("one").clone();
    assert!(last["fact"]["ruling"]["words"].as_str().is_some_and(|it| it.starts_with("sha256:")), "{last}");
    assert!(!ledger.to_string().contains(why), "{ledger}");
}

#[tokio::test]
async fn guards_say_the_same_again_and_runs_whose_guards_are_gone_are_named() {
    let mut host = Host::start(&with_key("none")).await;
    std::fs::write(host.dir.path().join("ledger.key"), format!("aegis-ledger-{}\n", "01".repeat(32))).expect("the folder is writable");
    let ids = lived(&host, "").await;
    let replay = |host: &Host, more: &[&str]| host.aegis("", &[&["ledger", "replay", "--json"], more].concat());
    let all: Value = serde_json::from_str(&done(replay(&host, &[]))).expect("JSON");
    assert_eq!((&all["proved"], &all["differ"], &all["unproved"]), (&json!(4), &json!([]), &json!([])), "{all}");
    assert!(all["verdicts"].as_u64() >= Some(10), "{all}");
    let one: Value = serde_json::from_str(&done(replay(&host, &["--run", &ids[1]]))).expect("JSON");
    assert_eq!(one["proved"], 1, "edited texts are kept as they came in");

    host.kill();
    let path = host.dir.path().join("aegis.yaml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(&path, text.replace("[0-9]{6}", "[0-9]{7}")).expect("the folder is writable");
    let kept: Value = serde_json::from_str(&done(replay(&host, &[]))).expect("JSON");
    assert_eq!((&kept["proved"], &kept["unproved"]), (&json!(4), &json!([])), "the store has kept them: {kept}");

    let db = rusqlite::Connection::open(host.dir.path().join("aegis.db")).expect("a database");
    assert!(db.execute("DELETE FROM blob", []).expect("it may") > 0);
    let gone: Value = serde_json::from_str(&done(replay(&host, &[]))).expect("JSON");
    let unproved = gone["unproved"].as_array().expect("a list");
    assert_eq!(unproved.len(), 4, "other settings are another guard: {gone}");
    assert!(unproved.iter().all(|it| it["why"].as_str().is_some_and(|it| it.contains("neither configured nor kept"))), "{gone}");
}

#[tokio::test]
async fn the_ledger_is_for_admins_and_a_run_s_for_those_who_may_see_it() {
    let host = Host::start(&with_key("api_key")).await;
    let (ada, eve) = (host.key("ada", &[]), host.key("eve", &["--role", "user"]));
    let admin = host.key("root", &["--role", "admin"]);
    let ids = lived(&host, &ada).await;
    for (key, status) in [(&ada, 403), (&eve, 403), (&admin, 200)] {
        assert_eq!(host.get(key, "/v1/ledger").await.0, status);
    }
    for (key, status) in [(&ada, 200), (&eve, 404), (&admin, 200)] {
        assert_eq!(host.get(key, &format!("/v1/runs/{}/ledger", ids[0])).await.0, status);
    }
    let (mut after, mut lines) = (String::new(), vec![]);
    loop {
        let (status, page) = host.get(&admin, &format!("/v1/ledger?limit=3&after={after}")).await;
        assert_eq!(status, 200, "{page}");
        let data = page["data"].as_array().expect("lines").clone();
        lines.extend(data);
        after = page["position"].as_str().expect("a position").to_owned();
        if page["next"].is_null() {
            break;
        }
        assert_eq!(page["next"], after);
    }
    let numbers: Vec<u64> = lines.iter().filter_map(|it| it["n"].as_u64()).collect();
    assert_eq!(numbers, (1..=lines.len() as u64).collect::<Vec<_>>(), "no line twice, none missing");
    assert!(lines.windows(2).all(|pair| pair[0]["hash"] == pair[1]["previous"]));
    host.submit(&ada, "hello", json!({})).await;
    let (_, more) = host.get(&admin, &format!("/v1/ledger?after={after}")).await;
    assert_eq!(more["data"][0]["n"], lines.len() + 1, "what came since");
    assert_eq!(host.get(&admin, "/v1/ledger?after=nonsense").await.0, 422);
    assert!(root().join("docs/ledger.md").exists());
}
