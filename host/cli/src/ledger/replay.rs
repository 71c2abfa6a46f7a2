//! `aegis ledger replay`: the ledger is walked once, then every stored run goes its way again with the same guards.

use super::export::settings;
use crate::failure::Failure;
use crate::loading::{Bar, this_program};
use crate::store::open;
use crate::terminal::{facts, line, print, print_json, tell};
use aegis_core::{Code, Digest, GuardFailure, Record, Run, RunId, Unproved};
use aegis_server::config::Settings;
use aegis_server::{Archive, HostedGuard};
use aegis_store::{Page, Position, RunFilter, Store, Verifier};
use aegis_wasm::{Options, Sandbox};
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Only this run
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    /// The configuration with the store and the guards; ./aegis.yaml when left out, and without one that of `aegis dev`
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What came of all of it.
#[derive(Default)]
struct Seen {
    proved: u64,
    verdicts: u64,
    excused: u64,
    differs: Vec<(RunId, String)>,
    unproved: Vec<(RunId, String)>,
}

/// What came of one run.
enum Way {
    Same {
        verdicts: u32,
        excused: u32,
    },
    Differs(String),
    /// Nobody can say.
    Unproved(String),
}

/// What the ledger tells of each run.
type Told = BTreeMap<RunId, Entries>;

/// So many entries, and one hash over those of all of them in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entries {
    count: usize,
    hash: Digest,
}

impl Default for Entries {
    fn default() -> Entries {
        Entries { count: 0, hash: Digest([0; 32]) }
    }
}

impl Entries {
    /// Whether it is the next one; otherwise it is not added.
    fn add(&mut self, place: u32, entry: Digest) -> bool {
        let next = place as usize == self.count + 1;
        if next {
            *self = Entries { count: self.count + 1, hash: Digest::of(&[self.hash.0, entry.0].concat()) };
        }
        next
    }
}

impl Replay {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let settings = settings(self.config.as_deref())?;
        let store = open(&settings.persistence).await?;
        let told = walk(&*store).await?;
        let guards = tokio::task::block_in_place(|| load(settings, store.clone(), Some(this_program())))?;
        let mut seen = Seen::default();
        match self.run {
            Some(id) => {
                let unknown = || Failure::new(Code::RUN_UNKNOWN, format!("there is no run {id}"));
                let run = store.run_fetch(id).await?.ok_or_else(unknown)?;
                seen.take(&run, again(&run, &told, &guards).await);
            }
            None => every(&*store, &told, &guards, &mut seen).await?,
        }
        seen.tell(self.json)
    }
}

/// The chain from end to end, and what it says of each run.
async fn walk(store: &dyn Store) -> Result<Told, Failure> {
    let broken = |why: String| Failure::new(Code::STO_LEDGER, why);
    let (mut told, mut verifier, mut position) = (Told::new(), Verifier::default(), Position::default());
    let mut early = BTreeMap::new();
    loop {
        let lines = store.ledger_list(&position, 1_000).await?;
        if lines.is_empty() {
            verifier.end().map_err(broken)?;
            for ((run, place), hash) in early {
                // One that does not follow: what stands between was written when its stream had been read.
                told.entry(run).or_default().add(place, hash);
            }
            return Ok(told);
        }
        position.pass_all(&lines);
        for it in &lines {
            verifier.follow(it).map_err(broken)?;
            let unreadable = |error| broken(format!("ledger {}: line {} cannot be read: {error}", it.stream, it.n));
            let Record::Run(entry) = Record::read(&it.entry).map_err(unreadable)? else { continue };
            let (of_run, hash) = (told.entry(entry.run).or_default(), Digest::of(&it.entry));
            // A run that moved from host to host stands in several streams, and in any order.
            if !of_run.add(entry.place, hash) {
                early.insert((entry.run, entry.place), hash);
            }
        }
    }
}

