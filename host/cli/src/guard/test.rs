//! `aegis guard test`: a guard's cases, against the component that a host would run. Nothing is changed unless `--update` says so.

use super::cases::{self, Case, File};
use super::new::{language, names};
use super::streams::{self, Dice};
use super::trial::Trial;
use super::{diff, read};
use crate::failure::Failure;
use crate::loading::{Bar, blocking, sandbox};
use crate::terminal::{Look, line, print, print_json, tell};
use aegis_core::{Code, Stage, Time};
use aegis_kit::Language;
use aegis_server::now;
use aegis_wasm::{Limits, LoadError, LoadedGuard, Prototype};
use anstyle::AnsiColor;
use clap::Args;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The moment of a case that does not say one: the same wherever and whenever it runs.
const MOMENT: Time = Time(1_700_000_000_000);

#[derive(Debug, Args)]
#[command(
    after_help = "Cases are described in guards/README.md. Exit status: 0 when all cases hold (with --update: when they do now), 1 when one does not \
                        or the guard cannot be built or loaded, 2 for wrong usage."
)]
pub(crate) struct Test {
    /// A guard's folder, which is built first, or its component
    #[arg(value_name = "DIR|F")]
    guard: PathBuf,
    /// A folder or a file with cases, also what `aegis runs export` wrote; left out: cases/ in the folder, or beside the component
    #[arg(value_name = "CASES")]
    cases: Option<PathBuf>,
    /// Settings of the cases that have none, or @ and a file with them
    #[arg(long, value_name = "JSON|@F", default_value = "{}")]
    settings: String,
    /// Write down what the guard says now
    #[arg(long)]
    update: bool,
    /// Print what happened as JSON
    #[arg(long)]
    json: bool,
    #[arg(long, value_name = "L", value_parser = language, help = format!("The folder's language, where its files leave a doubt: {}", names()))]
    lang: Option<Language>,
    /// How many replies a streaming guard is tried on, each cut at random
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    streams: u32,
    /// What texts and cuts follow from; left out: another one each time
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

/// A case that was tried.
struct Tried {
    name: String,
    file: usize,
    /// Its number in the file.
    number: usize,
    expected: Map<String, Value>,
    seen: Map<String, Value>,
    /// What `expect` would be if it held.
    now: Map<String, Value>,
    took: Duration,
}

impl Tried {
    fn holds(&self) -> bool {
        self.expected == self.seen
    }
}

/// What random pieces came to.
struct Streams {
    tried: u32,
    seed: u64,
    wrong: Option<String>,
}

impl Test {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let default: Value = super::settings(&self.settings)?;
        let place = self.place()?;
        let files = cases::read(&place).map_err(|why| Failure::new(Code::CLI_CASES, why))?;
        let (guard, lang) = (self.guard.clone(), self.lang);
        let prototype = blocking(move || load(&guard, lang)).await?;
        let mut guards = Guards { prototype, default, loaded: BTreeMap::new() };
        let mut tried = Vec::new();
        for (number, file) in files.iter().enumerate() {
            tried.extend(guards.try_file(number, file).await);
        }
        let streams = guards.cut(&files, self.streams, self.seed.unwrap_or_else(|| now().0)).await;
        let updated = if self.update { update(&files, &tried)? } else { 0 };
        self.tell(&files, &tried, streams.as_ref(), updated)?;
        verdict(&tried, streams.as_ref(), self.update)
    }

    /// Where the cases are.
    fn place(&self) -> Result<PathBuf, Failure> {
        if let Some(cases) = &self.cases {
            return Ok(cases.clone());
        }
        let stem = self.guard.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let beside = self.guard.parent().unwrap_or(Path::new("."));
        let places = if self.guard.is_dir() {
            vec![self.guard.join("cases")]
        } else {
            vec![beside.join(stem.replace('_', "-")).join("cases"), beside.join(&stem).join("cases"), beside.join("cases")]
        };
        let wrong = || Failure::new(Code::CLI_CASES, format!("there is no {}: say where the cases are", places[0].display()));
        places.iter().find(|it| it.is_dir()).cloned().ok_or_else(wrong)
    }

    fn tell(&self, files: &[File], tried: &[Tried], streams: Option<&Streams>, updated: usize) -> Result<(), Failure> {
        if self.json {
            return print_json(&as_json(files, tried, streams, updated));
        }
        let look = Look::of_stdout();
        for it in tried {
            print(&rendered(&files[it.file].path, it, look, self.update))?;
        }
        if let Some(it) = streams {
            print(&in_words(it, look))?;
        }
        let failed = tried.iter().filter(|it| !it.holds()).count();
        let others = if self.update { format!("{updated} written anew") } else { format!("{failed} do not") };
        print(&format!("\n{} cases: {} hold, {others}", tried.len(), tried.len() - failed))
    }
}

