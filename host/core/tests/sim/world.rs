//! One world: two runs, up to three hosts, a store with compare-and-set, people, a provider, and clocks that jump.

mod hosts;

use crate::coverage::{Coverage, names};
use crate::dice::Dice;
use crate::guards::{Scene, as_handed, edits, lists};
use crate::scene::{message, people, plan, request};
use crate::truth::{Asked, How, Mile, Truth, excluded, reachable, strings};
use aegis_core::{
    Answer, ApprovalId, Choice, Commit, Decision, Digest, Edit, Entry, Event, Fact, Failure, Finish, Guard, GuardFailure, Message, Missing,
    Mode, OnFailure, OnUnknown, Outcome, Phase, Place, Plan, Principal, ProviderFailure, Refused, Report, Request, Role, Ruling, Run,
    RunId, Stage, Status, Time, Unproved, Usage, Verdict, Want, replay,
};
use hosts::{Host, MOST, Seats};
use std::collections::{BTreeMap, BTreeSet};

/// A run and what the world knows of it, in the hands of a driver or in the store.
#[derive(Clone)]
struct Held {
    run: Run,
    truth: Truth,
    /// The provider was asked by this driver and has not answered yet.
    asked: bool,
    /// Answers that were taken in, to be sent again.
    old: Vec<Event>,
    /// The last commit, where it is not known whether the store has taken it.
    unanswered: Option<Commit>,
}

struct Stored {
    held: Held,
    bytes: Vec<u8>,
    version: u64,
    entries: Vec<Entry>,
    /// The seat from which it was committed or claimed last.
    owner: u64,
}

/// The store did not take a commit: somebody else was faster, or its host has no seat any more.
struct Late;

/// A decision that was checked, and what it said.
#[derive(Clone)]
struct Proof {
    decision: Decision,
    who: Principal,
    approval: ApprovalId,
    choice: Choice,
    comment: Option<String>,
    edits: Vec<Edit>,
}

/// One run of the world: what was asked, and what really happened, whatever anybody remembers.
struct Case {
    plan: Plan,
    request: Request,
    creator: Principal,
    stored: Option<Stored>,
    /// One a host.
    hands: [Option<Held>; MOST],
    calls: u32,
    /// Attempts that were made.
    attempts: BTreeSet<u32>,
    /// Decisions that were checked and not sent in at once.
    proofs: Vec<Proof>,
    released: Option<Message>,
    poked: u32,
}

pub(crate) struct World {
    dice: Dice,
    seats: Seats,
    hosts: Vec<Host>,
    /// Which of them acts, and what time it is to it.
    host: usize,
    now: u64,
    /// The process of the acting host ends.
    down: bool,
    /// Hosts also take up what nobody has handed to them.
    strays: bool,
    salt: [u8; 32],
    cases: Vec<Case>,
    /// Digest to what it is of, and back.
    digests: BTreeMap<Digest, String>,
    contents: BTreeMap<String, Digest>,
    seen: Coverage,
    /// From here on nothing fails any more, so that every run can end.
    calm: bool,
}

/// What becomes of what a driver holds.
#[derive(PartialEq)]
enum Next {
    Keep,
    Drop,
}

impl World {
    pub(crate) fn run(seed: u64) -> Coverage {
        let mut dice = Dice::new(seed);
        let now = 10_000_000 + dice.roll(1_000);
        let mut world = World {
            salt: [dice.roll(255) as u8; 32],
            seats: Seats::new(now),
            hosts: (0..1 + dice.index(MOST)).map(|_| Host::new(&mut dice)).collect(),
            host: 0,
            now,
            down: false,
            strays: dice.one_in(2),
            dice,
            cases: vec![],
            digests: BTreeMap::new(),
            contents: BTreeMap::new(),
            seen: Coverage::default(),
            calm: false,
        };
        world.begin();
        // Early in some worlds: what nobody drives must not wait for the next crash.
        let calm_from = [40, 300, 300][world.dice.index(3)];
        for turn in 0.. {
            assert!(turn < 2_000, "a run does not end");
            world.calm = turn > calm_from;
            world.time_passes();
            world.claims_arrive();
            world.hearts_beat();
            let open: Vec<usize> = (0..world.cases.len()).filter(|it| world.cases[*it].is_open()).collect();
            if open.is_empty() {
                break;
            }
            let case = *world.dice.pick(&open);
            world.turn(case);
        }
        world.at_the_end();
        world.seen
    }

    fn begin(&mut self) {
        self.all_join();
        let plan = plan(&mut self.dice);
        let request = request(&mut self.dice);
        let creator = self.dice.pick(&people()).clone();
        self.create(plan.clone(), request.clone(), creator.clone());
        if self.dice.one_in(4) {
            // A neighbour that differs in one thing only: nothing that holds of one may hold of the other.
            let mut plan = plan;
            match self.dice.roll(3) {
                0 => plan.route += "-2",
                1 => plan.attempts += 1,
                _ => plan.pipeline.ingress.iter_mut().chain(&mut plan.pipeline.egress).for_each(|it| it.settings = Digest::of(b"other")),
            }
            self.create(plan, request, creator);
        }
        self.bury_if_down();
    }

