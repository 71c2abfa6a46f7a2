//! Judging a reply while the model is still writing it: one instance is one stream, under the limits of a scan for each piece. What follows
//! from a step is not decided here.

use crate::bindings::exports::aegis::guard::scanner;
use crate::bindings::{Guard, aegis::guard::types};
use crate::convert::{self, Prepared};
use crate::engine::State;
use crate::guard::{LoadedGuard, Start, clip, failure};
use crate::limits::{Budget, ceiling};
use crate::wasi::Moment;
use aegis_core::{GuardFailure, Input, Report};
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, ComponentType, Instance, Lift, Lower, TypedFunc};

/// What may go out of what came in.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub enum Step {
    /// This; possibly changed, possibly nothing.
    #[component(name = "emit")]
    Emit(String),
    /// Nothing more, ever: why.
    #[component(name = "block")]
    Block(String),
    /// Nothing more until the reply is complete and a scan has judged it.
    #[component(name = "hold")]
    Hold,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct RawEnding {
    rest: Step,
    report: types::Report,
}

/// What a guard says at the end of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// What is left to go out.
    pub rest: Step,
    /// The evidence: places in the whole reply as it came in, part 0 of the message after the input's.
    pub report: Report,
}

type Answer<T> = (Result<T, String>,);
type Push<'a> = TypedFunc<(&'a str,), Answer<Step>>;
type Close = TypedFunc<(), Answer<RawEnding>>;

/// A reply on its way through a guard. Holds one place of the sandbox.
pub struct Stream<'a> {
    loaded: &'a LoadedGuard,
    store: Store<State>,
    push: Push<'a>,
    close: Close,
    _place: SemaphorePermit<'a>,
}

impl LoadedGuard {
    /// Begins a reply; `input.messages` ends before it. Waits for a place, as [`LoadedGuard::scan`] does.
    ///
    /// # Errors
    /// How the guard failed; a guard whose manifest does not say that it streams has failed.
    pub async fn open(&self, input: &Input<'_>) -> Result<Stream<'_>, GuardFailure> {
        let ready = &self.ready;
        let prepared = Prepared::new(input);
        self.fits(&prepared)?;
        let (lists, moment) = (prepared.lists(), Moment::of(input));
        let messages = prepared.messages(&lists);
        let asked = prepared.input(&lists, &messages);
        let place = ready.shared.places.acquire().await.expect("never closed");
        let begin = if matches!(self.start, Start::Snapshot) { moment } else { Moment::LOAD };
        let mut store = ready.shared.store(&ready.limits, Budget::new(ready.limits.time), ready.wasi.then_some(begin));
        let time = if matches!(self.start, Start::Configure { counts: false, .. }) { ready.limits.load_time } else { ready.limits.time };
        let opened = self.in_time(&mut store, time, async |store| self.begin(store, asked, moment).await).await?;
        let (push, close) = opened.map_err(|why| GuardFailure::Declined(clip(why)))?;
        Ok(Stream { loaded: self, store, push, close, _place: place })
    }

    /// Instance, settings, `open`.
    async fn begin<'a>(
        &self,
        store: &mut Store<State>,
        input: scanner::Input<'_>,
        moment: Moment,
    ) -> wasmtime::Result<Result<(Push<'a>, Close), String>> {
        let instance = self.ready.pre.instance_pre().instantiate_async(&mut *store).await?;
        if let Start::Configure { settings, .. } = &self.start {
            let guard = Guard::new(&mut *store, &instance)?;
            if let Err(why) = guard.aegis_guard_scanner().call_configure(&mut *store, settings).await? {
                return Ok(Err(format!("refused its settings: {why}")));
            }
            if let Some(wasi) = &mut store.data_mut().wasi {
                wasi.move_to(moment);
            }
        }
        let open: TypedFunc<(scanner::Input<'_>,), Answer<()>> = function(&instance, store, "open")?;
        let (push, close) = (function(&instance, store, "push")?, function(&instance, store, "close")?);
        let (answer,) = open.call_async(&mut *store, (input,)).await?;
        Ok(answer.map(|()| (push, close)))
    }

    /// One call under the limits of a scan, in this time.
    async fn in_time<T>(
        &self,
        store: &mut Store<State>,
        time: Duration,
        work: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, GuardFailure> {
        store.data_mut().budget = Budget::new(time);
        store.set_hostcall_fuel(self.ready.limits.output);
        match tokio::time::timeout(ceiling(time), work(store)).await {
            Ok(result) => result.map_err(|error| failure(&error, store.data().space.exceeded)),
            Err(_) => Err(GuardFailure::Timeout),
        }
    }
}

impl<'a> Stream<'a> {
    /// The next piece of the reply, of whole characters. After a failure, a block or a hold it is of no more use but to be closed.
    pub async fn push(&mut self, text: &'a str) -> Result<Step, GuardFailure> {
        let push = self.push;
        let step = self
            .loaded
            .in_time(&mut self.store, self.loaded.ready.limits.time, async |store| Ok(push.call_async(store, (text,)).await?.0))
            .await?;
        step.map_err(|why| GuardFailure::Declined(clip(why)))
    }

    /// The reply is complete, or was blocked or held.
    pub async fn close(mut self) -> Result<Ending, GuardFailure> {
        let close = self.close;
        let ending = self
            .loaded
            .in_time(&mut self.store, self.loaded.ready.limits.time, async |store| Ok(close.call_async(store, ()).await?.0))
            .await?;
        let ending = ending.map_err(|why| GuardFailure::Declined(clip(why)))?;
        Ok(Ending { rest: ending.rest, report: convert::report(ending.report) })
    }
}

fn function<P: ComponentNamedList + Lower, R: ComponentNamedList + Lift>(
    instance: &Instance,
    store: &mut Store<State>,
    name: &str,
) -> wasmtime::Result<TypedFunc<P, R>> {
    let interface =
        (0..=9).rev().find_map(|patch| instance.get_export_index(&mut *store, None, &format!("aegis:guard/stream-scanner@0.1.{patch}")));
    let index = interface.and_then(|it| instance.get_export_index(&mut *store, Some(&it), name));
    let index = index.ok_or_else(|| wasmtime::format_err!("it exports no {name} in aegis:guard/stream-scanner@0.1"))?;
    instance.get_typed_func(store, index)
}