/// Builds what is a folder, and compiles.
fn load(guard: &Path, lang: Option<Language>) -> Result<Prototype, Failure> {
    let limits = Limits::default();
    let bytes = if guard.is_dir() || guard.extension().is_some_and(|it| it == "wat") {
        aegis_kit::build(guard, lang, &mut |step| tell(step)).map_err(|error| Failure::new(Code::GRD_BUILD, error))?.component
    } else {
        read(guard, limits.component)?
    };
    let (name, bar) = (guard.file_stem().unwrap_or_default().to_string_lossy(), Bar::new());
    let wrong = |error: LoadError| Failure::new(error.code(), format!("{}: {error}", guard.display()));
    sandbox()?.prototype(bytes.into(), limits, &|step| bar.step(&name, step)).map_err(wrong)
}

/// The component with all settings that cases have.
struct Guards {
    prototype: Prototype,
    default: Value,
    loaded: BTreeMap<String, Result<LoadedGuard, LoadError>>,
}

impl Guards {
    async fn try_file(&mut self, file: usize, from: &File) -> Vec<Tried> {
        let mut tried = Vec::new();
        for (number, case) in from.cases.iter().enumerate() {
            if case.expect.is_none() && self.is_elsewhere(case).await {
                continue; // recorded traffic has every stage
            }
            let began = Instant::now();
            let told = self.ask(case).await.unwrap_or_else(|why| cases::error(&why));
            let (expected, seen) = case.compare(&told);
            let now = cases::expectation(case, &told);
            tried.push(Tried { name: case.name.clone(), file, number, expected, seen, now, took: began.elapsed() });
        }
        tried
    }

    /// Whether the guard is never asked at the case's stage.
    async fn is_elsewhere(&mut self, case: &Case) -> bool {
        let stage = case.stage.unwrap_or(Stage::Ingress);
        self.guard(case).await.as_ref().is_ok_and(|it| !it.manifest().stages.contains(&stage))
    }

    async fn guard(&mut self, case: &Case) -> &Result<LoadedGuard, LoadError> {
        let settings = case.settings.clone().filter(|it| !it.is_null()).unwrap_or_else(|| self.default.clone());
        let text = settings.to_string();
        if !self.loaded.contains_key(&text) {
            let loaded = self.prototype.configure("tested", &settings).await;
            self.loaded.insert(text.clone(), loaded);
        }
        &self.loaded[&text]
    }

    /// # Errors
    /// Why there was nothing to ask, or how it failed.
    async fn ask(&mut self, case: &Case) -> Result<Map<String, Value>, String> {
        let guard = self.guard(case).await.as_ref().map_err(ToString::to_string)?;
        let stages = &guard.manifest().stages;
        let stage = case.stage.unwrap_or(Stage::Ingress);
        if !stages.contains(&stage) {
            return Err(format!("the guard is not asked at {}", stage.name()));
        }
        let trial = Trial::new(guard.name(), guard.component(), guard.settings(), stage, case.content(stage)?, MOMENT)?;
        let result = guard.scan(&trial.input()).await;
        Ok(match trial.judge(result, MOMENT) {
            Ok(judged) => cases::told(&judged),
            Err(failure) => cases::failed(&failure),
        })
    }

    /// Replies made of the cases' texts, each in random pieces; stops at the first that is wrong. Nothing for a guard that does not stream.
    async fn cut(&mut self, files: &[File], count: u32, seed: u64) -> Option<Streams> {
        let mut groups: BTreeMap<String, (Case, Vec<String>)> = BTreeMap::new();
        for case in files.iter().flat_map(|it| &it.cases) {
            let streams = self.guard(case).await.as_ref().is_ok_and(|it| it.manifest().streaming);
            if let (true, Some(text)) = (streams, case.text()) {
                let group = groups.entry(format!("{:?}", case.settings)).or_insert_with(|| (case.clone(), vec![]));
                group.1.push(text.to_owned());
            }
        }
        let each = count.div_ceil(u32::try_from(groups.len()).ok().filter(|it| *it > 0)?);
        let mut dice = Dice::new(seed);
        let mut tried = 0;
        for (case, texts) in groups.values() {
            let Ok(guard) = self.guard(case).await else { continue };
            for _ in 0..each {
                tried += 1;
                let text = dice.text(texts);
                let pieces = dice.cut(&text);
                if let Err(why) = streams::wrong(guard, &case.before(), &pieces, MOMENT).await {
                    return Some(Streams { tried, seed, wrong: Some(format!("{why}; the pieces: {}", json!(pieces))) });
                }
            }
        }
        Some(Streams { tried, seed, wrong: None })
    }
}