    fn create(&mut self, plan: Plan, request: Request, creator: Principal) {
        let id = RunId::new(Time(self.now), [self.cases.len() as u8; 10]);
        let bad = Stage::ALL.iter().flat_map(|it| plan.pipeline.at(*it)).any(|guard| {
            !reachable(
                &[strings(&guard.approval.approvers), strings(&request.approvers)],
                guard.approval.required,
                excluded(&guard.approval, &creator),
            )
        });
        let make = |salt| Run::new(id, plan.clone(), request.clone(), creator.clone(), false, salt, Time(self.now));
        let (made, other) = (make(self.salt), make([255; 32]));
        assert_eq!(made.is_err(), bad, "lists of approvers that can never be satisfied are refused, others not");
        let (Ok(run), Ok(other)) = (made, other) else { return self.seen.hit("approvers out of reach") };
        assert_ne!(run.content(Stage::Ingress), other.content(Stage::Ingress), "whoever has no salt can guess a digest");
        let truth = Truth::new(&plan, &request, self.now);
        let held = Held { run, truth, asked: false, old: vec![], unanswered: None };
        let mut case = Case {
            plan,
            request,
            creator,
            stored: None,
            hands: [const { None }; MOST],
            calls: 0,
            attempts: BTreeSet::new(),
            proofs: vec![],
            released: None,
            poked: 0,
        };
        self.compare(&case, &held);
        case.hands[self.host] = self.commit_if_needed(&mut case, held);
        self.cases.push(case);
    }

    fn crash(&mut self, one_in: u64, name: &'static str) -> bool {
        let crash = !self.calm && self.dice.one_in(one_in);
        if crash {
            self.seen.hit(name);
            self.down = true;
        }
        crash
    }

    fn bury_if_down(&mut self) {
        if std::mem::take(&mut self.down) {
            self.die(self.host);
        }
    }

    fn turn(&mut self, index: usize) {
        let Some(host) = self.pick_host(index) else { return };
        if self.dice.one_in(3) {
            self.claim(None);
        }
        // Taken out, so that the world and the case can be changed independently.
        let mut case = self.cases.swap_remove(index);
        let held = case.hands[host].take().or_else(|| self.take_up(&mut case));
        if let Some(held) = held.filter(|_| !self.crash(40, "crash before a step")) {
            case.hands[host] = self.step(&mut case, held);
        }
        self.cases.push(case);
        self.bury_if_down();
        self.check_owners();
    }

    /// What the driver holds after it.
    fn step(&mut self, case: &mut Case, mut held: Held) -> Option<Held> {
        if let Some(commit) = held.unanswered.take() {
            assert_eq!(held.run.commit_again(), commit, "what is tried again is what was tried");
            return self.write(case, held, commit, true);
        }
        let goes_on = self.act(case, &mut held) == Next::Keep && !self.crash(40, "crash after a step");
        if goes_on { self.commit_if_needed(case, held) } else { None }
    }

    /// A driver fetches a run. One in `Calling` it did not put there itself: the call may have been made.
    fn take_up(&mut self, case: &mut Case) -> Option<Held> {
        if !self.takes(case) {
            return None;
        }
        let stored = case.stored.as_ref()?;
        let run = Run::decode(&stored.bytes).expect("what was committed can be read");
        assert_eq!(run, stored.held.run, "decode gives back what was encoded");
        let mut held = Held { run, asked: false, ..stored.held.clone() };
        self.seen.hit("taken up");
        if let Phase::Calling { attempt } = held.truth.phase {
            let now = self.now;
            self.accept(case, &mut held, Event::Interrupted, now);
            held.truth.phase = match case.plan.on_unknown {
                OnUnknown::Retry if attempt < case.plan.attempts => Phase::Calling { attempt: attempt + 1 },
                _ => Phase::Done(Outcome::Failed(Failure::OutcomeUnknown)),
            };
            self.told(&held, &Fact::Interrupted { attempt });
            self.compare(case, &held);
            return self.commit_if_needed(case, held);
        }
        Some(held)
    }

    /// Lets a driver do what the run wants, or something that does not fit.
    fn act(&mut self, case: &mut Case, held: &mut Held) -> Next {
        if self.dice.one_in(8) {
            self.noise(held);
        }
        if !matches!(held.truth.phase, Phase::Awaiting { .. }) && self.dice.one_in(8) {
            assert!(self.decide(case, held).is_none(), "decided where nothing is asked");
            if let Some(proof) = case.proofs.last() {
                let (decision, now) = (proof.decision.clone(), self.now);
                self.refuse(held, Event::Decided(decision), now);
            }
        }
        if !self.calm && !matches!(held.truth.phase, Phase::Done(_)) && self.dice.one_in(120) {
            self.end(case, held);
            return Next::Keep;
        }
        match held.truth.phase.clone() {
            Phase::Judging { stage, guard } => self.judge(case, held, stage, guard),
            Phase::Calling { attempt } => return self.call(case, held, attempt),
            Phase::Awaiting { .. } => return self.people(case, held),
            Phase::Backoff { attempt, until } => self.wait(case, held, attempt, until),
            Phase::Done(_) => {
                for _ in 0..2 {
                    self.noise(held);
                }
                case.poked += 1;
                return Next::Drop;
            }
        }
        Next::Keep
    }

    /// The event is taken in. What it does to the phase is for the caller to foresee.
    fn accept(&mut self, case: &Case, held: &mut Held, event: Event, now: u64) {
        held.run.handle(event.clone(), Time(now)).unwrap_or_else(|refused| panic!("{event:?} was refused: {refused}"));
        held.truth.updated = held.truth.updated.max(now);
        held.truth.entries += 1;
        held.truth.decided_last = matches!(event, Event::Decided(_));
        held.asked = false;
        if matches!(event, Event::Judged { .. } | Event::Answered { .. }) {
            held.old.push(event);
        }
        assert_eq!(held.run.history().len(), held.truth.entries, "one event makes one entry");
        assert!(case.stored.is_none() || held.truth.version > 0);
    }

    /// The event is refused, and nothing has changed.
    fn refuse(&mut self, held: &mut Held, event: Event, now: u64) {
        let before = held.run.clone();
        let refused = held.run.handle(event.clone(), Time(now));
        assert_eq!(refused, Err(Refused::Illegal), "{event:?} at {:?}", before.phase());
        assert_eq!(held.run, before, "a refused event changes nothing: {event:?}");
        self.seen.hit("refused: Illegal");
    }

