//! The clock by which guards' time is counted: a thread that moves the engine's epoch while any instance lives, and sleeps
//! while none does.

use crate::limits::TICK;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use wasmtime::{Engine, EngineWeak};

/// So many ticks without an instance, and the thread goes to sleep: waking it for every scan would cost more than it saves.
const PATIENCE: u32 = 100;

pub(crate) struct Ticker {
    state: Arc<Counted>,
    thread: Thread,
}

#[derive(Default)]
struct Counted {
    instances: AtomicUsize,
    asleep: AtomicBool,
}

/// Lives as long as an instance.
pub(crate) struct Ticking(Arc<Counted>);

impl Ticker {
    /// Ends by itself once the engine is gone.
    pub(crate) fn start(engine: &Engine) -> io::Result<Ticker> {
        let state = Arc::new(Counted::default());
        let (engine, counted) = (engine.weak(), state.clone());
        let thread = std::thread::Builder::new().name("aegis-ticker".into()).spawn(move || tick(&engine, &counted))?;
        Ok(Ticker { state, thread: thread.thread().clone() })
    }

    /// From here on it ticks, until what is returned is dropped.
    pub(crate) fn hold(&self) -> Ticking {
        // With `sleep`, each side writes before it reads what the other one wrote: one of them sees the other.
        self.state.instances.fetch_add(1, Ordering::SeqCst);
        if self.state.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(self.state.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(engine: &EngineWeak, counted: &Counted) {
    let mut idle = 0;
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        std::thread::sleep(TICK);
        idle = if counted.instances.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        if idle >= PATIENCE {
            counted.sleep();
            idle = 0;
        }
    }
}

impl Counted {
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        if self.instances.load(Ordering::SeqCst) == 0 {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};
    use wasmtime::{Config, Module, Store};

    #[test]
    fn a_ticker_that_slept_ticks_again_for_the_next_instance() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).expect("an engine");
        let ticker = Ticker::start(&engine).expect("a thread");
        let begun = Instant::now();
        while !ticker.state.asleep.load(Ordering::SeqCst) {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never sleeps");
            std::thread::sleep(TICK);
        }
        let held = ticker.hold();
        // Some ten seconds, should nothing interrupt it.
        let text = r#"(module (func (export "f") (local $left i64)
            (local.set $left (i64.const 20000000000))
            (loop (br_if 0 (i64.ne (local.tee $left (i64.sub (local.get $left) (i64.const 1))) (i64.const 0))))))"#;
        let spin = Module::new(&engine, wat::parse_str(text).expect("a module")).expect("a module");
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(3);
        let instance = wasmtime::Instance::new(&mut store, &spin, &[]).expect("an instance");
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").expect("a function");
        assert!(f.call(&mut store, ()).is_err(), "it was interrupted");
        drop(held);
    }
}
