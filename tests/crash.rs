//! Nothing is lost and nothing happens twice: the real host under mixed load, killed again and again at any moment, in front of a
//! model's API that writes down every call. `AEGIS_CRASH_ROUNDS` sets how often, `AEGIS_CRASH_SEED` repeats what happened before.

use crate::host::{Host, config};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: u64 = 20;
const CLIENTS: u64 = 6;
/// What the configuration allows for one run.
const ATTEMPTS: usize = 3;

/// Xorshift: this only has to differ.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// How often the model's API was asked for each run.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<BTreeMap<String, usize>>>);

impl Api {
    fn calls(&self, run: &str) -> usize {
        self.0.lock().expect("no panics").get(run).copied().unwrap_or_default()
    }
}

async fn complete(State(api): State<Api>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let run = headers["idempotency-key"].to_str().expect("an id").to_owned();
    let number = {
        let mut calls = api.0.lock().expect("no panics");
        let number = calls.entry(run.clone()).or_default();
        *number += 1;
        *number
    };
    let text = body["messages"][0]["content"].as_str().expect("a text");
    if text.contains("wobbly") && number == 1 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if text.contains("slow") {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let message = json!({"role": "assistant", "content": format!("{run} {number}")});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    Json(json!({"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}))
        .into_response()
}

async fn start() -> (Api, Host) {
    let api = Api::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(api.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let provider = format!("fake: {{type: openai_compatible, base_url: \"http://{address}/v1\", model: m}}");
    let strict = "guardrails:\n  strict:\n    component: builtin:sensitive-topic\n    settings: {phrases: [\"forbidden\"], action: block}";
    let route = "default: {provider: fake, backoff: {first: 10ms}}\n  acts: {provider: fake, on_unknown: error}";
    let config = config("none")
        .replace(r#"fake: {type: fake, response: "the reply"}"#, &provider)
        .replace("guardrails:", strict)
        .replace("{ingress: [sensitive-topic]}", "{ingress: [strict, sensitive-topic], egress: [strict]}")
        .replace("default: {provider: fake}", route);
    (api, Host::start(&config).await)
}

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Allowed,
    Wobbly,
    Slow,
    Behind,
    Acts,
    Paused,
    Blocked,
}

const KINDS: [Kind; 8] = [Kind::Allowed, Kind::Wobbly, Kind::Slow, Kind::Behind, Kind::Acts, Kind::Paused, Kind::Paused, Kind::Blocked];

/// A request, and what its client knows of it.
#[derive(Clone)]
struct Asked {
    number: u64,
    kind: Kind,
    run: Option<String>,
    paused: bool,
    /// Whether the decision was sent, and whether the client was told that it counted.
    decided: Option<bool>,
    /// Once the client was told that it is over: how, and how often the API had been asked by then.
    over: Option<(Value, usize)>,
}

impl Asked {
    fn body(&self) -> Value {
        let text = match self.kind {
            Kind::Paused => "financial advice, slow",
            Kind::Blocked => "forbidden",
            Kind::Wobbly => "wobbly",
            Kind::Slow | Kind::Behind | Kind::Acts => "slow",
            Kind::Allowed => "hello",
        };
        json!({
            "messages": [{"role": "user", "content": text}],
            "route": if self.kind == Kind::Acts { "acts" } else { "default" },
            "background": self.kind == Kind::Behind,
            "metadata": {"number": self.number.to_string()},
        })
    }

    /// Some clients do not name their requests, and never know what became of those without an answer.
    fn name(&self) -> Option<String> {
        (!self.number.is_multiple_of(4)).then(|| format!("request-{}", self.number))
    }

    fn choice(&self) -> &'static str {
        if self.number.is_multiple_of(3) { "denied" } else { "approved" }
    }
}

/// All that clients know, and what they talk to.
struct World {
    api: Api,
    book: Mutex<Vec<Asked>>,
    client: reqwest::Client,
}

impl World {
    fn book(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.book.lock().expect("no panics")
    }

    /// Nothing when the host is gone.
    async fn post(&self, url: &str, path: &str, name: Option<String>, body: Value) -> Option<(u16, Value)> {
        let request = self.client.post(format!("{url}{path}")).body(body.to_string()).timeout(Duration::from_secs(40));
        let request = name.map_or_else(
            || request.try_clone().expect("a text"),
            |name| request.try_clone().expect("a text").header("Idempotency-Key", name),
        );
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    /// Sends a request, for the first time or again.
    async fn submit(&self, url: &str, asked: &Asked) -> Option<()> {
        let (status, run) = self.post(url, "/v1/runs", asked.name(), asked.body()).await?;
        match status {
            200 => self.told(asked.number, &run),
            503 => {}
            _ => panic!("{status} for {:?}: {run}", asked.kind),
        }
        Some(())
    }

    async fn decide(&self, url: &str, asked: &Asked) -> Option<()> {
        self.book()[asked.number as usize].decided.get_or_insert(false);
        let path = format!("/v1/runs/{}/resume", asked.run.as_deref().expect("it was told to be paused"));
        let name = format!("decision-{}", asked.number);
        let (status, run) = self.post(url, &path, Some(name), json!({"decision": asked.choice()})).await?;
        match status {
            200 => {
                self.book()[asked.number as usize].decided = Some(true);
                self.told(asked.number, &run);
            }
            503 => {}
            _ => panic!("{status} for a decision: {run}"),
        }
        Some(())
    }

    /// A client is told how a run stands: the one that it was told of before, and what is over stays as it is.
    fn told(&self, number: u64, run: &Value) {
        let id = run["run_id"].as_str().expect("an id").to_owned();
        let end = json!([run["status"], run["response"], run["error"]["code"]]);
        let calls = self.api.calls(&id);
        let asked = &mut self.book()[number as usize];
        let known = asked.run.get_or_insert_with(|| id.clone());
        assert_eq!(*known, id, "request {number} has made two runs");
        if let Some((before, calls_before)) = &asked.over {
            assert_eq!((before, *calls_before), (&end, calls), "run {id} was over: {run}");
        }
        match run["status"].as_str().expect("a status") {
            "paused" => asked.paused = true,
            "running" | "pending" => {}
            _ => asked.over = Some((end, calls)),
        }
    }

    fn next(&self, random: &mut Random) -> Asked {
        let mut book = self.book();
        let kind = KINDS[random.below(KINDS.len() as u64) as usize];
        let asked = Asked { number: book.len() as u64, kind, run: None, paused: false, decided: None, over: None };
        book.push(asked.clone());
        asked
    }

    /// One whose client may still decide.
    fn open(&self, random: &mut Random) -> Option<Asked> {
        let open: Vec<Asked> = self.book().iter().filter(|it| it.paused && it.decided != Some(true)).cloned().collect();
        (!open.is_empty()).then(|| open[random.below(open.len() as u64) as usize].clone())
    }

    /// Asks and decides until the host is gone.
    async fn load(self: Arc<Self>, url: String, mut random: Random) {
        loop {
            let open = if random.below(4) == 0 { self.open(&mut random) } else { None };
            let gone = match open {
                Some(asked) => self.decide(&url, &asked).await,
                None => self.submit(&url, &self.next(&mut random)).await,
            };
            if gone.is_none() {
                return;
            }
        }
    }
}

/// What must hold of a host that has come back and has had a moment.
impl World {
    async fn look(&self, host: &Host) {
        self.settle(host).await;
        // Whoever got no answer and named its request sends it again.
        let unsure: Vec<Asked> = self.book().iter().filter(|it| it.run.is_none() && it.name().is_some()).cloned().collect();
        for asked in unsure {
            self.submit(&host.url, &asked).await.expect("the host answers");
        }
        let some: Vec<Asked> = self.book().iter().rev().filter(|it| it.name().is_some()).step_by(7).take(5).cloned().collect();
        for asked in some {
            self.submit(&host.url, &asked).await.expect("the host answers");
        }
        self.settle(host).await;
        let runs = all(host).await;
        let book = self.book().clone();
        for asked in book {
            let Some(id) = &asked.run else { continue };
            let run = runs.get(id).unwrap_or_else(|| panic!("run {id} was acknowledged, and is lost"));
            self.told(asked.number, run);
            self.judge(&asked, run);
        }
        for id in self.api.0.lock().expect("no panics").keys() {
            assert!(runs.contains_key(id), "the API was asked for a run that there is not: {id}");
        }
        let check = host.aegis("", &["db", "check", "--json"]);
        assert!(check.status.success(), "{check:?}");
    }

    /// Nothing goes on without an end.
    async fn settle(&self, host: &Host) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let (_, page) = host.get("", "/v1/runs?status=running&limit=5").await;
            if page["data"] == json!([]) {
                return;
            }
            assert!(Instant::now() < until, "still running: {page}\n{}", host.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where a run may stand, and how often the API may have been asked for it.
    fn judge(&self, asked: &Asked, run: &Value) {
        let (status, calls) = (run["status"].as_str().expect("a status"), self.api.calls(run["run_id"].as_str().expect("an id")));
        let expected: &[&str] = match (asked.kind, asked.decided, asked.choice()) {
            (Kind::Blocked, ..) => &["blocked"],
            (Kind::Paused, None, _) => &["paused"],
            (Kind::Paused, Some(true), "denied") => &["denied"],
            (Kind::Paused, Some(false), "denied") => &["denied", "paused"],
            (Kind::Paused, Some(false), _) => &["completed", "error", "paused"],
            _ => &["completed", "error"],
        };
        assert!(expected.contains(&status), "{:?}, decided {:?} {}: {run}", asked.kind, asked.decided, asked.choice());
        let events: Vec<&str> = run["events"].as_array().expect("a list").iter().map(|it| it["type"].as_str().expect("a word")).collect();
        let attempts = events.iter().filter(|it| ["answered", "interrupted"].contains(it)).count();
        assert!(calls <= attempts, "{calls} calls, and the ledger tells of {attempts}: {run}");
        let most = if asked.kind == Kind::Acts { 1 } else { ATTEMPTS };
        assert!(calls <= most, "{calls} calls: {run}");
        match status {
            "completed" => {
                let response = run["response"].as_str().expect("a text");
                let (id, number) = response.split_once(' ').expect("a reply of the API");
                assert!(id == run["run_id"] && number.parse::<usize>().is_ok_and(|it| it <= calls), "{run}");
            }
            "error" => assert!(events.contains(&"interrupted") && (attempts == most), "only crashes bring runs to an end: {run}"),
            _ => assert_eq!(calls, 0, "{run}"),
        }
    }
}

/// Every run, by id.
async fn all(host: &Host) -> BTreeMap<String, Value> {
    let (mut all, mut after) = (BTreeMap::new(), String::new());
    loop {
        let (_, page) = host.get("", &format!("/v1/runs?limit=200&after={after}")).await;
        let runs = page["data"].as_array().expect("a list").iter();
        all.extend(runs.map(|run| (run["run_id"].as_str().expect("an id").to_owned(), run.clone())));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return all,
        }
    }
}

/// How many runs each request has made, by the client's own number in it.
async fn made(host: &Host, runs: impl Iterator<Item = &String>) -> BTreeMap<u64, u64> {
    let mut numbers = vec![];
    for run in runs {
        let (_, came_in) = host.get("", &format!("/v1/runs/{run}/content")).await;
        let number = came_in["content"]["metadata"]["number"].as_str().and_then(|it| it.parse().ok());
        numbers.push(number.unwrap_or_else(|| panic!("a number: {came_in}")));
    }
    numbers.into_iter().fold(BTreeMap::new(), |mut made, number: u64| {
        *made.entry(number).or_default() += 1;
        made
    })
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{name} has to be a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_at_any_moment_nothing_is_lost_and_nothing_happens_twice() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64;
    let seed = given("AEGIS_CRASH_SEED").unwrap_or_else(now);
    println!("AEGIS_CRASH_SEED={seed}");
    let (api, mut host) = start().await;
    let world = Arc::new(World { api, book: Mutex::default(), client: crate::host::client() });
    let mut random = Random(seed | 1);
    for round in 1..=given("AEGIS_CRASH_ROUNDS").unwrap_or(ROUNDS) {
        let clients = (0..CLIENTS).map(|_| tokio::spawn(world.clone().load(host.url.clone(), Random(random.below(u64::MAX) | 1))));
        let clients: Vec<_> = clients.collect();
        tokio::time::sleep(Duration::from_millis(20 + random.below(500))).await;
        host.kill();
        for client in clients {
            client.await.expect("no client was told anything wrong");
        }
        host = host.crash_and_restart().await;
        // Some are killed again while they take up what was left behind.
        if random.below(4) > 0 {
            world.look(&host).await;
        }
        println!("round {round}: {} requests", world.book().len());
    }
    world.look(&host).await;
    while let Some(asked) = world.open(&mut random) {
        world.decide(&host.url, &asked).await.expect("the host answers");
    }
    world.look(&host).await;
    let (made, book) = (made(&host, all(&host).await.keys()).await, world.book().clone());
    for asked in &book {
        let runs = made.get(&asked.number).copied().unwrap_or_default();
        let expected = if asked.run.is_some() { 1..=1 } else { 0..=1 };
        assert!(expected.contains(&runs), "request {} has made {runs} runs", asked.number);
    }
    let count = |what: &dyn Fn(&Asked) -> bool| book.iter().filter(|it| what(it)).count();
    let over = |word: &str| count(&|it| it.over.as_ref().is_some_and(|(end, _)| end[0] == word));
    let (completed, denied, blocked, failed) = (over("completed"), over("denied"), over("blocked"), over("error"));
    let calls: usize = world.api.0.lock().expect("no panics").values().sum();
    println!("{} requests, {calls} calls: {completed} completed, {denied} denied, {blocked} blocked, {failed} failed", book.len());
    assert!(completed > 10 && denied > 0 && blocked > 5, "the load is not mixed: {completed}, {denied}, {blocked}");
}