    /// What the last entry says.
    fn told(&self, held: &Held, fact: &Fact) {
        assert_eq!(&held.run.history().last().expect("it has a history").fact, fact, "the ledger says what happened");
    }

    fn noise(&mut self, held: &mut Held) {
        let step = held.truth.entries as u64;
        let judged = |step: u64| Event::Judged { step, result: Ok(Report::of(Verdict::Allow)) };
        let answered = |step: u64| Event::Answered { step, result: Err(ProviderFailure::Permanent { message: "x".into() }) };
        let other = step - 1 + 2 * self.dice.roll(2);
        let by = people()[4].clone();
        let mut events = vec![judged(other), answered(other)];
        let now = self.now;
        match held.truth.phase {
            Phase::Judging { .. } => events.extend([answered(step), Event::Interrupted, Event::TimePassed]),
            Phase::Calling { .. } => events.extend([judged(step), Event::TimePassed]),
            Phase::Awaiting { expires_at, .. } => {
                events.extend([judged(step), answered(step), Event::Interrupted]);
                events.extend((held.truth.time(now) < expires_at).then_some(Event::TimePassed));
            }
            Phase::Backoff { until, .. } => {
                events.extend([judged(step), answered(step), Event::Interrupted]);
                events.extend((held.truth.time(now) < until).then_some(Event::TimePassed));
            }
            Phase::Done(_) => {
                events.extend([judged(step), answered(step), Event::Interrupted, Event::TimePassed]);
                events.extend([Event::Cancelled { by }, Event::Lost(Missing::Provider("main".into()))]);
            }
        }
        events.extend(held.old.iter().cloned());
        let event = events.swap_remove(self.dice.index(events.len()));
        self.refuse(held, event, now);
    }

    /// Somebody cancels, or what the plan names is gone.
    fn end(&mut self, case: &Case, held: &mut Held) {
        let now = self.now;
        let by = self.dice.pick(&people()).clone();
        let (event, fact, outcome) = match self.dice.roll(3) {
            0 => {
                let missing = self
                    .dice
                    .pick(&[Missing::Guard("g0".into()), Missing::Provider("main".into()), Missing::OtherProvider("main".into())])
                    .clone();
                (Event::Lost(missing.clone()), Fact::Lost { missing: missing.clone() }, Outcome::Failed(Failure::Missing(missing)))
            }
            _ => (Event::Cancelled { by: by.clone() }, Fact::Cancelled { by: by.id.clone() }, Outcome::Cancelled { by: by.id }),
        };
        self.accept(case, held, event, now);
        held.truth.phase = Phase::Done(outcome);
        self.told(held, &fact);
        self.compare(case, held);
    }

    fn judge(&mut self, case: &Case, held: &mut Held, stage: Stage, index: usize) {
        let guard = case.plan.pipeline.at(stage)[index].clone();
        let view = held.truth.view(stage, &guard);
        self.check_input(case, held, stage, index, &view);
        let scene = Scene { truth: &held.truth, stage, guard: &guard, view: &view, request: &case.request, creator: &case.creator };
        let said = scene.says(&mut self.dice);
        let step = held.truth.entries as u64;
        let result = said.as_ref().map_err(Clone::clone).map(|it| as_handed(&it.whole, &view));
        let now = self.now;
        self.accept(case, held, Event::Judged { step, result }, now);
        let before = held.truth.content;
        let ruling = match said {
            Ok(said) if said.sound => self.ruled(case, held, stage, index, said.whole.clone()),
            said => self.failed(case, held, stage, index, said.err()),
        };
        let findings = match &held.run.history().last().expect("it has a history").fact {
            Fact::Judged { findings, .. } => findings.clone(),
            other => panic!("a judgement is recorded as {other:?}"),
        };
        let Guard { name, component, settings, .. } = guard.clone();
        self.told(held, &Fact::Judged { stage, guard: name, component, settings, ruling, findings });
        assert!(held.truth.content >= before);
        self.compare(case, held);
    }

    /// What the world expects of a sound report.
    fn ruled(&mut self, case: &Case, held: &mut Held, stage: Stage, index: usize, said: Report) -> Ruling {
        let guard = &case.plan.pipeline.at(stage)[index];
        let truth = &mut held.truth;
        let (view, before) = (truth.view(stage, guard), truth.content);
        let Fact::Judged { findings, .. } = &held.run.history().last().expect("it has a history").fact else { panic!("not a judgement") };
        assert_eq!(findings, &said.findings, "the evidence is recorded, as places of the whole conversation");
        if let Some(memory) = said.memory {
            truth.memory.insert(guard.name.clone(), memory);
        }
        if guard.mode == Mode::Monitor {
            truth.holds(guard, &view);
            truth.pass(&case.plan, stage, index, How::Monitored, before);
            let (word, why) = match said.verdict {
                Verdict::Allow => ("allow", None),
                Verdict::Sanitize(edits) => ("sanitize", Some(format!("{} edits", edits.len()))),
                Verdict::Block(why) => ("block", Some(why)),
                Verdict::RequireApproval(question) => ("require_approval", Some(question.prompt)),
            };
            let words = why.map(|why| self.witness_words(held, why));
            return Ruling::Monitored { said: word.into(), words };
        }
        truth.labels.extend(said.labels);
        match said.verdict {
            Verdict::Allow => {
                truth.holds(guard, &view);
                truth.pass(&case.plan, stage, index, How::Allowed, before);
                Ruling::Allow
            }
            Verdict::Sanitize(edits) => {
                truth.edit(&edits);
                truth.holds(guard, &view);
                truth.pass(&case.plan, stage, index, How::Sanitized, before);
                Ruling::Sanitize { edits: edits.len() as u32, content: held.run.content(stage) }
            }
            Verdict::Block(why) => {
                truth.phase = Phase::Done(Outcome::Blocked { stage, guard: guard.name.clone(), failure: None });
                assert_eq!(held.run.why_blocked().as_ref(), Some(&why), "the caller is told the guard's reason");
                Ruling::Block { words: self.witness_words(held, why) }
            }
            Verdict::RequireApproval(question) => {
                let asked = Asked {
                    id: ApprovalId { run: held.run.id(), number: truth.asked.len() as u32 + 1 },
                    stage,
                    guard: index,
                    lists: lists(guard, &case.request, &question.approvers),
                    required: guard.approval.required.max(question.required).max(1),
                    excluded: excluded(&guard.approval, &case.creator).map(String::from),
                    expires: truth.updated + guard.approval.expires_after,
                    digest: held.run.approvals().last().expect("it has asked").digest,
                    decided: vec![],
                };
                let (approval, digest, required, expires_at) = (asked.id, asked.digest, asked.required, Time(asked.expires));
                truth.phase = Phase::Awaiting { stage, guard: index, approval, missing: required, expires_at };
                truth.asked.push(asked);
                self.witness_question(case, held, stage, index);
                let words = self.witness_words(held, question.prompt);
                Ruling::RequireApproval { approval, digest, words, required, expires_at }
            }
        }
    }

