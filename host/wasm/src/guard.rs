//! A loaded guard. Nothing of one scan is left for the next: each has an instance of its own, which ends with it.

use crate::bindings::exports::aegis::guard::scanner;
use crate::bindings::{Guard, GuardPre};
use crate::convert::{self, Prepared};
use crate::engine::{Shared, State};
use crate::health::{Counters, Health};
use crate::limits::{Budget, Limits, ceiling};
use crate::manifest::Manifest;
use crate::wasi::Moment;
use aegis_core::{Digest, GuardFailure, Input, Report};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{Store, Trap};

/// Bytes of a guard's or a trap's own words that are kept.
const WORDS: usize = 1024;

/// A guard with its settings, ready to judge.
pub struct LoadedGuard {
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
    pub(crate) component: Digest,
    pub(crate) settings: Digest,
    pub(crate) imports: Vec<String>,
    pub(crate) ready: Ready,
    pub(crate) start: Start,
    pub(crate) load: Load,
    pub(crate) counters: Counters,
}

/// What it cost to load a guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// All of it, by the clock.
    pub took: Duration,
    /// Whether it had been compiled before.
    pub cached: bool,
    /// Bytes of linear memory of an instance that has only said what it is.
    pub memory: usize,
}

/// What every instance starts from.
pub(crate) struct Ready {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pre: GuardPre<State>,
    pub(crate) limits: Limits,
    pub(crate) wasi: bool,
}

/// How an instance comes to its settings.
pub(crate) enum Start {
    /// They are in its memory already.
    Snapshot,
    /// It is configured first.
    Configure {
        /// JSON text.
        settings: String,
        /// Why there is no snapshot.
        why: String,
        /// Whether that takes from the time of the scan. Only where somebody tries it: there a snapshot may yet be taken.
        counts: bool,
    },
}

impl LoadedGuard {
    /// The name under which it was loaded.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the component's bytes as they were received.
    pub fn component(&self) -> Digest {
        self.component
    }

    /// SHA-256 of the JSON text that was handed to `configure`.
    pub fn settings(&self) -> Digest {
        self.settings
    }

    /// What it imports: all of it is granted, and nothing is behind it.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Whether scans start from a snapshot of the configured guard; if not, why, and each scan configures anew.
    pub fn snapshot(&self) -> Result<(), &str> {
        match &self.start {
            Start::Snapshot => Ok(()),
            Start::Configure { why, .. } => Err(why),
        }
    }

    /// What it cost to load it.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        &self.ready.limits
    }

    /// How it has been doing.
    pub fn health(&self) -> Health {
        self.counters.read()
    }

    /// Asks the guard. Gives way to other tasks every millisecond, ends by itself when the limit is reached, and can be
    /// dropped at any time. While all places are taken it waits for one, as long as the caller does. Needs a tokio runtime with time.
    pub async fn scan(&self, input: &Input<'_>) -> Result<Report, GuardFailure> {
        let result = self.judge(input).await;
        self.counters.note(&result);
        result
    }

    /// As [`LoadedGuard::scan`], with what it used; for authors, and not counted in [`LoadedGuard::health`].
    pub async fn measure(&self, input: &Input<'_>) -> (Result<Report, GuardFailure>, Used) {
        self.ask(input).await
    }

    async fn judge(&self, input: &Input<'_>) -> Result<Report, GuardFailure> {
        let (result, used) = self.ask(input).await;
        if !used.printed.is_empty() {
            tracing::debug!(guard = self.name, run = %input.run, printed = used.printed, "guard printed");
        }
        result
    }

    async fn ask(&self, input: &Input<'_>) -> (Result<Report, GuardFailure>, Used) {
        let prepared = Prepared::new(input);
        if let Err(failure) = self.fits(&prepared) {
            return (Err(failure), Used::default());
        }
        let lists = prepared.lists();
        let messages = prepared.messages(&lists);
        let asked = prepared.input(&lists, &messages);
        let (answer, used) = self.ready.scan(&self.start, asked, Moment::of(input)).await;
        (answer.and_then(|it| it.map(convert::report).map_err(|why| GuardFailure::Declined(clip(why)))), used)
    }

    /// Whether it may be handed so much.
    pub(crate) fn fits(&self, prepared: &Prepared<'_>) -> Result<(), GuardFailure> {
        let (size, most) = (prepared.size(), self.ready.limits.input);
        let wrong = || GuardFailure::Declined(format!("the input has {size} bytes, and its limit is {most}"));
        if size > most { Err(wrong()) } else { Ok(()) }
    }
}

