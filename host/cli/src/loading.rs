//! Guards take time to load, and large files to copy: what is going on, for people who wait. Nothing is drawn unless stderr is a terminal.

use crate::failure::Failure;
use aegis_core::Code;
use aegis_server::config::{Settings, environment};
use aegis_wasm::{Options, Progress, Sandbox};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Duration;

/// One line that says which guard is being loaded; gone when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Bar {
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a template of known fields"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Bar(bar)
    }

    /// For work of which it is known how many bytes are done.
    pub(crate) fn of_bytes() -> Bar {
        let bar = ProgressBar::new(0);
        bar.set_style(ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left").expect("a template of known fields"));
        Bar(bar)
    }

    /// So many of so many.
    pub(crate) fn bytes(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    pub(crate) fn step(&self, guard: &str, step: Progress) {
        self.0.set_message(format!("{guard}: {}", in_words(step)));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn in_words(step: Progress) -> String {
    match step {
        Progress::Cached => "starting".into(),
        Progress::Compiling { bytes } => format!("compiling {} KiB", bytes.div_ceil(1024)),
        Progress::Configuring => "configuring".into(),
        Progress::Snapshotting => "taking a snapshot, compiling it again".into(),
    }
}

/// A sandbox for a command, with the cache that `aegis dev` uses.
pub(crate) fn sandbox() -> Result<Sandbox, Failure> {
    let cache_dir = Settings::dev(None, &environment())?.server.cache_dir;
    Sandbox::new(Options { cache_dir, compiler: Some(this_program()), ..Options::default() })
        .map_err(|error| Failure::new(Code::CFG_INVALID, error))
}

/// A sandbox for a look at a component, also where nothing can be kept.
pub(crate) fn inspector() -> Result<Sandbox, Failure> {
    let nothing_kept = || Sandbox::new(Options { compiler: Some(this_program()), ..Options::default() });
    sandbox().or_else(|_| nothing_kept().map_err(|error| Failure::new(Code::CFG_INVALID, error)))
}

/// What compiles guards, in a process of its own: this program. Under the name that the kernel has for it, it is found when its file was
/// replaced meanwhile.
pub(crate) fn this_program() -> PathBuf {
    let kernels = PathBuf::from("/proc/self/exe");
    if kernels.exists() { kernels } else { std::env::current_exe().unwrap_or(kernels) }
}

/// Work that takes long, off the executor.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Failure::new(Code::SRV_INTERNAL, error)))
}