    /// What the world expects of a guard that failed, or broke the contract.
    fn failed(&mut self, case: &Case, held: &mut Held, stage: Stage, index: usize, failure: Option<GuardFailure>) -> Ruling {
        let guard = &case.plan.pipeline.at(stage)[index];
        let truth = &mut held.truth;
        let last = held.run.history().last().expect("it has a history");
        let Fact::Judged { ruling, findings, .. } = &last.fact else { panic!("not a judgement") };
        assert!(findings.is_empty(), "a guard that failed has found nothing");
        self.seen.hit(if failure.is_some() { "guard fails" } else { "guard breaks the contract" });
        let before = truth.content;
        if guard.mode == Mode::Monitor {
            let why = failure.map_or_else(|| held.run.words(last).expect("it says so").to_owned(), |it| it.to_string());
            truth.pass(&case.plan, stage, index, How::Monitored, before);
            return Ruling::Monitored { said: "failed".into(), words: Some(self.witness_words(held, why)) };
        }
        let broke = || match held.run.failure(last) {
            Some(failure @ GuardFailure::Contract(_)) => failure,
            _ => panic!("a broken contract is {ruling:?}"),
        };
        let failure = failure.unwrap_or_else(broke);
        assert_eq!(held.run.failure(last).as_ref(), Some(&failure), "the failure is kept with its words");
        let passed = guard.on_failure == OnFailure::Allow;
        if passed {
            truth.pass(&case.plan, stage, index, How::FailedButAllowed, before);
        } else {
            truth.phase = Phase::Done(Outcome::Blocked { stage, guard: guard.name.clone(), failure: Some(failure.kind()) });
            assert_eq!(held.run.why_blocked(), Some(failure.to_string()), "the caller is told how the guard failed");
        }
        let words = failure.words().map(|words| self.witness_words(held, words.to_owned()));
        Ruling::Failed { kind: failure.kind(), words, passed }
    }

    fn call(&mut self, case: &mut Case, held: &mut Held, attempt: u32) -> Next {
        if !held.asked {
            self.ask_provider(case, held, attempt);
            return if self.crash(6, "crash during a call") { Next::Drop } else { Next::Keep };
        }
        let step = held.truth.entries as u64;
        let result = self.provider_says();
        let now = self.now;
        self.accept(case, held, Event::Answered { step, result: result.clone() }, now);
        let finish = match result {
            Ok(answer) => {
                held.truth.answered(answer.message);
                held.truth.go_on(&case.plan, Mile::Call);
                Finish::Reply { content: held.run.content(Stage::Egress), usage: answer.usage }
            }
            Err(ProviderFailure::Permanent { message }) => Finish::Failed { message },
            Err(ProviderFailure::Transient { message, retry_after, jitter }) => match pause(&case.plan, attempt, retry_after, jitter) {
                Some(pause) if attempt < case.plan.attempts => {
                    let until = Time(held.truth.updated + pause);
                    held.truth.phase = Phase::Backoff { attempt: attempt + 1, until };
                    Finish::Retry { message, until }
                }
                _ => Finish::Failed { message },
            },
        };
        if let Finish::Failed { message } = &finish {
            held.truth.phase = Phase::Done(Outcome::Failed(Failure::Provider(message.clone())));
        }
        self.told(held, &Fact::Answered { attempt, finish });
        self.compare(case, held);
        Next::Keep
    }

    /// The provider really is asked: from here on nobody can make it undone.
    fn ask_provider(&mut self, case: &mut Case, held: &mut Held, attempt: u32) {
        let Want::Provider(call) = held.run.wants() else { panic!("a run in Calling wants {:?}", held.run.wants()) };
        assert_eq!((call.step, call.attempt), (held.truth.entries as u64, attempt));
        assert_eq!(call.messages, held.truth.messages, "the provider gets what the guards left");
        assert_eq!(call.tools, held.truth.tools, "the provider gets the tools that the guards left");
        assert_eq!((call.params, call.idempotency_key), (&case.request.params, held.run.id()));
        assert_eq!((call.provider, call.model), (case.plan.provider.as_str(), case.plan.model.as_str()));
        assert_eq!(call.provider_is, case.plan.provider_is);
        assert_eq!(held.truth.committed, held.truth.entries, "the call is durable before it is made");
        held.truth.all_judged(&case.plan, [Stage::Ingress, Stage::ToolResult], 0);
        case.calls += 1;
        assert!(case.calls <= case.plan.attempts, "{} calls of at most {}", case.calls, case.plan.attempts);
        assert!(case.attempts.insert(attempt), "attempt {attempt} is made twice");
        held.asked = true;
        self.seen.hit("called");
    }