/// With the difference, also where that has just been written down: then it is no failure any more.
fn rendered(path: &Path, it: &Tried, look: Look, updated: bool) -> String {
    let name = format!("{}: {}", path.display(), line(&it.name));
    if it.holds() {
        return format!("{} {name}", diff::coloured(AnsiColor::Green, "ok  ", look));
    }
    let differs = diff::rendered(&it.expected, &it.seen, look);
    let (colour, word) = if updated { (AnsiColor::Yellow, "new ") } else { (AnsiColor::Red, "FAIL") };
    format!(
        "{} {name}\n{}",
        diff::coloured(colour, word, look),
        differs.lines().map(|it| format!("       {it}")).collect::<Vec<_>>().join("\n")
    )
}

fn in_words(it: &Streams, look: Look) -> String {
    let seed = it.seed;
    match &it.wrong {
        None => format!(
            "{} {} replies in random pieces, all as in one (--seed {seed})",
            diff::coloured(AnsiColor::Green, "ok  ", look),
            it.tried
        ),
        Some(why) => {
            let fail = diff::coloured(AnsiColor::Red, "FAIL", look);
            format!("{fail} reply {} in random pieces: {} (--seed {seed} makes it again)", it.tried, line(why))
        }
    }
}

fn as_json(files: &[File], tried: &[Tried], streams: Option<&Streams>, updated: usize) -> Value {
    let case = |it: &Tried| {
        json!({"file": files[it.file].path, "name": it.name, "holds": it.holds(), "expected": it.expected, "told": it.seen,
            "microseconds": u64::try_from(it.took.as_micros()).unwrap_or(u64::MAX)})
    };
    json!({
        "cases": tried.iter().map(case).collect::<Vec<_>>(),
        "hold": tried.iter().filter(|it| it.holds()).count(),
        "fail": tried.iter().filter(|it| !it.holds()).count(),
        "updated": updated,
        "streams": streams.map(|it| json!({"tried": it.tried, "seed": it.seed, "wrong": it.wrong})),
    })
}

/// Writes what was told into the files; how many expectations changed.
fn update(files: &[File], tried: &[Tried]) -> Result<usize, Failure> {
    let mut count = 0;
    for (number, file) in files.iter().enumerate() {
        let wrong = |it: &&Tried| it.file == number && (!it.holds() || file.cases[it.number].expect.is_none());
        let changes: Vec<(usize, Map<String, Value>)> = tried.iter().filter(wrong).map(|it| (it.number, it.now.clone())).collect();
        if changes.is_empty() {
            continue;
        }
        count += changes.len();
        let text = if cases::is_lines(&file.path) { lines(&file.text, &changes) } else { diff::rewritten(&file.text, &changes) };
        let text = text.map_err(|why| Failure::new(Code::CLI_CASES, format!("{}: {why}", file.path.display())))?;
        std::fs::write(&file.path, text).map_err(|error| Failure::new(Code::CLI_FILE, format!("{}: {error}", file.path.display())))?;
    }
    Ok(count)
}

/// Lines with other expectations, by the number of their case.
fn lines(text: &str, changes: &[(usize, Map<String, Value>)]) -> Result<String, String> {
    let mut cases = text
        .lines()
        .filter(|it| !it.trim().is_empty())
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()
        .map_err(|it| it.to_string())?;
    for (number, expect) in changes {
        cases[*number]["expect"] = json!(expect);
    }
    Ok(cases.iter().map(|it| format!("{it}\n")).collect())
}

fn verdict(tried: &[Tried], streams: Option<&Streams>, updated: bool) -> Result<(), Failure> {
    let failed = tried.iter().filter(|it| !it.holds()).count();
    if failed > 0 && !updated {
        return Err(Failure::new(Code::CLI_CASES, format!("{failed} of {} cases do not hold", tried.len())));
    }
    match streams.and_then(|it| it.wrong.as_ref()) {
        Some(_) => Err(Failure::new(Code::CLI_CASES, "what comes out depends on the pieces in which the reply comes in")),
        None => Ok(()),
    }
}
