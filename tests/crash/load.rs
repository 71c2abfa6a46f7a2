//! Clients that ask, decide, send again and give up, and write down all that they are told.

use super::api::Api;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Before a host that has not answered is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// Xorshift: this only has to differ.
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Another one, for somebody else.
    pub(super) fn other(&mut self) -> Random {
        Random::new(self.below(u64::MAX))
    }
}

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
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
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) run: Option<String>,
    /// The question, once the client was told of it.
    pub(super) question: Option<String>,
    /// Decisions that were sent, whatever became of them.
    pub(super) sent: BTreeSet<&'static str>,
    /// The one that clients were told has counted.
    pub(super) won: Option<String>,
    /// So often a decision was told to have counted just now.
    counted: usize,
    /// Once the client was told that it is over: how, and how often the API had been asked by then.
    pub(super) over: Option<(Value, usize)>,
}

/// How a decision is sent.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// With an `Idempotency-Key`: the same again is the same.
    Named,
    /// With the id of the question: the same again is no conflict.
    OnAQuestion,
    /// Counts once, and is refused from then on.
    Bare,
}

impl Asked {
    fn new(number: u64, kind: Kind) -> Asked {
        Asked { number, kind, run: None, question: None, sent: BTreeSet::new(), won: None, counted: 0, over: None }
    }

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
    pub(super) fn name(&self) -> Option<String> {
        (!self.number.is_multiple_of(4)).then(|| format!("request-{}", self.number))
    }

    /// What its client decides, as long as nobody decides against it.
    pub(super) fn choice(&self) -> &'static str {
        if self.number.is_multiple_of(3) { "denied" } else { "approved" }
    }

    fn form(&self) -> Form {
        [Form::Named, Form::OnAQuestion, Form::Bare][(self.number / 3 % 3) as usize]
    }

    /// The name and body of a decision.
    fn decision(&self, choice: &str) -> (Option<String>, Value) {
        match self.form() {
            Form::Named => (Some(format!("decision-{}-{choice}", self.number)), json!({"decision": choice})),
            Form::OnAQuestion => (None, json!({"decision": choice, "approval_id": self.question})),
            Form::Bare => (None, json!({"decision": choice})),
        }
    }
}

/// What clients are like.
pub(super) struct Load {
    pub(super) clients: u64,
    /// Between two requests of one of them, at most.
    pub(super) think: Duration,
    /// Whoever waits for longer gives up, and does not know what became of it.
    pub(super) patience: Duration,
}

/// All that clients know, and whom they talk to.
pub(super) struct World {
    pub(super) api: Api,
    book: Mutex<Vec<Asked>>,
    client: reqwest::Client,
    /// Where the hosts are now.
    hosts: Mutex<Vec<String>>,
    load: Load,
    stopped: AtomicBool,
    /// Requests that nobody has answered, and those that were answered by a 503.
    pub(super) unanswered: AtomicUsize,
    pub(super) refused: AtomicUsize,
    /// How long the slowest answer took, in milliseconds.
    pub(super) slowest: AtomicU64,
    /// Attempts of which the ledgers say that they were interrupted.
    pub(super) cut_off: AtomicUsize,
    /// So often two decisions that were sent at once were both answered.
    pub(super) races: AtomicUsize,
}

impl World {
    pub(super) fn new(api: Api, load: Load) -> Arc<World> {
        Arc::new(World {
            api,
            book: Mutex::default(),
            client: crate::host::client(),
            hosts: Mutex::default(),
            load,
            stopped: AtomicBool::default(),
            unanswered: AtomicUsize::default(),
            refused: AtomicUsize::default(),
            slowest: AtomicU64::default(),
            cut_off: AtomicUsize::default(),
            races: AtomicUsize::default(),
        })
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.book.lock().expect("no panics")
    }

    /// From here on the hosts are there.
    pub(super) fn find(&self, hosts: Vec<String>) {
        *self.hosts.lock().expect("no panics") = hosts;
    }

    /// Two of them, or twice the only one.
    fn hosts(&self, random: &mut Random) -> (String, String) {
        let hosts = self.hosts.lock().expect("no panics");
        let (first, count) = (random.below(hosts.len() as u64) as usize, hosts.len());
        (hosts[first].clone(), hosts[(first + 1) % count].clone())
    }