    fn provider_says(&mut self) -> Result<Answer, ProviderFailure> {
        match self.dice.roll(8) {
            0 => Err(ProviderFailure::Permanent { message: "refused".into() }),
            1..4 => Err(ProviderFailure::Transient {
                message: "busy".into(),
                retry_after: [None, None, Some(0), Some(300), Some(9_000)][self.dice.index(5)],
                jitter: self.dice.roll(1_100) as u16,
            }),
            _ => {
                let usage = Usage { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
                Ok(Answer { message: message(&mut self.dice, Role::Assistant), finish_reason: Some("stop".into()), usage })
            }
        }
    }

    fn wait(&mut self, case: &Case, held: &mut Held, attempt: u32, until: Time) {
        assert_eq!(held.run.wants(), Want::Wait(until));
        let now = self.now;
        if held.truth.time(now) < until {
            return self.refuse(held, Event::TimePassed, now);
        }
        self.accept(case, held, Event::TimePassed, now);
        held.truth.phase = Phase::Calling { attempt };
        self.told(held, &Fact::Resumed { attempt });
        self.compare(case, held);
    }

    /// People decide, rightly and wrongly, or time does.
    fn people(&mut self, case: &mut Case, held: &mut Held) -> Next {
        let open = held.truth.open().expect("it waits").clone();
        assert!(matches!(held.run.wants(), Want::Approval(approval) if open.is(approval)), "what is asked is what the world saw asked");
        let now = self.now;
        if held.truth.time(now).0 >= open.expires {
            assert!(self.decide(case, held).is_none(), "decided after the question expired");
            self.accept(case, held, Event::TimePassed, now);
            held.truth.phase = Phase::Done(Outcome::Denied { approval: open.id, by: None, comment: None });
            self.told(held, &Fact::Expired { approval: open.id });
            self.compare(case, held);
            return Next::Keep;
        }
        if !case.proofs.is_empty() && self.dice.one_in(3) {
            let proof = case.proofs.swap_remove(self.dice.index(case.proofs.len()));
            self.send_decision(case, held, proof);
            return Next::Keep;
        }
        if let Some(proof) = self.decide(case, held) {
            if self.dice.one_in(5) {
                case.proofs.push(proof.clone());
            }
            if self.dice.one_in(20) {
                case.proofs.push(proof);
                return Next::Drop;
            }
            // Between the check and the event time may pass.
            self.time_passes();
            self.send_decision(case, held, proof);
        }
        Next::Keep
    }

    /// Somebody tries to decide: the world foresees the answer.
    fn decide(&mut self, case: &Case, held: &Held) -> Option<Proof> {
        let (truth, now) = (&held.truth, self.now);
        let who = self.dice.pick(&people()).clone();
        let choice = if self.dice.one_in(6) { Choice::Denied } else { Choice::Approved };
        let id = |number: u32| ApprovalId { run: held.run.id(), number };
        let latest = truth.asked.len() as u32;
        let approval = match self.dice.roll(8) {
            0 | 1 => None,
            2 => Some(id(1 + self.dice.roll(u64::from(latest) + 1) as u32)),
            _ => Some(id(latest)),
        };
        let digest = match (self.dice.roll(8), truth.asked.last()) {
            (0, _) => Some(Digest::of(b"something else")),
            (1..5, Some(asked)) => Some(asked.digest),
            _ => None,
        };
        let comment = [None, Some("fine"), Some("  ")][self.dice.index(3)].map(String::from);
        let stage = truth.asked.last().map_or(Stage::Ingress, |it| it.stage);
        let everything: Vec<usize> = (0..truth.messages.len() + usize::from(truth.reply.is_some())).collect();
        let mut sound = true;
        let edits = match self.dice.roll(6) {
            0 if !self.calm => edits(&mut self.dice, truth, stage, &everything),
            1 => {
                sound = false;
                self.bad_edits(truth, stage, &everything)
            }
            _ => vec![],
        };
        let foreseen = foresee(case, truth, &who, choice, approval, digest, sound, now);
        let answer = held.run.decide(&who, choice, approval, digest, comment.clone(), edits.clone(), Time(now));
        let said = answer.as_ref().map(|_| "counts").unwrap_or_else(|it| names::refused(it));
        assert_eq!(said, foreseen, "{} says {choice:?} on {approval:?} at {:?}: {answer:?}", who.id, truth.phase);
        self.seen.hit(said);
        let comment = comment.filter(|it| it != "  ");
        answer.ok().map(|decision| Proof { decision, who, approval: id(latest), choice, comment, edits })
    }

    fn bad_edits(&mut self, truth: &Truth, stage: Stage, view: &[usize]) -> Vec<Edit> {
        let texts = truth.texts();
        let forbidden = texts.iter().find(|it| !truth.may_edit(stage, view, it.0)).map(|it| it.0);
        let at = forbidden.filter(|_| self.dice.one_in(2)).unwrap_or(Place::Part { message: 99, part: 0 });
        vec![Edit { at, start: 0, end: 0, text: "evil".into() }]
    }

    fn send_decision(&mut self, case: &Case, held: &mut Held, proof: Proof) {
        let now = self.now;
        let open = held.truth.open().expect("it waits").clone();
        let Proof { decision, who, approval, choice, comment, edits } = proof;
        let late = held.truth.time(now).0 >= open.expires;
        if open.id != approval || late || open.decided.iter().any(|it| it.0 == who.id) {
            self.seen.hit("a decision that came too late");
            return self.refuse(held, Event::Decided(decision), now);
        }
        assert!(open.entitles(&who), "{} decides without being entitled", who.id);
        let by = who.id;
        self.accept(case, held, Event::Decided(decision), now);
        let stage = open.stage;
        let mine = held.truth.asked.last_mut().expect("it asks");
        mine.decided.push((by.clone(), choice));
        let (count, required) = (mine.approvals().len() as u32, mine.required);
        let mut edited = None;
        held.truth.phase = match choice {
            Choice::Denied => Phase::Done(Outcome::Denied { approval, by: Some(by.clone()), comment: comment.clone() }),
            Choice::Approved if !edits.is_empty() => {
                held.truth.edit(&edits);
                edited = Some(held.run.content(stage));
                held.truth.passes.insert(stage, vec![]);
                self.seen.hit("a person edits");
                Phase::Judging { stage, guard: 0 }
            }
            Choice::Approved if count < required => {
                self.seen.hit("one of several approved");
                Phase::Awaiting { stage, guard: open.guard, approval, missing: required - count, expires_at: Time(open.expires) }
            }
            Choice::Approved => {
                let guard = &case.plan.pipeline.at(stage)[open.guard];
                let view = held.truth.view(stage, guard);
                held.truth.holds(guard, &view);
                let content = held.truth.content;
                held.truth.pass(&case.plan, stage, open.guard, How::Approved, content);
                self.seen.hit("passed by approval");
                held.truth.phase.clone()
            }
        };
        self.told(held, &Fact::Decided { approval, by, choice, comment, edited });
        self.compare(case, held);
    }
}

/// The store, and what it is told.
impl World {
    fn commit_if_needed(&mut self, case: &mut Case, mut held: Held) -> Option<Held> {
        assert_eq!(
            held.run.must_be_durable(),
            held.truth.must_be_durable(),
            "durable when somebody outside learns of it: {:?}",
            held.run.phase()
        );
        if !held.run.must_be_durable() {
            return Some(held);
        }
        if self.crash(30, "crash before a commit") {
            return None;
        }
        let commit = held.run.commit();
        let Commit { checkpoint, entries, .. } = &commit;
        held.truth.version += 1;
        assert_eq!(entries, &held.run.history()[held.truth.committed..], "a commit carries what was not committed yet");
        held.truth.committed = held.truth.entries;
        assert_eq!((checkpoint.version, held.run.version()), (held.truth.version, held.truth.version), "each commit is one version");
        assert!(entries.iter().all(|it| it.version == checkpoint.version), "entries name the version that they are committed with");
        self.check_checkpoint(case, &held, checkpoint);
        self.write(case, held, commit, false)
    }