/// What one instance used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes of linear memory, all memories together; touched or not.
    pub memory: usize,
    /// What it printed, up to [`Limits::log`].
    pub printed: String,
}

type Answer = Result<Result<scanner::Report, String>, GuardFailure>;

impl Ready {
    async fn scan(&self, start: &Start, input: scanner::Input<'_>, moment: Moment) -> (Answer, Used) {
        let begin = match start {
            Start::Snapshot => moment,
            Start::Configure { .. } => Moment::LOAD,
        };
        let work = async |store: &mut Store<State>, guard: Guard| {
            if let Start::Configure { settings, counts, .. } = start {
                if let Err(why) = guard.aegis_guard_scanner().call_configure(&mut *store, settings).await? {
                    return Ok(Err(format!("refused its settings: {why}")));
                }
                if !counts {
                    store.data_mut().budget = Budget::new(self.limits.time);
                }
                if let Some(wasi) = &mut store.data_mut().wasi {
                    wasi.move_to(moment);
                }
            }
            guard.aegis_guard_scanner().call_scan(&mut *store, input).await
        };
        let time = if matches!(start, Start::Configure { counts: false, .. }) { self.limits.load_time } else { self.limits.time };
        self.run(time, begin, work).await
    }

    /// `describe`, in an instance of its own.
    pub(crate) async fn describe(&self) -> (Result<scanner::Manifest, GuardFailure>, Used) {
        let work = async |store: &mut Store<State>, guard: Guard| guard.aegis_guard_scanner().call_describe(store).await;
        self.run(self.limits.load_time, Moment::LOAD, work).await
    }

    /// `configure`, in an instance of its own: whether the settings are accepted.
    pub(crate) async fn configure(&self, settings: &str) -> Result<Result<(), String>, GuardFailure> {
        let work = async |store: &mut Store<State>, guard: Guard| guard.aegis_guard_scanner().call_configure(store, settings).await;
        self.run(self.limits.load_time, Moment::LOAD, work).await.0
    }

    /// One instance from its beginning to its end, and what it used.
    async fn run<T>(
        &self,
        time: Duration,
        moment: Moment,
        work: impl AsyncFnOnce(&mut Store<State>, Guard) -> wasmtime::Result<T>,
    ) -> (Result<T, GuardFailure>, Used) {
        let _place = self.shared.places.acquire().await.expect("never closed");
        let mut store = self.shared.store(&self.limits, Budget::new(time), self.wasi.then_some(moment));
        let all = async {
            let guard = self.pre.instantiate_async(&mut store).await?;
            work(&mut store, guard).await
        };
        let result = match tokio::time::timeout(ceiling(time), all).await {
            Ok(result) => result.map_err(|error| failure(&error, store.data().space.exceeded)),
            Err(_) => Err(GuardFailure::Timeout), // asleep in a poll of WASI, where no tick reaches it
        };
        let printed = store.data().wasi.as_ref().map(|wasi| wasi.printed()).unwrap_or_default();
        (result, Used { memory: store.data().space.used(), printed })
    }
}

/// Which limit or rule an error means.
pub(crate) fn failure(error: &wasmtime::Error, exceeded: bool) -> GuardFailure {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => GuardFailure::Timeout,
        Some(Trap::StackOverflow) => GuardFailure::Memory,
        _ if exceeded => GuardFailure::Memory,
        Some(trap) => GuardFailure::Trap(clip(trap.to_string())),
        None if error.is::<wasmtime_wasi::I32Exit>() => GuardFailure::Trap("it called exit".into()),
        // wasmtime keeps this error's type to itself; a test holds on to its words.
        None if error.root_cause().to_string().contains("fuel allocated for hostcalls has been exhausted") => GuardFailure::Output,
        None => GuardFailure::Contract(clip(error.root_cause().to_string())),
    }
}

/// A guard's words, at a length that can be kept.
pub(crate) fn clip(mut text: String) -> String {
    if text.len() > WORDS {
        text.truncate(text.floor_char_boundary(WORDS));
        text.push('…');
    }
    text.retain(|c| c != '\0');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guards_words_are_clipped_between_characters() {
        let long = clip("é".repeat(WORDS));
        assert_eq!(long.len(), WORDS + '…'.len_utf8());
        assert_eq!(clip("a\0b".into()), "ab");
    }
}
