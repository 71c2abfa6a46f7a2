//! One engine, its ticker and its pool, made together: no time limit rings without the ticker, and no scan waits for a
//! place that the pool does not have.

use crate::cache::Cache;
use crate::limits::{Budget, Limits, Space};
use crate::ticker::{Ticker, Ticking};
use crate::wasi::{Moment, Wasi};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtxView, WasiView};

/// Per instance; Python, the largest runtime known, has 38 core instances, 3 memories and 3 tables. The snapshot's
/// instrumented form has a few more.
const CORE_INSTANCES: u32 = 64;
const MEMORIES: u32 = 4;
const TABLES: u32 = 8;
/// Elements of one table.
const TABLE_ELEMENTS: usize = 20_000;
/// Kept in place between instances instead of being given back page by page: page faults cost most of a small scan.
const KEEP_RESIDENT: usize = 256 << 10;
/// What a guard may use of its stack; the rest is for the host's own functions.
const GUARD_STACK: usize = 512 << 10;
const WHOLE_STACK: usize = 1 << 20;

/// How a sandbox is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where compiled guards are kept; nowhere: every start compiles them again. The folder is made when it is not there.
    pub cache_dir: Option<PathBuf>,
    /// Instances at most at once; further scans wait.
    pub instances: u32,
    /// The program that compiles, in a process of its own: one that does [`compile_for_parent`](crate::compile_for_parent) when
    /// [`COMPILE`](crate::COMPILE) is its only argument. None: this process compiles, and what its compilers occupy it keeps.
    pub compiler: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_dir: None, instances: 64, compiler: None }
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// wasmtime refuses this machine or these options.
    #[error("the sandbox cannot be set up on this machine: {0}")]
    Engine(String),
    /// Native code from this folder would be run, and it is not safe to do so.
    #[error("the folder for compiled guards, {path}, cannot be used: {why}")]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
}

/// Where guards are loaded and run. Nothing is in it: no files, no network, no clock, no secrets.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    pub(crate) places: Semaphore,
    pub(crate) cache: Option<Cache>,
    pub(crate) ticker: Ticker,
    pub(crate) compiler: Option<PathBuf>,
}

impl Sandbox {
    /// Sets up the engine with its ticker and its pool, and looks at the cache's folder.
    pub fn new(options: Options) -> Result<Sandbox, SandboxError> {
        let instances = options.instances.max(1);
        let engine = Engine::new(&config(instances)).map_err(|error| SandboxError::Engine(format!("{error:#}")))?;
        let mut linker = Linker::new(&engine);
        crate::wasi::link(&mut linker).map_err(|error| SandboxError::Engine(format!("{error:#}")))?;
        let cache = options.cache_dir.map(|path| Cache::open(path, &engine)).transpose()?;
        let ticker = Ticker::start(&engine).map_err(|error| SandboxError::Engine(format!("no thread for the ticker: {error}")))?;
        let places = Semaphore::new(instances as usize);
        let shared = Shared { engine, linker, places, cache, ticker, compiler: options.compiler };
        Ok(Sandbox { shared: Arc::new(shared) })
    }
}

fn config(instances: u32) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(instances.saturating_mul(TABLES))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_component_instance_size(2 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_guaranteed_dense_image_size(64 << 20)
        .max_wasm_stack(GUARD_STACK)
        .async_stack_size(WHOLE_STACK)
        .epoch_interruption(true)
        // A verdict can be proved on another machine: the two places where wasm leaves a choice are closed.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// What belongs to one instance.
pub(crate) struct State {
    pub(crate) budget: Budget,
    pub(crate) space: Space,
    pub(crate) wasi: Option<Box<Wasi>>,
    /// No instance without the clock that ends it.
    _ticking: Ticking,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.as_mut().expect("made with the store of every guard that imports WASI").view()
    }
}

impl Shared {
    /// Room for one instance, with everything limited before anything of it runs.
    pub(crate) fn store(&self, limits: &Limits, budget: Budget, wasi: Option<Moment>) -> Store<State> {
        let wasi = wasi.map(|moment| Box::new(Wasi::new(moment, limits.log)));
        let mut store = Store::new(&self.engine, State { budget, space: Space::new(limits.memory), wasi, _ticking: self.ticker.hold() });
        store.limiter(|state| &mut state.space);
        store.set_hostcall_fuel(limits.output);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().budget.tick()));
        store.set_epoch_deadline(1);
        store
    }
}
