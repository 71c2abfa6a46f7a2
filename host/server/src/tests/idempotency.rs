//! Requests that come again: one run, whatever else happens.

use super::*;
use aegis_core::{RequestKey, Time};
use aegis_store::Requests as _;

/// A request with an `Idempotency-Key`.
async fn send(world: &World, key: &str, name: &str, path: &str, body: impl Into<Body>) -> (u16, Value) {
    let request = Request::builder().method(Method::POST).uri(path).header("host", "localhost").header("idempotency-key", name);
    let request = if key.is_empty() { request } else { request.header("authorization", format!("Bearer {key}")) };
    let (status, _, body) = world.send(request.body(body.into()).expect("a request")).await;
    (status.as_u16(), body)
}

fn say(text: &str, route: &str) -> String {
    json!({"messages": [{"role": "user", "content": text}], "route": route}).to_string()
}

async fn submit(world: &World, name: &str, body: String) -> Value {
    let (status, run) = send(world, "", name, "/v1/runs", body).await;
    assert_eq!(status, 200, "{run}");
    run
}

async fn runs(world: &World) -> usize {
    world.get("", "/v1/runs?limit=200").await.1["data"].as_array().expect("a list").len()
}

#[tokio::test]
async fn the_same_request_again_is_answered_with_the_same_run() {
    let world = World::new(false);
    let run = submit(
        &world,
        "k",
        r#"{"route":"default","messages":[{"role":"user","content":"hello"}],"params":{"temperature":1,"top_p":2}}"#.into(),
    )
    .await;
    let again = r#" {"messages": [{"content": "hello", "role": "user"}], "params": {"top_p": 2, "temperature": 1}, "route": "default"}"#;
    assert_eq!(submit(&world, "k", again.into()).await, run, "order and space say nothing");
    assert_eq!(runs(&world).await, 1);
    assert_ne!(id(&submit(&world, "other", say("hello", "default")).await), id(&run));
    assert_eq!(submit(&world, "K", say("hello", "default")).await["status"], "completed", "keys differ in case, too");
    assert_eq!(runs(&world).await, 3);
}

#[tokio::test]
async fn a_key_that_came_with_another_request_is_refused_and_nothing_begins() {
    let world = World::new(false);
    let run = submit(&world, "k", say(QUESTION, "default")).await;
    let resume = format!("/v1/runs/{}/resume", id(&run));
    for (path, body) in [
        ("/v1/runs", say("hello", "default")),
        ("/v1/runs", say(QUESTION, "open")),
        (&*resume, say(QUESTION, "default")),
        (&*resume, json!({"decision": "approved"}).to_string()),
    ] {
        let (status, error) = send(&world, "", "k", path, body.clone()).await;
        assert_eq!(status, 422, "{path} {body}: {error}");
    }
    let (_, error) = send(&world, "", "k", "/v1/runs", say("hello", "default")).await;
    assert_eq!((&error["error"]["code"], &error["error"]["param"]), (&json!("AEG-RUN-010"), &json!("Idempotency-Key")));
    assert_eq!((runs(&world).await, &world.settled(&run).await["status"]), (1, &json!("paused")));
}