    /// Nothing when there was no answer.
    async fn post(&self, url: &str, path: &str, name: Option<String>, body: Value) -> Option<(u16, Value)> {
        let request = self.client.post(format!("{url}{path}")).body(body.to_string()).timeout(self.load.patience);
        let request = match name {
            Some(name) => request.header("Idempotency-Key", name),
            None => request,
        };
        let begun = Instant::now();
        let answer = async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.json().await?))
        };
        let answer = answer.await.ok();
        self.slowest.fetch_max(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        let counted = answer.as_ref().map_or(Some(&self.unanswered), |it| (it.0 == 503).then_some(&self.refused));
        if let Some(counted) = counted {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Sends a request, for the first time or again; gives the status of the answer.
    pub(super) async fn submit(&self, url: &str, asked: &Asked) -> Option<u16> {
        let (status, run) = self.post(url, "/v1/runs", asked.name(), asked.body()).await?;
        match status {
            200 => self.told(asked.number, &run),
            503 => {}
            _ => panic!("{status} for {:?}: {run}", asked.kind),
        }
        Some(status)
    }

    pub(super) async fn decide(&self, url: &str, asked: &Asked, choice: &'static str) -> Option<u16> {
        self.book()[asked.number as usize].sent.insert(choice);
        let path = format!("/v1/runs/{}/resume", asked.run.as_deref().expect("it was told to be paused"));
        let (name, body) = asked.decision(choice);
        let (status, said) = self.post(url, &path, name, body).await?;
        match status {
            200 => {
                self.won(asked.number, choice, 1);
                self.told(asked.number, &said);
            }
            409 => self.won(asked.number, said["error"]["decision"]["decision"].as_str().unwrap_or_else(|| panic!("{said}")), 0),
            503 => {}
            _ => panic!("{status} for a decision: {said}"),
        }
        Some(status)
    }

    /// Two decisions at the same moment, each at another host: the same, or one against the other.
    async fn race(&self, asked: &Asked, random: &mut Random) -> Option<u16> {
        let (one, other) = self.hosts(random);
        let against = if asked.choice() == "denied" { "approved" } else { "denied" };
        let second = if random.below(2) == 0 { asked.choice() } else { against };
        let ends = tokio::join!(self.decide(&one, asked, asked.choice()), self.decide(&other, asked, second));
        if let (Some(200 | 409), Some(200 | 409)) = ends {
            self.races.fetch_add(1, Ordering::Relaxed);
        }
        ends.0.or(ends.1)
    }

    /// A client is told which decision has counted: there is only one.
    fn won(&self, number: u64, choice: &str, counted: usize) {
        let asked = &mut self.book()[number as usize];
        assert!(asked.sent.contains(choice), "nobody has sent {choice} for {:?}", asked.run);
        let known = asked.won.get_or_insert_with(|| choice.to_owned());
        assert_eq!(known, choice, "two decisions on run {:?} have counted", asked.run);
        asked.counted += counted;
        assert!(asked.form() != Form::Bare || asked.counted <= 1, "a decision on run {:?} has counted twice", asked.run);
    }

    /// A client is told how a run stands: the one that it was told of before, and what is over stays as it is.
    pub(super) fn told(&self, number: u64, run: &Value) {
        let id = run["run_id"].as_str().expect("an id").to_owned();
        let end = json!([run["status"], run["response"], run["error"]["code"]]);
        let calls = self.api.calls(&id);
        let asked = &mut self.book()[number as usize];
        let known = asked.run.get_or_insert_with(|| id.clone());
        assert_eq!(*known, id, "request {number} has made two runs");
        if let Some((before, calls_before)) = &asked.over {
            // A host that was held still may ask late: as an attempt of which the ledger says that it was interrupted.
            let alone = self.hosts.lock().expect("no panics").len() == 1;
            assert!(
                *before == end && (*calls_before == calls || !alone),
                "run {id} was over: {before}, {calls_before} calls, and {calls}: {run}"
            );
        }
        match run["status"].as_str().expect("a status") {
            "paused" => asked.question = Some(run["approval"]["id"].as_str().expect("a question").to_owned()),
            "running" | "pending" => {}
            _ => asked.over = Some((end, calls)),
        }
    }

    pub(super) fn next(&self, kind: Kind) -> Asked {
        let mut book = self.book();
        let asked = Asked::new(book.len() as u64, kind);
        book.push(asked.clone());
        asked
    }

    /// One whose client may still decide.
    pub(super) fn open(&self, random: &mut Random) -> Option<Asked> {
        let open: Vec<Asked> = self.book().iter().filter(|it| it.question.is_some() && it.won.is_none()).cloned().collect();
        (!open.is_empty()).then(|| open[random.below(open.len() as u64) as usize].clone())
    }

    /// Clients that go on until they are stopped.
    pub(super) fn load(self: &Arc<Self>, random: &mut Random) -> Vec<JoinHandle<()>> {
        self.stopped.store(false, Ordering::Relaxed);
        (0..self.load.clients).map(|_| tokio::spawn(self.clone().client(random.other()))).collect()
    }

    pub(super) async fn stop(&self, clients: Vec<JoinHandle<()>>) {
        self.stopped.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.expect("no client was told anything wrong");
        }
    }

    async fn client(self: Arc<Self>, mut random: Random) {
        while !self.stopped.load(Ordering::Relaxed) {
            if self.step(&mut random).await.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
            tokio::time::sleep(self.load.think * random.below(1_000) as u32 / 1_000).await;
        }
    }

    async fn step(&self, random: &mut Random) -> Option<u16> {
        let open = if random.below(4) == 0 { self.open(random) } else { None };
        let ((one, other), both) = (self.hosts(random), random.below(4) == 0);
        match open {
            Some(asked) if both => self.race(&asked, random).await,
            Some(asked) => self.decide(&one, &asked, asked.choice()).await,
            None => {
                let asked = self.next(KINDS[random.below(KINDS.len() as u64) as usize]);
                if both && asked.name().is_some() {
                    let ends = tokio::join!(self.submit(&one, &asked), self.submit(&other, &asked));
                    return ends.0.or(ends.1);
                }
                self.submit(&one, &asked).await
            }
        }
    }
}
