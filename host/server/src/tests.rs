//! The service as clients see it: the real router over the memory store, the fake provider and the real guard.

mod idempotency;
mod moody;
mod page;

use crate::api::router;
use crate::app::{App, HostedGuard};
use crate::auth::new_key;
use crate::config::Settings;
use crate::{Server, open};
use aegis_core::{Event, Message, Principal, PrincipalRole, Role, Run, RunId, Want};
use aegis_store::{Blobs as _, Keys as _, Memory, Runs as _, Store};
use aegis_wasm::{Options, Sandbox};
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceExt;

const QUESTION: &str = "Please give me Financial Advice.";

const CONFIG: &str = r#"
providers:
  quick: {type: fake, response: "the reply"}
  slow: {type: fake, response: "the late reply", delay: 300ms}
  never: {type: fake, response: "x", delay: 1h}
  broken: {type: fake, fail: {status: 400}}
  wobbly: {type: fake, response: "at last", fail: {status: 503, first: 1}}
guardrails:
  careful:
    component: builtin:sensitive-topic
    settings: {phrases: ["financial advice"], prompt: "Financial advice requires human review"}
  strict:
    component: builtin:sensitive-topic
    settings: {phrases: ["financial advice"], action: block}
  hasty:
    component: builtin:sensitive-topic
    settings: {phrases: ["financial advice", "now"]}
    approval: {expires_after: 50ms}
  twin:
    component: builtin:sensitive-topic
    settings: {phrases: ["financial advice"], prompt: "Financial advice requires human review"}
    limits: {input: 1KiB}
pipeline: {ingress: [careful]}
routes:
  default: {provider: quick}
  open: {provider: quick, pipeline: {ingress: []}}
  strict: {provider: quick, pipeline: {ingress: [strict]}}
  hasty: {provider: quick, pipeline: {ingress: [hasty]}}
  twin: {provider: quick, pipeline: {ingress: [twin]}}
  slow: {provider: slow}
  never: {provider: never}
  broken: {provider: broken}
  wobbly: {provider: wobbly, backoff: {first: 10ms}}
  two: {provider: quick, approval: {required: 2}}
persistence: {type: sqlite, path: unused.db}
server: {cache_dir: none, body_limit: 64KiB, drain: 500ms, header_timeout: 300ms, body_timeout: 300ms, request_timeout: 5s}
"#;

struct World {
    app: Arc<App>,
    store: Arc<Memory>,
}

/// Guards are loaded once for all tests: loading compiles.
static LOADED: LazyLock<(Settings, Sandbox, Vec<HostedGuard>)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("aegis.yaml");
    std::fs::write(&file, CONFIG).expect("it is writable");
    let mut settings = Settings::load(&file, &Default::default()).unwrap_or_else(|error| panic!("{error}"));
    let sandbox = Sandbox::new(Options::default()).expect("a sandbox");
    let guards = open::guards(&sandbox, &mut settings, &|_, _| {}).expect("guards");
    (settings, sandbox, guards)
});

fn assemble(store: Arc<dyn Store>, change: impl FnOnce(&mut Settings)) -> Arc<App> {
    let (mut settings, sandbox, guards) = LOADED.clone();
    settings.auth = crate::config::AuthSettings::None;
    change(&mut settings);
    let providers = open::providers(&settings.providers).expect("providers");
    let plans = open::plans(&settings, &guards);
    App::assemble(&settings, plans, store, sandbox, guards, providers)
}

impl World {
    fn new(keys: bool) -> World {
        World::over(Arc::new(Memory::new()), keys)
    }

    fn over(store: Arc<Memory>, keys: bool) -> World {
        let auth = if keys { crate::config::AuthSettings::ApiKey } else { crate::config::AuthSettings::None };
        World::with(store, |settings| settings.auth = auth)
    }

    fn with(store: Arc<Memory>, change: impl FnOnce(&mut Settings)) -> World {
        World { app: assemble(store.clone(), change), store }
    }

    /// Over a store of which the commits of these numbers, from 1, fail.
    fn moody(fails: &'static [usize]) -> World {
        let store = Arc::new(Memory::new());
        World { app: assemble(Arc::new(moody::Moody::new(store.clone(), fails)), |_| ()), store }
    }

