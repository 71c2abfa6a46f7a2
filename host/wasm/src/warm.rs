//! One instance that is asked again and again: what a scan costs when its sandbox is there already. For measuring, never for judging: here
//! something of one scan may be left for the next.

use crate::bindings::Guard;
use crate::convert::{self, Prepared};
use crate::engine::State;
use crate::guard::{LoadedGuard, Start, failure};
use crate::limits::Budget;
use crate::wasi::Moment;
use aegis_core::{GuardFailure, Input, Report};
use tokio::sync::SemaphorePermit;
use wasmtime::Store;

/// An instance that is kept, to measure what a fresh one costs. Holds one place of the sandbox.
pub struct Warm<'a> {
    loaded: &'a LoadedGuard,
    store: Store<State>,
    instance: Guard,
    _place: SemaphorePermit<'a>,
}

impl LoadedGuard {
    /// An instance for measuring: whoever judged by it would give up that nothing of one scan is left for the next. It is not counted in
    /// [`LoadedGuard::health`].
    pub async fn warm(&self) -> Result<Warm<'_>, GuardFailure> {
        let ready = &self.ready;
        let place = ready.shared.places.acquire().await.expect("never closed");
        let mut store = ready.shared.store(&ready.limits, Budget::new(ready.limits.load_time), ready.wasi.then_some(Moment::LOAD));
        let begin = async {
            let instance = ready.pre.instantiate_async(&mut store).await?;
            if let Start::Configure { settings, .. } = &self.start {
                let accepted = instance.aegis_guard_scanner().call_configure(&mut store, settings).await?;
                accepted.map_err(|why| wasmtime::format_err!("refused its settings: {why}"))?;
            }
            Ok(instance)
        };
        let instance: wasmtime::Result<Guard> = begin.await;
        let instance = instance.map_err(|error| failure(&error, store.data().space.exceeded))?;
        Ok(Warm { loaded: self, store, instance, _place: place })
    }
}

impl Warm<'_> {
    /// As [`LoadedGuard::scan`], but in the instance that earlier scans were in. After a failure it is of no more use.
    pub async fn scan(&mut self, input: &Input<'_>) -> Result<Report, GuardFailure> {
        let prepared = Prepared::new(input);
        let lists = prepared.lists();
        let messages = prepared.messages(&lists);
        self.store.data_mut().budget = Budget::new(self.loaded.ready.limits.time);
        let asked = prepared.input(&lists, &messages);
        let answer = self.instance.aegis_guard_scanner().call_scan(&mut self.store, asked).await;
        let answer = answer.map_err(|error| failure(&error, self.store.data().space.exceeded))?;
        answer.map(convert::report).map_err(GuardFailure::Declined)
    }
}