    /// Hands a commit to the store, for the first time or `again`. What the driver knows of its end is what the store has answered, if it has.
    fn write(&mut self, case: &mut Case, mut held: Held, commit: Commit, again: bool) -> Option<Held> {
        let lost = !self.calm && self.dice.one_in(30);
        let arrives = !lost || self.dice.one_in(2);
        let end = if arrives { self.store(case, &held, commit.clone()) } else { Err(Late) };
        if self.crash(30, "crash after a commit, unanswered") {
            return None;
        }
        if lost {
            self.seen.hit("a commit is not answered");
            // Only what a run has learned is kept in memory until the store has it; a client asks again.
            if commit.checkpoint.version == 1 || held.truth.decided_last {
                self.doubts(held.run.id());
                return None;
            }
            held.unanswered = Some(commit);
            return Some(held);
        }
        let is_kept = || case.stored.as_ref().is_some_and(|it| it.held.run == held.run);
        if end.is_err() && !(again && is_kept()) {
            return None;
        }
        self.release(case, &held);
        Some(held)
    }

    /// All of it or nothing, as it stands at the end of the transaction.
    fn store(&mut self, case: &mut Case, held: &Held, commit: Commit) -> Result<(), Late> {
        let Commit { checkpoint, entries, .. } = commit;
        let mut seat = self.seat();
        self.beats_meanwhile(case);
        if !self.seats.may_write(seat) {
            self.seen.hit("a host without a seat writes");
            if self.seat() == seat {
                self.rejoin();
            }
            // What it had belongs to others now. What is new belongs to nobody, and begins at its next seat.
            if checkpoint.version > 1 {
                return Err(Late);
            }
            seat = self.seat();
        }
        if checkpoint.version != case.stored.as_ref().map_or(0, |it| it.version) + 1 {
            self.seen.hit("conflict");
            return Err(Late);
        }
        self.check_writer(seat);
        let mut ledger = case.stored.take().map_or(vec![], |it| it.entries);
        ledger.extend(entries);
        self.check_ledger(case, held, &ledger);
        case.stored =
            Some(Stored { held: held.clone(), bytes: checkpoint.bytes, version: checkpoint.version, entries: ledger, owner: seat });
        Ok(())
    }

    fn check_checkpoint(&self, case: &Case, held: &Held, checkpoint: &aegis_core::Checkpoint) {
        let truth = &held.truth;
        let due = match truth.phase {
            Phase::Awaiting { expires_at: due, .. } | Phase::Backoff { until: due, .. } => Some(due),
            _ => None,
        };
        assert_eq!((checkpoint.due, checkpoint.updated_at), (due, Time(truth.updated)));
        assert_eq!((&checkpoint.route, &checkpoint.principal), (&case.plan.route, &case.creator.id));
        assert_eq!(checkpoint.status, held.run.status());
        let row = checkpoint.approval.as_ref().map(|it| (it.id, it.lists.iter().map(|list| strings(list)).collect(), it.excluded.clone()));
        let mine = truth.open().map(|it| {
            let anyone = vec![vec!["role:approver".to_owned()]];
            let mut excluded: Vec<String> = it.excluded.iter().cloned().collect();
            excluded.extend(it.decided.iter().map(|it| it.0.clone()));
            (it.id, if it.lists.is_empty() { anyone } else { it.lists.clone() }, excluded)
        });
        assert_eq!(row, mine, "the row of the pending list says who may decide");
    }