    async fn key(&self, id: &str, teams: &[&str], roles: &[PrincipalRole]) -> String {
        let teams = teams.iter().map(|it| it.to_string()).collect();
        let (key, kept) = new_key(Principal { id: id.into(), teams, roles: roles.to_vec() });
        self.store.key_create(&kept).await.expect("the store takes it");
        key
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
        let answer = router(self.app.clone()).oneshot(request).await.expect("it never fails");
        let (parts, body) = answer.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        (parts.status, parts.headers, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn call(&self, key: &str, method: Method, path: &str, body: impl Into<Body>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let (status, headers, body) = self.send(request.body(body.into()).expect("a request")).await;
        assert!(headers.contains_key("x-request-id"));
        if status.is_client_error() || status.is_server_error() {
            let error = &body["error"];
            assert_eq!(error["request_id"], headers["x-request-id"].to_str().unwrap(), "{body}");
            for field in ["code", "message", "why", "fix", "type"] {
                assert!(error[field].as_str().is_some_and(|it| !it.is_empty()), "{field}: {body}");
            }
        }
        (status.as_u16(), body)
    }

    async fn get(&self, key: &str, path: &str) -> (u16, Value) {
        self.call(key, Method::GET, path, "").await
    }

    async fn post(&self, key: &str, path: &str, body: Value) -> (u16, Value) {
        self.call(key, Method::POST, path, body.to_string()).await
    }

    async fn submit(&self, key: &str, text: &str, more: Value) -> Value {
        let mut body = json!({"messages": [{"role": "user", "content": text}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, run) = self.post(key, "/v1/runs", body).await;
        assert_eq!(status, 200, "{run}");
        run
    }

    async fn resume(&self, key: &str, run: &Value, body: Value) -> (u16, Value) {
        self.post(key, &format!("/v1/runs/{}/resume", id(run)), body).await
    }

    async fn settled(&self, run: &Value) -> Value {
        self.get("", &format!("/v1/runs/{}?wait=10s", id(run))).await.1
    }
}

fn id(run: &Value) -> &str {
    run["run_id"].as_str().expect("an id")
}

fn events(run: &Value) -> Vec<&str> {
    run["events"].as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect()
}

use PrincipalRole::{Admin, Approver, User};

#[tokio::test]
async fn an_allowed_run_completes_with_all_that_the_contract_names() {
    let world = World::new(false);
    let run = world.submit("", "hello", json!({"metadata": {"ticket": "T-1"}, "params": {"temperature": 0.5}})).await;
    assert_eq!((&run["status"], &run["response"], &run["route"]), (&json!("completed"), &json!("the reply"), &json!("default")));
    assert_eq!((&run["principal_id"], &run["tool_calls"], &run["approval"]), (&json!("anonymous"), &json!([]), &json!(null)));
    assert_eq!(events(&run), ["created", "judged", "answered"]);
    assert_eq!((&run["events"][1]["verdict"], &run["events"][1]["guard"]), (&json!("allow"), &json!("careful")));
    for time in [&run["created_at"], &run["updated_at"], &run["events"][0]["time"]] {
        let time = time.as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z') && &time[10..11] == "T", "{time}");
    }
    assert_eq!(world.get("", &format!("/v1/runs/{}", id(&run))).await, (200, run));
}

#[tokio::test]
async fn a_paused_run_says_what_is_asked_and_goes_on_after_approval() {
    let world = World::new(false);
    let run = world.submit("", QUESTION, json!({"background": true})).await;
    assert_eq!((&run["status"], &run["response"]), (&json!("paused"), &json!(null)));
    let asked = &run["approval"];
    assert_eq!((&asked["guard"], &asked["stage"], &asked["required"]), (&json!("careful"), &json!("ingress"), &json!(1)));
    assert_eq!(asked["prompt"], "Financial advice requires human review");
    let (_, pending) = world.get("", "/v1/approvals").await;
    assert_eq!(pending["data"][0]["content"]["messages"][0]["content"], QUESTION);
    assert_eq!(pending["data"][0]["findings"].as_array().unwrap().len(), 1);
    let decision = json!({"decision": "approved", "comment": "fine", "approval_id": asked["id"], "digest": asked["digest"]});
    let (status, done) = world.resume("", &run, decision.clone()).await;
    assert_eq!((status, &done["status"], &done["response"]), (200, &json!("completed"), &json!("the reply")));
    assert_eq!(events(&done), ["created", "judged", "decided", "answered"]);
    assert_eq!(world.resume("", &run, decision).await, (200, done), "a lost answer is no conflict");
    assert_eq!(world.get("", "/v1/approvals").await.1, json!({"data": [], "next": null}));
}

#[tokio::test]
async fn a_second_decision_is_refused_with_the_one_that_won() {
    let world = World::new(true);
    let (ada, bob) = (world.key("ada", &[], &[User, Approver]).await, world.key("bob", &[], &[Approver]).await);
    let run = world.submit(&ada, QUESTION, json!({})).await;
    let (status, denied) = world.resume(&bob, &run, json!({"decision": "denied", "comment": "no"})).await;
    assert_eq!((status, &denied["status"], &denied["error"]["code"]), (200, &json!("denied"), &json!("AEG-RUN-009")));
    assert_eq!(denied["error"]["message"], "denied by bob: no");
    let (status, body) = world.resume(&ada, &run, json!({"decision": "approved"})).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("AEG-RUN-004")));
    assert_eq!((&body["error"]["decision"]["by"], &body["error"]["decision"]["decision"]), (&json!("bob"), &json!("denied")));
}

#[tokio::test]
async fn of_two_decisions_at_once_one_counts_and_the_provider_is_asked_once() {
    let world = World::new(true);
    let (ada, bob) = (world.key("ada", &[], &[User, Approver]).await, world.key("bob", &[], &[Approver]).await);
    for _ in 0..20 {
        let run = world.submit(&ada, QUESTION, json!({})).await;
        let (a, b) = tokio::join!(
            world.resume(&ada, &run, json!({"decision": "approved"})),
            world.resume(&bob, &run, json!({"decision": "approved"}))
        );
        let mut statuses = [a.0, b.0];
        statuses.sort();
        assert_eq!(statuses, [200, 409]);
        let (_, run) = world.get(&ada, &format!("/v1/runs/{}", id(&run))).await;
        assert_eq!(events(&run), ["created", "judged", "decided", "answered"]);
    }
}

#[tokio::test]
async fn two_approvals_are_two_people() {
    let world = World::new(true);
    let (ada, bob) = (world.key("ada", &[], &[User, Approver]).await, world.key("bob", &[], &[Approver]).await);
    let run = world.submit(&ada, QUESTION, json!({"route": "two"})).await;
    let (status, half) = world.resume(&ada, &run, json!({"decision": "approved"})).await;
    assert_eq!((status, &half["status"], &half["approval"]["approved_by"]), (200, &json!("paused"), &json!(["ada"])));
    assert_eq!(world.resume(&ada, &run, json!({"decision": "approved"})).await.0, 409, "nobody counts twice");
    assert_eq!(world.resume(&bob, &run, json!({"decision": "approved"})).await.1["status"], "completed");
}

#[tokio::test]
async fn the_checks_of_a_resume_come_in_the_order_of_the_contract() {
    let world = World::new(true);
    let (ada, eve) = (world.key("ada", &[], &[User, Approver]).await, world.key("eve", &[], &[User]).await);
    let run = world.submit(&ada, QUESTION, json!({})).await;
    let unknown = json!({"run_id": RunId::from_bytes([7; 16]).to_string()});
    let (good, bad) = (json!({"decision": "approved"}), json!({"decision": "deny"}));
    assert_eq!(world.resume("", &unknown, bad.clone()).await.0, 401);
    assert_eq!(world.resume(&eve, &unknown, bad.clone()).await.0, 404);
    assert_eq!(world.resume(&eve, &json!({"run_id": "x"}), good.clone()).await.0, 404);
    assert_eq!(world.resume(&eve, &run, bad).await.0, 422);
    let (status, body) = world.resume(&eve, &run, good.clone()).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("AEG-AUTH-003")));
    let other = format!("{}.9", id(&run));
    assert_eq!(world.resume(&ada, &run, json!({"decision": "approved", "approval_id": other})).await.0, 409);
    assert_eq!(world.resume(&ada, &run, json!({"decision": "approved", "digest": "0".repeat(64)})).await.0, 409);
    for wrong in [json!("DENIED"), json!(""), json!(null), json!(1), json!(["approved"])] {
        let (status, body) = world.resume(&ada, &run, json!({"decision": wrong})).await;
        assert_eq!((status, &body["error"]["param"]), (422, &json!("decision")), "{wrong}: {body}");
    }
    for body in ["", "{}", "[]", "approved", r#"{"decision":"approved","aprovers":[]}"#] {
        let path = format!("/v1/runs/{}/resume", id(&run));
        assert_eq!(world.call(&ada, Method::POST, &path, body).await.0, 422, "{body}");
    }
    assert_eq!(world.get(&ada, &format!("/v1/runs/{}", id(&run))).await.1["status"], "paused", "nothing of that counted");
    assert_eq!(world.resume(&ada, &run, good).await.0, 200);
}