#[tokio::test]
async fn the_keys_of_two_principals_have_nothing_to_do_with_each_other() {
    let world = World::new(true);
    let (ada, bob) = (world.key("ada", &[], &[User]).await, world.key("bob", &[], &[User]).await);
    let (_, run) = send(&world, &ada, "k", "/v1/runs", say("hello", "default")).await;
    let (status, other) = send(&world, &bob, "k", "/v1/runs", say("something else", "default")).await;
    assert_eq!((status, &other["principal_id"], &run["principal_id"]), (200, &json!("bob"), &json!("ada")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_the_same_moment_one_makes_a_run_and_the_others_wait_for_it() {
    let world = World::new(false);
    let sent = (0..32).map(|_| submit(&world, "k", say("hello", "slow")));
    let answers = futures::future::join_all(sent).await;
    assert_eq!((&answers[0]["status"], runs(&world).await), (&json!("completed"), 1));
    assert!(answers.iter().all(|it| *it == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn a_request_that_did_not_wait_is_not_held_when_it_comes_again() {
    let world = World::new(false);
    let body = json!({"messages": [{"role": "user", "content": "hello"}], "route": "never", "background": true}).to_string();
    let run = submit(&world, "k", body.clone()).await;
    let again = tokio::time::timeout(Duration::from_secs(3), submit(&world, "k", body)).await.expect("an answer at once");
    assert_eq!((id(&again), &again["status"]), (id(&run), &json!("running")));
}

#[tokio::test]
async fn a_request_that_began_nothing_may_be_mended_under_its_key() {
    let world = World::moody(&[1]);
    assert_eq!(send(&world, "", "k", "/v1/runs", say("hello", "nowhere")).await.0, 422);
    assert_eq!(send(&world, "", "k", "/v1/runs", say("hello", "default")).await.0, 503, "the store failed");
    assert_eq!(submit(&world, "k", say("hello", "open")).await["status"], "completed");
}

#[tokio::test]
async fn a_decision_that_comes_again_is_answered_with_the_run_as_it_stands() {
    let world = World::new(false);
    let run = world.submit("", QUESTION, json!({})).await;
    let resume = format!("/v1/runs/{}/resume", id(&run));
    let approved = json!({"decision": "approved", "comment": "fine"}).to_string();
    let (status, done) = send(&world, "", "k", &resume, approved.clone()).await;
    assert_eq!((status, &done["status"]), (200, &json!("completed")));
    assert_eq!(send(&world, "", "k", &resume, approved.clone()).await, (200, done.clone()));
    let (status, error) = send(&world, "", "k", &resume, json!({"decision": "denied"}).to_string()).await;
    assert_eq!((status, &error["error"]["code"]), (422, &json!("AEG-RUN-010")));
    assert_eq!(send(&world, "", "other", &resume, approved).await.0, 409, "without the key it is a second decision");
    assert_eq!(world.settled(&run).await, done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_decisions_with_one_key_one_counts_and_all_are_told_so() {
    let world = World::new(false);
    let run = world.submit("", QUESTION, json!({"route": "default"})).await;
    let resume = format!("/v1/runs/{}/resume", id(&run));
    let sent = (0..32).map(|_| send(&world, "", "k", &resume, json!({"decision": "approved"}).to_string()));
    let answers = futures::future::join_all(sent).await;
    assert!(answers.iter().all(|(status, it)| (*status, &it["status"]) == (200, &json!("completed"))), "{answers:?}");
    assert_eq!(events(&world.settled(&run).await), ["created", "judged", "decided", "answered"]);
}

/// Where keys mean something for 300 ms.
fn forgetful() -> World {
    World::with(Arc::new(Memory::new()), |settings| {
        settings.auth = crate::config::AuthSettings::None;
        settings.server.idempotency = Duration::from_millis(300);
    })
}

#[tokio::test]
async fn keys_whose_time_is_over_are_forgotten_by_themselves() {
    let world = forgetful();
    submit(&world, "k", say("hello", "default")).await;
    // Sent before there was anything, when no time was over.
    let early = RequestKey::new("anonymous", "k", &[], Time(0), 0);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert!(world.store.request_find(&early).await.expect("an answer").is_some());
    let app = world.app.clone();
    let tending = tokio::spawn(async move { app.tend().await });
    let until = Instant::now() + Duration::from_secs(5);
    while world.store.request_find(&early).await.expect("an answer").is_some() {
        assert!(Instant::now() < until, "the key is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tending.abort();
}

#[tokio::test]
async fn a_key_means_something_else_when_its_time_is_over() {
    let world = forgetful();
    let run = submit(&world, "k", say("hello", "default")).await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_ne!(id(&submit(&world, "k", say("something else", "default")).await), id(&run));
}