    /// The stored ledger explains the stored run.
    fn check_ledger(&mut self, case: &Case, held: &Held, ledger: &[Entry]) {
        assert_eq!(ledger, held.run.history(), "the stored ledger is the run's history");
        for (place, entry) in (1..).zip(ledger) {
            assert_eq!((entry.place, entry.run), (place, held.run.id()));
            self.seen.hit(names::fact(&entry.fact));
        }
        let replayed = replay(&case.plan.clone().into(), ledger).expect("a ledger that was written can be replayed");
        assert_eq!(&replayed.phase, held.run.phase(), "replay leads where the run stands");
        assert_eq!(replayed.version, held.run.version());
        assert_eq!(replayed.request, held.run.content(Stage::Ingress), "replay knows the request's digest");
        assert_eq!(replayed.reply, held.truth.reply.as_ref().map(|_| held.run.content(Stage::Egress)), "replay knows the reply's digest");
    }

    /// The client reads what may be read.
    fn release(&mut self, case: &mut Case, held: &Held) {
        let Some(reply) = held.run.response() else { return };
        assert_eq!(held.truth.phase, Phase::Done(Outcome::Completed), "a reply is read before every guard has let it through");
        assert_eq!(Some(&reply.message), held.truth.reply.as_ref(), "the reply is read as the guards left it");
        held.truth.all_judged(&case.plan, [Stage::ToolCall, Stage::Egress], held.truth.replied);
        case.released = Some(reply.message.clone());
        self.seen.hit("a reply is read");
    }

    fn at_the_end(&mut self) {
        for case in &self.cases {
            let Some(stored) = &case.stored else { continue };
            assert!(matches!(stored.held.truth.phase, Phase::Done(_)));
            let (proved, excused) = goes_again(&stored.held, None).expect("the same guards say the same of the same content");
            let judged = |it: &&Entry| matches!(it.fact, Fact::Judged { .. });
            assert_eq!((proved + excused) as usize, stored.entries.iter().filter(judged).count(), "every verdict is proved or excused");
            if proved > 0 {
                let lie = self.dice.index(proved as usize) as u32;
                assert!(matches!(goes_again(&stored.held, Some(lie)), Err(Unproved::Differs { .. })), "another verdict is found");
                self.seen.hit("a run goes again");
            }
            if let (Some(released), Some(reply)) = (&case.released, &stored.held.truth.reply) {
                assert_eq!(released, reply, "what was released is what is stored");
            }
        }
    }
}

/// What has to hold at every step.
impl World {
    fn compare(&mut self, case: &Case, held: &Held) {
        let (run, truth) = (&held.run, &held.truth);
        assert_eq!(run.phase(), &truth.phase, "the run stands where it should");
        self.seen.hit(names::phase(&truth.phase));
        assert_eq!(run.request().messages, truth.messages, "messages are as they were edited");
        assert_eq!(run.request().tools, truth.tools, "tools are as they were edited");
        assert_eq!(run.unjudged_reply().map(|it| &it.message), truth.reply.as_ref(), "the reply is as it was edited");
        assert_eq!(run.updated_at(), Time(truth.updated), "the time of a run never goes back");
        assert_eq!(run.version(), truth.version);
        assert_eq!(run.approvals().len(), truth.asked.len(), "as many questions as were asked");
        assert!(
            truth.asked.iter().zip(run.approvals()).all(|(mine, theirs)| mine.is(theirs)),
            "questions are as they were asked and decided"
        );
        assert_eq!(run.response().is_some(), truth.phase == Phase::Done(Outcome::Completed), "a reply is read when the run is completed");
        let entry = run.history().last().expect("it has a history");
        assert_eq!((entry.place as usize, entry.time, entry.version), (truth.entries, Time(truth.updated), truth.version + 1));
        if let Fact::Judged { ruling, .. } = &entry.fact {
            self.seen.hit(names::ruling(ruling));
        }
        let status = match &truth.phase {
            Phase::Judging { .. } if truth.version == 0 => Status::Pending,
            Phase::Judging { .. } | Phase::Calling { .. } | Phase::Backoff { .. } => Status::Running,
            Phase::Awaiting { .. } => Status::Paused,
            Phase::Done(Outcome::Completed) => Status::Completed,
            Phase::Done(Outcome::Blocked { .. }) => Status::Blocked,
            Phase::Done(Outcome::Denied { .. }) => Status::Denied,
            Phase::Done(Outcome::Cancelled { .. }) => Status::Cancelled,
            Phase::Done(Outcome::Failed(_)) => Status::Error,
        };
        assert_eq!(run.status(), status);
        self.seen.hit(status.name());
        if !self.dice.one_in(4) {
            return;
        }
        let request = serde_json::json!([truth.messages, truth.tools, case.request.params, case.request.metadata]).to_string();
        self.witness(run.content(Stage::Ingress), request);
        if let Some(reply) = &truth.reply {
            self.witness(run.content(Stage::Egress), serde_json::json!(reply).to_string());
        }
    }

    /// What a guard has just said is kept in the run, and the ledger has its digest and not a word of it.
    fn witness_words(&mut self, held: &Held, words: String) -> Digest {
        let last = held.run.history().last().expect("it has a history");
        assert_eq!(held.run.words(last), Some(words.as_str()), "a guard's words are kept");
        assert!(!serde_json::to_string(last).expect("an entry can be written").contains(&words), "the ledger quotes {words:?}");
        let digest = match &last.fact {
            Fact::Judged { ruling: Ruling::Block { words } | Ruling::RequireApproval { words, .. }, .. } => *words,
            Fact::Judged { ruling: Ruling::Failed { words: Some(words), .. } | Ruling::Monitored { words: Some(words), .. }, .. } => *words,
            other => panic!("no words in {other:?}"),
        };
        self.witness(digest, format!("words: {words}"));
        digest
    }