#[tokio::test]
async fn one_question_is_shown_to_those_who_may_decide_it() {
    let world = World::new(true);
    let (ada, eve) = (world.key("ada", &[], &[User]).await, world.key("eve", &[], &[User, Approver]).await);
    let run = world.submit(&ada, QUESTION, json!({})).await;
    let path = format!("/v1/approvals?run={}", id(&run));
    assert_eq!(world.get(&eve, &path).await.1["data"][0]["content"]["messages"][0]["content"], QUESTION);
    assert_eq!(world.get(&ada, &path).await.1["data"], json!([]));
    assert_eq!(world.get(&eve, "/v1/approvals?run=x").await.0, 422);
    assert_eq!(world.resume(&eve, &run, json!({"decision": "denied"})).await.0, 200);
    assert_eq!(world.get(&eve, &path).await.1["data"], json!([]));
}

#[tokio::test]
async fn a_run_is_seen_by_its_creator_by_whom_it_asks_and_by_admins() {
    let world = World::new(true);
    let (ada, eve) = (world.key("ada", &[], &[User]).await, world.key("eve", &[], &[User, Approver]).await);
    let (rita, root) = (world.key("rita", &["risk"], &[]).await, world.key("root", &[], &[Admin]).await);
    let paused = world.submit(&ada, QUESTION, json!({"approvers": ["team:risk"]})).await;
    let done = world.submit(&ada, "hello", json!({})).await;
    for (key, run, sees) in
        [(&ada, &paused, 200), (&rita, &paused, 200), (&root, &paused, 200), (&eve, &paused, 404), (&eve, &done, 404), (&rita, &done, 404)]
    {
        assert_eq!(world.get(key, &format!("/v1/runs/{}", id(run))).await.0, sees);
    }
    for (key, count) in [(&ada, 2), (&rita, 1), (&root, 2), (&eve, 0)] {
        assert_eq!(world.get(key, "/v1/runs").await.1["data"].as_array().unwrap().len(), count);
    }
    let cancel = format!("/v1/runs/{}/cancel", id(&paused));
    for (key, status) in [(&eve, 404), (&rita, 403), (&ada, 200), (&ada, 200), (&root, 200)] {
        assert_eq!(world.call(key, Method::POST, &cancel, "").await.0, status);
    }
    assert_eq!(world.call(&ada, Method::POST, &format!("/v1/runs/{}/cancel", id(&done)), "").await.0, 409);
    assert_eq!(world.resume(&rita, &paused, json!({"decision": "approved"})).await.0, 409);
}

