//! Freezes a configured guard: its memory after `configure` becomes the beginning of every later instance. Taken only
//! where that means the same as configuring each instance; where not, the reason is told and nothing is lost but time.

use crate::bindings::Guard;
use crate::engine::{Shared, State};
use crate::guard::failure;
use crate::limits::{Budget, Limits};
use crate::wasi::Moment;
use std::sync::Arc;
use wasmtime::component::{Component, Instance};
use wasmtime::{Result, Store, bail};
use wasmtime_wizer::{WasmtimeWizerComponent, Wizer};

/// The component with its memory as `configure(settings)` left it, or why that cannot be had.
pub(crate) async fn take(shared: &Arc<Shared>, bytes: &[u8], settings: &str, limits: &Limits, wasi: bool) -> Result<Vec<u8>, String> {
    let mut wizer = Wizer::new();
    wizer.keep_init_func(true);
    let (context, instrumented) = wizer.instrument_component(bytes).map_err(|error| error.root_cause().to_string())?;
    let _place = shared.places.acquire().await.expect("never closed");
    let mut store = shared.store(limits, Budget::new(limits.load_time), wasi.then_some(Moment::LOAD));
    let configured = configured(shared, &instrumented, settings, &mut store).await;
    let instance = configured.map_err(|error| failure(&error, store.data().space.exceeded).to_string())?;
    if store.data().wasi.as_ref().is_some_and(|wasi| wasi.holds_handles()) {
        return Err("after configure it holds a handle, which would mean nothing in another instance".into());
    }
    // From here on only the host reads what is there: wizer takes no interruption, and memories are larger than answers.
    store.data_mut().budget = Budget::unlimited();
    store.set_hostcall_fuel(usize::MAX);
    let mut instance = WasmtimeWizerComponent { store: &mut store, instance };
    wizer.snapshot_component(&context, &mut instance).await.map_err(|error| error.root_cause().to_string())
}

/// Whether one could be taken of a component, as far as that can be told without running it: what `configure` leaves behind may still forbid it.
pub(crate) fn possible(bytes: &[u8]) -> Result<(), String> {
    let instrument = || Wizer::new().instrument_component(bytes).map(drop).map_err(|error| error.root_cause().to_string());
    // It panics where it meets what it does not know.
    let tried = std::thread::scope(|scope| scope.spawn(instrument).join());
    tried.unwrap_or_else(|_| Err("wizer does not know what it met in this component".into()))
}

async fn configured(shared: &Shared, instrumented: &[u8], settings: &str, store: &mut Store<State>) -> Result<Instance> {
    let component = Component::new(&shared.engine, instrumented)?;
    let instance = shared.linker.instantiate_async(&mut *store, &component).await?;
    let guard = Guard::new(&mut *store, &instance)?;
    match guard.aegis_guard_scanner().call_configure(&mut *store, settings).await? {
        Ok(()) => Ok(instance),
        Err(why) => bail!("configure refused what it had accepted: {why}"),
    }
}