    /// One digest, one content, in all of this world.
    fn witness(&mut self, digest: Digest, content: String) {
        let known = self.contents.entry(content.clone()).or_insert(digest);
        assert_eq!(*known, digest, "the same content has another digest: {content}");
        let of = self.digests.entry(digest).or_insert_with(|| content.clone());
        assert_eq!(*of, content, "another content has the same digest");
    }

    /// The digest of a question covers stage, guard, settings, plan, request and reply.
    fn witness_question(&mut self, case: &Case, held: &Held, stage: Stage, index: usize) {
        let truth = &held.truth;
        let plan = serde_json::to_string(&case.plan).expect("a plan can be written");
        let guard = &case.plan.pipeline.at(stage)[index];
        let shown = serde_json::json!([
            stage,
            guard.name,
            guard.settings,
            plan,
            truth.messages,
            truth.tools,
            case.request.params,
            case.request.metadata,
            truth.reply
        ]);
        self.witness(truth.asked.last().expect("it asks").digest, shown.to_string());
    }

    fn check_input(&mut self, case: &Case, held: &Held, stage: Stage, index: usize, view: &[usize]) {
        let Want::Guard(input) = held.run.wants() else { panic!("a run in Judging wants {:?}", held.run.wants()) };
        let (truth, guard) = (&held.truth, &case.plan.pipeline.at(stage)[index]);
        assert_eq!((input.step, input.stage, input.run), (truth.entries as u64, stage, held.run.id()));
        assert_eq!((input.guard, input.principal), (guard, &case.creator));
        assert_eq!((input.route, input.model), (case.plan.route.as_str(), case.plan.model.as_str()));
        assert_eq!(input.labels, truth.labels, "labels come from guards that judged in this run, and were acted on");
        assert_eq!(input.memory, truth.memory.get(&guard.name).map(String::as_str), "memory is the guard's own");
        assert_eq!(input.tools, truth.tools);
        assert_eq!(input.metadata, &case.request.metadata);
        assert_eq!(input.time, Time(truth.updated));
        assert_eq!(input.context.len(), usize::from(!case.request.params.is_empty()));
        let messages: Vec<&Message> = view.iter().map(|it| truth.message(*it)).collect();
        assert_eq!(input.messages, messages, "a guard gets what it has not judged yet, as the guards before it left it");
    }
}

impl Case {
    /// A run that was never committed never existed; one that is over was tried again a few times.
    fn is_open(&self) -> bool {
        let over = self.stored.as_ref().is_some_and(|it| matches!(it.held.truth.phase, Phase::Done(_)));
        let held = self.hands.iter().any(Option::is_some);
        if over { self.poked < 1 || held } else { self.stored.is_some() || held }
    }
}

/// Asks the guards of a stored run again; the one after `lie` others says something else than it did.
fn goes_again(held: &Held, lie: Option<u32>) -> Result<(u32, u32), Unproved> {
    let told = |step: u64| {
        let said = held.old.iter().find_map(|it| match it {
            Event::Judged { step: of, result } if *of == step => Some(result.clone()),
            _ => None,
        });
        said.expect("the world has heard it")
    };
    let mut again = held.run.again()?;
    while let Some(step) = again.wants()?.map(|it| it.step) {
        let other = Report { findings: vec![], ..Report::of(Verdict::Block("I never said that".into())) };
        let said = if lie == Some(again.proved()) { Ok(other) } else { told(step) };
        again.judged(said)?;
    }
    Ok((again.proved(), again.excused()))
}

/// Milliseconds before the attempt after `attempt`, told from the contract.
fn pause(plan: &Plan, attempt: u32, retry_after: Option<u64>, jitter: u16) -> Option<u64> {
    let mut pause = plan.backoff.first;
    for _ in 1..attempt {
        pause *= 2;
    }
    pause = pause.min(plan.backoff.longest);
    let off = pause * u64::from(jitter.min(500)) / 1_000;
    let pause = (pause - off).max(retry_after.unwrap_or(0));
    if pause > plan.backoff.longest { None } else { Some(pause) }
}

/// What the contract answers to somebody who decides.
#[expect(clippy::too_many_arguments, reason = "each is part of what a person decides")]
fn foresee(
    case: &Case,
    truth: &Truth,
    who: &Principal,
    choice: Choice,
    approval: Option<ApprovalId>,
    digest: Option<Digest>,
    sound: bool,
    now: u64,
) -> &'static str {
    let asked = match approval {
        Some(id) => truth.asked.iter().find(|it| it.id == id),
        None => truth.asked.last(),
    };
    let entitled = match asked.or(truth.asked.last()) {
        Some(asked) => asked.entitles(who),
        None => Truth::may_decide_before_anything_is_asked(&case.request, who),
    };
    let mine = asked.and_then(|it| it.decided.iter().find(|it| it.0 == who.id));
    let repeated = approval.is_some() && mine.is_some_and(|it| it.1 == choice);
    match truth.open() {
        _ if !entitled => "NotAnApprover",
        _ if repeated => "Repeated",
        None if asked.is_some_and(|it| !it.decided.is_empty()) => "AlreadyDecided",
        None => "NotPaused",
        Some(open) if asked.map(|it| it.id) != Some(open.id) => "OtherApproval",
        Some(open) if digest.is_some_and(|it| it != open.digest) => "OtherContent",
        Some(_) if mine.is_some() => "AlreadyDecided",
        Some(open) if truth.time(now).0 >= open.expires => "Expired",
        Some(_) if !sound => "Edits",
        Some(_) => "counts",
    }
}