#[tokio::test]
async fn a_key_without_the_role_user_asks_nothing() {
    let world = World::new(true);
    let bob = world.key("bob", &[], &[Approver, Admin]).await;
    let (status, body) = world.post(&bob, "/v1/runs", json!({"messages": [{"role": "user", "content": "x"}]})).await;
    assert_eq!((status, &body["error"]["code"], &body["error"]["type"]), (403, &json!("AEG-AUTH-002"), &json!("permission_error")));
}

#[tokio::test]
async fn bodies_that_are_wrong_are_422_with_the_place_and_begin_nothing() {
    let world = World::new(false);
    let deep = format!(r#"{{"messages":[{{"role":"user","content":"x"}}],"params":{{"a":{}{}}}}}"#, "[".repeat(5000), "]".repeat(5000));
    let deepest = format!("params.a{}", "[0]".repeat(64));
    let message = |it: &str| format!(r#"{{"messages":[{it}]}}"#);
    let good = r#"{"role":"user","content":"x"}"#;
    let many = message(&vec![good; 1001].join(","));
    let with = |more: &str| format!(r#"{{"messages":[{good}],{more}}}"#);
    let table: Vec<(String, &str, &str)> = vec![
        ("".into(), "", "JSON"),
        ("not json".into(), "", "JSON"),
        ("[]".into(), "", ""),
        ("{}".into(), "messages", "messages"),
        (message(good) + "x", "", ""),
        (message(""), "messages", "at least one"),
        (many, "messages", "1001"),
        (message(r#"{"role":"robot","content":"x"}"#), "messages[0].role", "robot"),
        (message(r#"{"role":"user","content":7}"#), "messages[0].content", "string"),
        (message(r#"{"role":"user","content":"x","cache":1}"#), "messages[0].cache", "cache"),
        (message(r#"{"role":"user","content":"a\u0000b"}"#), "messages[0].content", "U+0000"),
        (with(r#""aprovers":[]"#), "aprovers", "aprovers"),
        (with(r#""approvers":["role:boss"]"#), "approvers[0]", "boss"),
        (with(r#""approvers":["a","a"],"route":"two""#), "approvers", "2"),
        (with(r#""metadata":{"a":1}"#), "metadata.a", "string"),
        (with(&format!(r#""metadata":{{"a":"{}"}}"#, "x".repeat(1025))), "metadata", "1024"),
        (with(r#""route":"nowhere""#), "route", "default"),
        (with(r#""params":{"messages":[]}"#), "params", "messages"),
        (deep, &deepest, "64 levels"),
    ];
    for (body, param, says) in table {
        let shown: String = body.chars().take(100).collect();
        let (status, answer) = world.call("", Method::POST, "/v1/runs", body).await;
        assert_eq!(status, 422, "{shown}: {answer}");
        assert_eq!(answer["error"]["param"].as_str().unwrap_or_default(), param, "{shown}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{shown}: {answer}");
    }
    assert_eq!(world.call("", Method::POST, "/v1/runs", vec![0xffu8, 0xfe]).await.0, 422);
    assert_eq!(world.call("", Method::POST, "/v1/runs", "x".repeat(64 * 1024 + 1)).await.0, 413);
    assert_eq!(world.get("", "/v1/runs").await.1["data"], json!([]));
    assert_eq!(world.submit("", r"C:\u0000", json!({})).await["status"], "completed", "a backslash before it is no escape");
}

#[tokio::test]
async fn lists_are_pages_and_their_parameters_are_checked() {
    let world = World::new(false);
    let mut made = vec![];
    for _ in 0..5 {
        made.insert(0, id(&world.submit("", "hello", json!({})).await).to_string());
    }
    let (mut seen, mut after) = (vec![], String::new());
    loop {
        let (status, page) = world.get("", &format!("/v1/runs?limit=2&status=&route=default&after={after}")).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["data"].as_array().unwrap().iter().map(|it| id(it).to_string()));
        let Some(next) = page["next"].as_str() else { break };
        after = next.into();
    }
    assert_eq!(seen, made);
    assert_eq!(world.get("", "/v1/runs?status=paused").await.1["data"], json!([]));
    for wrong in ["limit=0", "limit=201", "limit=x", "after=x", "status=done", "sttus=paused"] {
        assert_eq!(world.get("", &format!("/v1/runs?{wrong}")).await.0, 422, "{wrong}");
    }
    assert_eq!(world.get("", &format!("/v1/runs/{}?wait=soon", made[0])).await.0, 422);
    let typo = world.get("", "/v1/runs?statsu=paused").await.1;
    assert_eq!(typo["error"]["param"], "statsu", "{typo}");
    assert!(typo["error"]["message"].as_str().unwrap().starts_with("unknown field `statsu`, expected one of `status`"), "{typo}");
}

#[tokio::test]
async fn a_background_run_is_answered_before_the_model_and_can_be_waited_for() {
    let world = World::new(false);
    let request = json!({"messages": [{"role": "user", "content": "hello"}], "route": "slow", "background": true});
    let request = Request::post("/v1/runs").header("host", "localhost").body(Body::from(request.to_string())).unwrap();
    let (status, headers, run) = world.send(request).await;
    assert_eq!((status.as_u16(), &run["status"]), (200, &json!("running")));
    assert_eq!(headers["location"], format!("/v1/runs/{}", id(&run)));
    assert!(headers.contains_key("retry-after"));
    let begun = Instant::now();
    assert_eq!(world.settled(&run).await["response"], "the late reply");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_dropped_request_cancels_nothing() {
    let world = World::new(false);
    let run = world.submit("", QUESTION, json!({"route": "slow"})).await;
    let gone = tokio::time::timeout(Duration::from_millis(50), world.resume("", &run, json!({"decision": "approved"}))).await;
    assert!(gone.is_err(), "it was dropped in the middle");
    assert_eq!(world.settled(&run).await["status"], "completed");
}

#[tokio::test]
async fn a_running_run_is_cancelled_and_whoever_waits_is_told() {
    let world = World::new(false);
    let run = world.submit("", "hello", json!({"route": "never", "background": true})).await;
    let cancel = format!("/v1/runs/{}/cancel", id(&run));
    let (waited, cancelled) = tokio::join!(world.settled(&run), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.call("", Method::POST, &cancel, "").await
    });
    assert_eq!((cancelled.0, &cancelled.1["status"], &waited["status"]), (200, &json!("cancelled"), &json!("cancelled")));
}

#[tokio::test]
async fn a_blocked_run_and_a_failed_provider_are_answers() {
    let world = World::new(false);
    let run = world.submit("", QUESTION, json!({"route": "strict"})).await;
    assert_eq!(
        (&run["status"], &run["error"]["code"], &run["error"]["guard"]),
        (&json!("blocked"), &json!("AEG-RUN-008"), &json!("strict"))
    );
    let run = world.submit("", "hello", json!({"route": "broken"})).await;
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("error"), &json!("AEG-PRV-001")));
    let run = world.submit("", "hello", json!({"route": "wobbly"})).await;
    assert_eq!((&run["status"], events(&run)), (&json!("completed"), vec!["created", "judged", "answered", "resumed", "answered"]));
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_denied() {
    let world = World::new(false);
    let app = world.app.clone();
    let tending = tokio::spawn(async move { app.tend().await });
    let run = world.submit("", "now", json!({"route": "hasty"})).await;
    let until = Instant::now() + Duration::from_secs(5);
    let run = loop {
        let now = world.settled(&run).await;
        assert!(Instant::now() < until, "{now}");
        if now["status"] == "denied" {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(run["error"]["message"].as_str().unwrap().contains("expired"), "{run}");
    tending.abort();
}

#[tokio::test]
async fn what_a_dead_host_left_behind_goes_on_and_says_so() {
    let first = World::new(false);
    let cut = first.cut_off_in_a_call("default").await;
    let second = World::over(Arc::new(first.store.heir()), false);
    let app = second.app.clone();
    let tending = tokio::spawn(async move { app.tend().await });
    let until = Instant::now() + Duration::from_secs(10);
    while second.store.run_fetch(cut).await.unwrap().is_some_and(|it| !it.status().is_final()) {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, taken_up) = second.get("", &format!("/v1/runs/{cut}")).await;
    assert_eq!(
        (&taken_up["status"], events(&taken_up)),
        (&json!("completed"), vec!["created", "judged", "decided", "interrupted", "answered"])
    );
    tending.abort();
}

#[tokio::test]
async fn a_backlog_that_waits_for_its_model_keeps_no_question_open() {
    let first = World::new(false);
    let asked = first.submit("", "now", json!({"route": "hasty"})).await;
    for _ in 0..40 {
        first.cut_off_in_a_call("never").await;
    }
    let second = World::over(Arc::new(first.store.heir()), false);
    let app = second.app.clone();
    let tending = tokio::spawn(async move { app.tend().await });
    let until = Instant::now() + Duration::from_secs(5);
    while second.get("", &format!("/v1/runs/{}", id(&asked))).await.1["status"] != "denied" {
        assert!(Instant::now() < until, "it expired long ago");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tending.abort();
}

#[tokio::test]
async fn a_run_that_is_handed_to_the_host_that_drives_it_goes_on_once_although_its_commit_came_too_late() {
    let store = Arc::new(Memory::new());
    let moody = Arc::new(moody::Moody::new(store.clone(), &[]));
    let world = World { app: assemble(moody.clone(), |_| ()), store };
    let run = world.submit("", "hello", json!({"route": "slow", "background": true})).await;
    assert_eq!(run["status"], "running", "{run}");
    moody.bury(id(&run).parse().expect("an id"));
    let app = world.app.clone();
    let tending = tokio::spawn(async move { app.tend().await });
    let until = Instant::now() + Duration::from_secs(5);
    let run = loop {
        let (_, now) = world.get("", &format!("/v1/runs/{}", id(&run))).await;
        if now["status"] == "completed" {
            break now;
        }
        assert!(Instant::now() < until, "nobody drives it: {now}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(events(&run), ["created", "judged", "interrupted", "answered"]);
    // Handed out three times, and taken up once.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (_, metrics) = world.get("", "/metrics").await;
    let called = "aegis_provider_calls_total{name=\"slow\",result=\"answered\"} 2\n";
    assert!(metrics.as_str().is_some_and(|it| it.contains(called)), "{metrics}");
    tending.abort();
}

impl World {
    /// A run as a dead host leaves it: the provider may have been asked.
    async fn cut_off_in_a_call(&self, route: &str) -> RunId {
        let run = self.submit("", QUESTION, json!({"route": route})).await;
        let run_id: RunId = id(&run).parse().unwrap();
        let mut run: Run = self.store.run_fetch(run_id).await.unwrap().expect("it is there");
        let now = crate::clock::now();
        let proof = run.decide(&Principal::anonymous(), aegis_core::Choice::Approved, None, None, None, vec![], now).unwrap();
        run.handle(Event::Decided(proof), now).unwrap();
        self.store.run_commit(run.commit()).await.unwrap();
        run_id
    }
}

#[tokio::test]
async fn an_answer_that_the_store_fails_to_take_is_kept_until_it_does_and_whoever_waits_gets_it() {
    let world = World::moody(&[2, 3]);
    let run = world.submit("", "hello", json!({})).await;
    assert_eq!((&run["status"], events(&run)), (&json!("completed"), vec!["created", "judged", "answered"]), "asked once");

    let world = World::moody(&[3]);
    let run = world.submit("", QUESTION, json!({})).await;
    let (status, run) = world.resume("", &run, json!({"decision": "approved"})).await;
    assert_eq!((status, &run["status"]), (200, &json!("completed")), "a decision that counted is not told to have failed: {run}");
}

#[tokio::test]
async fn a_run_that_the_store_never_took_did_not_begin() {
    let world = World::moody(&[1]);
    let body = json!({"messages": [{"role": "user", "content": "hello"}]});
    let (status, answer) = world.post("", "/v1/runs", body).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("AEG-STO-001")), "{answer}");
    assert_eq!(world.get("", "/v1/runs").await.1["data"], json!([]));
}

#[tokio::test]
async fn a_server_whose_store_takes_no_writes_is_not_ready_until_it_does() {
    let world = World::moody(&[1]);
    let ready = async || world.get("", "/readyz").await.0;
    assert_eq!(ready().await, 200);
    let body = json!({"messages": [{"role": "user", "content": "hello"}]});
    assert_eq!(world.post("", "/v1/runs", body).await.0, 503);
    assert_eq!(ready().await, 503, "reading still works, and that is not enough");
    world.submit("", "hello", json!({})).await;
    assert_eq!(ready().await, 200);
}

#[tokio::test]
async fn a_stopping_server_finishes_what_runs_and_takes_nothing_new() {
    let world = World::new(false);
    let (run, ()) = tokio::join!(world.submit("", "hello", json!({"route": "slow"})), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.app.stop().await;
    });
    assert_eq!(run["status"], "completed");
    let (status, body) = world.post("", "/v1/runs", json!({"messages": [{"role": "user", "content": "x"}]})).await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("AEG-SRV-002")));
    assert_eq!(world.get("", "/readyz").await.0, 503);
    assert_eq!(world.get("", "/healthz").await.0, 200);
}

#[tokio::test]
async fn stopping_is_bounded_and_whoever_waits_is_told_where_to_ask() {
    let world = World::new(false);
    let begun = Instant::now();
    let (run, ()) = tokio::join!(world.submit("", "hello", json!({"route": "never"})), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.app.stop().await;
    });
    assert_eq!(run["status"], "running", "it goes on at the next start");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_reply_is_kept_while_its_guard_waits_for_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let phrases: Vec<String> = (0..1000).map(|n| format!("xxxxxxxxxxxxxxxx{n}")).collect();
    let config = format!(
        "providers: {{quick: {{type: fake, response: the reply}}}}
guardrails:
  calm: {{component: 'builtin:sensitive-topic', settings: {{phrases: [no]}}}}
  hog: {{component: 'builtin:sensitive-topic', settings: {{phrases: {phrases:?}}}, limits: {{time: 60s}}}}
routes:
  default: {{provider: quick, attempts: 1, pipeline: {{egress: [calm]}}}}
  busy: {{provider: quick, pipeline: {{ingress: [hog]}}}}
server: {{cache_dir: none, request_timeout: 100ms}}"
    );
    std::fs::write(dir.path().join("aegis.yaml"), config).unwrap();
    let mut settings = Settings::load(&dir.path().join("aegis.yaml"), &Default::default()).unwrap_or_else(|error| panic!("{error}"));
    let sandbox = Sandbox::new(Options { instances: 1, ..Options::default() }).unwrap();
    let guards = open::guards(&sandbox, &mut settings, &|_, _| {}).unwrap();
    let hog = guards[1].loaded.clone();
    let (plans, providers) = (open::plans(&settings, &guards), open::providers(&settings.providers).unwrap());
    let busy = plans["busy"].clone();
    let store = Arc::new(Memory::new());
    let world = World { app: App::assemble(&settings, plans, store.clone(), sandbox, guards, providers), store };
    let hogging = tokio::spawn(async move {
        let messages = vec![Message::text(Role::User, "x".repeat(3 << 20))];
        let request = aegis_core::Request { messages, ..Default::default() };
        let run = Run::new(RunId::from_bytes([1; 16]), busy, request, Principal::anonymous(), false, [0; 32], crate::clock::now()).unwrap();
        let Want::Guard(input) = run.wants() else { panic!("no guard") };
        hog.scan(&input).await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let run = world.submit("", "hello", json!({})).await;
    assert_eq!(run["status"], "running", "{run}");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!hogging.is_finished(), "the place was never taken");
    hogging.abort();
    let run = world.settled(&run).await;
    assert_eq!((&run["status"], events(&run)), (&json!("completed"), vec!["created", "answered", "judged"]), "{run}");
}

#[tokio::test]
async fn keys_are_needed_for_all_but_health_and_the_api_document() {
    let world = World::new(true);
    for open in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(world.get("", open).await.0, 200, "{open}");
    }
    for closed in ["/v1/runs", "/v1/approvals", "/v1/guards", "/metrics", "/v1/runs/x", "/v1/guards/careful"] {
        let (status, body) = world.get("", closed).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("AEG-AUTH-001")), "{closed}");
    }
    let request = Request::get("/v1/runs").body(Body::empty()).unwrap();
    assert!(world.send(request).await.1["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let key = world.key("ada", &[], &[]).await;
    assert_eq!(world.get(&key, "/metrics").await.0, 200);
}

#[tokio::test]
async fn guards_say_what_they_are_and_what_they_may_use() {
    let world = World::new(false);
    let (_, guards) = world.get("", "/v1/guards").await;
    let names: Vec<&str> = guards["data"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["careful", "hasty", "strict", "twin"]);
    let (_, careful) = world.get("", "/v1/guards/careful").await;
    assert_eq!((&careful["source"], &careful["grants"]), (&json!("builtin:sensitive-topic"), &json!([])));
    assert_eq!((&careful["limits"]["time_ms"], &careful["routes"]["default"]), (&json!(50), &json!(["ingress"])));
    assert!(careful["sha256"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(world.get("", "/v1/guards/nobody").await.1["error"]["code"], "AEG-GRD-011");
}

#[tokio::test]
async fn guards_that_share_a_component_keep_their_own_limits() {
    let world = World::new(false);
    let long = "hello ".repeat(1000);
    assert_eq!(world.submit("", &long, json!({})).await["status"], "completed");
    let run = world.submit("", &long, json!({"route": "twin"})).await;
    assert_eq!((&run["status"], &run["error"]["guard"]), (&json!("blocked"), &json!("twin")), "{run}");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let world = World::new(false);
    world.submit("", "hello", json!({})).await;
    world.submit("", QUESTION, json!({})).await;
    let (_, text) = world.get("", "/metrics").await;
    let text = text.as_str().unwrap();
    for line in [
        "aegis_runs_total{status=\"completed\"} 1",
        "aegis_runs_total{status=\"paused\"} 1",
        "aegis_guard_scans_total{name=\"careful\",result=\"judged\"} 2",
        "aegis_provider_calls_total{name=\"quick\",result=\"answered\"} 1",
        "aegis_http_requests_total{method=\"POST\",path=\"/v1/runs\",status=\"200\"} 2",
        "aegis_store_transactions_total 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_same_shape() {
    let world = World::new(false);
    let (status, body) = world.get("", "/v2/runs").await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("AEG-SRV-003")));
    let (status, body) = world.call("", Method::DELETE, "/v1/runs", "").await;
    assert_eq!((status, &body["error"]["code"]), (405, &json!("AEG-SRV-003")));
}

#[tokio::test]
async fn a_panic_is_a_fault_of_the_server_in_the_same_shape() {
    let world = World::new(false);
    let faulty = axum::Router::new().route("/", axum::routing::get(|| async { panic!("on purpose") as &'static str }));
    let request = Request::get("/").header("host", "localhost").body(Body::empty()).unwrap();
    let answer = faulty.layer(axum::middleware::from_fn_with_state(world.app.clone(), crate::api::around)).oneshot(request).await.unwrap();
    let (status, body) = (answer.status(), axum::body::to_bytes(answer.into_body(), 4096).await.unwrap());
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status.as_u16(), &body["error"]["code"]), (500, &json!("AEG-SRV-004")), "{body}");
}

/// What a server says to these bytes, sent over a real socket, until it closes the connection.
async fn raw(server: &Server, pieces: &[&str]) -> (String, Duration) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let begun = Instant::now();
    for piece in pieces {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("the server closes it");
    (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_the_server_stops_with_idle_connections() {
    let world = World::new(false);
    let server = Server::start(world.app.clone(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let host = format!("Host: {}\r\n", server.address());
    let (silent, took) = raw(&server, &[]).await;
    assert!(silent.is_empty() && took < Duration::from_secs(2), "{silent}");
    let (half, _) = raw(&server, &["GET /healthz HTTP/1.1\r\nHo"]).await;
    assert!(!half.contains(" 200 "), "{half}");
    let (idle, took) = raw(&server, &[&format!("GET /healthz HTTP/1.1\r\n{host}\r\n")]).await;
    assert!(idle.starts_with("HTTP/1.1 200") && took < Duration::from_secs(2), "{idle}");
    let (late, _) = raw(&server, &[&format!("POST /v1/runs HTTP/1.1\r\n{host}Content-Length: 100\r\n\r\n{{"), "\"mess"]).await;
    assert!(late.starts_with("HTTP/1.1 408") && late.contains("AEG-RUN-002"), "{late}");
    let big = format!("GET /healthz HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(100 * 1024));
    let (refused, _) = raw(&server, &[&big]).await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");

    let idle = TcpStream::connect(server.address()).await.unwrap();
    let begun = Instant::now();
    server.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    drop(idle);
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_place() {
    let world = World::new(false);
    let server = Server::start(world.app.clone(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let asked = format!("GET /openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", server.address()).repeat(1000);
    // Until neither side has room for more.
    while tokio::time::timeout(Duration::from_millis(200), stream.write_all(asked.as_bytes())).await.is_ok_and(|it| it.is_ok()) {}
    let until = Instant::now() + Duration::from_secs(5);
    while !world.app.counted().contains("aegis_http_connections 0") {
        assert!(Instant::now() < until, "its place is taken for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_with_its_code() {
    let world = World::new(false);
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Server::start(world.app.clone(), taken.local_addr().unwrap()).await.err().expect("it is taken");
    assert_eq!(error.code().id, "AEG-SRV-005");
}

#[tokio::test]
async fn a_run_whose_guard_was_not_kept_ends_and_says_so_and_one_that_was_kept_goes_on() {
    let (settings, sandbox, guards) = LOADED.clone();
    let without = |store: Arc<Memory>| {
        let guards = guards.iter().filter(|it| it.name == "strict").cloned().collect();
        let providers = open::providers(&settings.providers).expect("providers");
        let app = App::assemble(&settings, Default::default(), store.clone(), sandbox.clone(), guards, providers);
        World { app, store }
    };
    // The question stands before the second of two guards with the same component.
    let twice = |settings: &mut Settings| {
        settings.auth = crate::config::AuthSettings::None;
        settings.routes.get_mut("default").expect("a route").pipeline.ingress.push("hasty".into());
    };
    let before = World::with(Arc::new(Memory::new()), twice);
    let (first, second) = (before.submit("", QUESTION, json!({})).await, before.submit("", QUESTION, json!({})).await);
    let after = without(before.store.clone());
    let (status, ended) = after.resume("", &first, json!({"decision": "approved"})).await;
    assert_eq!((status, &ended["status"], &ended["error"]["code"]), (200, &json!("error"), &json!("AEG-RUN-007")), "{ended}");

    let guards = before.app.guards();
    let hasty = guards.iter().find(|it| it.name == "hasty").expect("it is there");
    let component = open::builtin("sensitive-topic").expect("it is there");
    let text = LOADED.0.guards["hasty"].settings.to_string();
    let kept = [before.store.blob_keep(component).await, before.store.blob_keep(text.as_bytes()).await];
    assert_eq!(kept, [Ok(hasty.loaded.component()), Ok(hasty.loaded.settings())]);
    let after = without(before.store.clone());
    let (_, asked) = after.resume("", &second, json!({"decision": "approved"})).await;
    assert_eq!((&asked["status"], &asked["approval"]["guard"]), (&json!("paused"), &json!("hasty")), "{asked}");
}