async fn every(store: &dyn Store, told: &Told, guards: &Guards, seen: &mut Seen) -> Result<(), Failure> {
    let mut page = Page { limit: 50, after: None };
    loop {
        let runs = store.run_list(&RunFilter::default(), &page).await?;
        for run in &runs.data {
            seen.take(run, again(run, told, guards).await);
        }
        seen.unproved.extend(runs.unreadable.into_iter().map(|it| (it.run, it.why.to_string())));
        match runs.next {
            Some(next) => page.after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Those of the configuration, and those of earlier ones that the store has kept.
struct Guards {
    hosted: Vec<HostedGuard>,
    kept: Archive,
}

/// Each alone, so that one that does not load hides no other.
fn load(settings: Settings, store: Arc<dyn Store>, compiler: Option<PathBuf>) -> Result<Guards, Failure> {
    let options = Options { cache_dir: settings.server.cache_dir.clone(), compiler, ..Options::default() };
    let sandbox = Sandbox::new(options).map_err(aegis_server::OpenError::from)?;
    let (bar, mut hosted) = (Bar::new(), vec![]);
    for name in settings.guards.keys() {
        let mut alone = settings.clone();
        alone.guards.retain(|other, _| other == name);
        match aegis_server::guards(&sandbox, &mut alone, &|guard, step| bar.step(guard, step)) {
            Ok(guard) => hosted.extend(guard),
            Err(error) => tell(&line(&error.to_string())),
        }
    }
    Ok(Guards { hosted, kept: Archive::new(&settings, store, sandbox) })
}

async fn again(run: &Run, told: &Told, guards: &Guards) -> Way {
    if let Some(told) = told.get(&run.id()) {
        let mut written = Entries::default();
        for entry in run.history().iter().take(told.count) {
            written.add(entry.place, Digest::of(&serde_json::to_vec(entry).expect("an entry has string keys only")));
        }
        if written != *told {
            return Way::Differs("the stored run is not the one that the ledger tells of".into());
        }
    }
    match go(run, guards).await {
        Ok(way) => way,
        Err(error @ Unproved::Differs { .. }) => Way::Differs(error.to_string()),
        Err(error @ Unproved::Content(_)) => Way::Unproved(error.to_string()),
    }
}

async fn go(run: &Run, guards: &Guards) -> Result<Way, Unproved> {
    let mut again = run.again()?;
    loop {
        let said = {
            let Some(input) = again.wants()? else { break };
            let guard = match HostedGuard::meant(&guards.hosted, input.guard) {
                Some(guard) => Ok(Some(guard.loaded.clone())),
                None => guards.kept.find(input.guard).await,
            };
            let (name, component, settings) = (&input.guard.name, input.guard.component, input.guard.settings);
            match guard {
                Ok(Some(guard)) => guard.scan(&input).await,
                Ok(None) => {
                    let what = format!("the guard {name} with component {component} and settings {settings}");
                    return Ok(Way::Unproved(format!("{what} is neither configured nor kept in the store, or does not load any more")));
                }
                Err(error) => return Ok(Way::Unproved(format!("the guard {name} cannot be read: {error}"))),
            }
        };
        if let Err(failure @ (GuardFailure::Timeout | GuardFailure::Memory)) = &said {
            return Ok(Way::Unproved(format!("a guard {failure} now")));
        }
        again.judged(said)?;
    }
    Ok(Way::Same { verdicts: again.proved(), excused: again.excused() })
}

impl Seen {
    fn take(&mut self, run: &Run, way: Way) {
        match way {
            Way::Same { verdicts, excused } => {
                self.proved += 1;
                self.verdicts += u64::from(verdicts);
                self.excused += u64::from(excused);
            }
            Way::Differs(why) => self.differs.push((run.id(), why)),
            Way::Unproved(why) => self.unproved.push((run.id(), why)),
        }
    }

    fn tell(self, json: bool) -> Result<(), Failure> {
        if json {
            let list = |of: &[(RunId, String)]| of.iter().map(|(id, why)| json!({"run_id": id, "why": why})).collect::<Vec<_>>();
            print_json(&json!({
                "proved": self.proved, "verdicts": self.verdicts, "excused": self.excused,
                "differ": list(&self.differs), "unproved": list(&self.unproved),
            }))?;
        } else {
            let list = |of: &[(RunId, String)]| of.iter().map(|(id, why)| format!("{id}: {}", line(why))).collect::<Vec<_>>().join("\n");
            print(&facts(&[
                ("same", format!("{} runs, {} verdicts", self.proved, self.verdicts)),
                ("not tried", format!("{} verdicts, because time or memory ran out then", self.excused)),
                ("cannot be proved", format!("{} runs\n{}", self.unproved.len(), list(&self.unproved)).trim_end().into()),
                ("differ", format!("{} runs\n{}", self.differs.len(), list(&self.differs)).trim_end().into()),
            ]))?;
        }
        match self.differs.len() {
            0 => Ok(()),
            n => Err(Failure::new(Code::STO_LEDGER, format!("{n} runs are not what the ledger and the guards say"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::{Event, Message, Principal, Report, Request, Role, Time, Verdict};
    use aegis_server::config::Environment;
    use aegis_store::Memory;

    #[tokio::test]
    async fn a_run_is_named_whose_guard_says_something_else_or_whose_ledger_tells_of_another() {
        let settings = Settings::for_ledger(None, &Environment::new()).expect("the built-in configuration");
        let guards = load(settings.clone(), Arc::new(Memory::new()), None).expect("a sandbox");
        let plan = aegis_server::plans(&settings, &guards.hosted)["default"].clone();
        let none = Guards { hosted: vec![], ..load(settings, Arc::new(Memory::new()), None).expect("a sandbox") };
        for (text, same) in [("hello", true), ("financial advice", false)] {
            let request = Request { messages: vec![Message::text(Role::User, text)], ..Request::default() };
            let id = RunId::new(Time(1), [1; 10]);
            let mut run = Run::new(id, plan.clone(), request, Principal::anonymous(), false, [1; 32], Time(1)).expect("a good plan");
            let event = Event::Judged { step: run.history().len() as u64, result: Ok(Report::of(Verdict::Allow)) };
            run.handle(event, Time(2)).expect("it was asked");
            match again(&run, &Told::new(), &guards).await {
                Way::Same { verdicts, excused } => assert!(same && (verdicts, excused) == (1, 0), "{text}"),
                Way::Differs(why) => assert!(!same && why.contains("said allow and says require_approval now"), "{text}: {why}"),
                Way::Unproved(why) => panic!("{text}: {why}"),
            }
            let another = Told::from([(id, Entries { count: 1, ..Entries::default() })]);
            assert!(matches!(again(&run, &another, &guards).await, Way::Differs(_)), "the ledger tells of another run");
            assert!(matches!(again(&run, &Told::new(), &none).await, Way::Unproved(_)), "there is no such guard");
        }
    }
}
