//! WASI for runtimes that cannot do without: no files, no network, no environment, no arguments. Clock and
//! randomness follow from the run, so that a verdict can be repeated; what is printed is kept up to a limit.

use aegis_core::RunId;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// At most so many random bytes in one call.
const RANDOM_BYTES: u64 = 1 << 20;
/// At most so many open handles: they take the host's memory, which no limit of the guard's own memory counts.
const HANDLES: usize = 1_000;

/// What a guard's clock and randomness follow from.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    time: u64,
    seed: [u8; 32],
}

impl Moment {
    /// For `configure`: the same wherever and whenever it runs.
    pub(crate) const LOAD: Moment = Moment { time: 0, seed: [0; 32] };

    pub(crate) fn of(input: &aegis_core::Input<'_>) -> Moment {
        Moment { time: input.time.0, seed: seed(input.run) }
    }
}

fn seed(run: RunId) -> [u8; 32] {
    Sha256::new().chain_update(b"aegis guard randomness").chain_update(run.as_bytes()).finalize().into()
}

/// One instance's WASI.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    log: Log,
}

impl Wasi {
    pub(crate) fn new(moment: Moment, log: usize) -> Wasi {
        let log = Log { kept: Arc::default(), limit: log };
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Wasi { ctx: context(moment, &log), table, log }
    }

    /// Goes on at another moment; handles stay.
    pub(crate) fn move_to(&mut self, moment: Moment) {
        self.ctx = context(moment, &self.log);
    }

    /// Whether the guard holds a handle: that number would mean nothing in another instance.
    pub(crate) fn holds_handles(&self) -> bool {
        !self.table.is_empty()
    }

    /// What it printed, as far as it was kept.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.log.kept.lock().expect("nobody panics with it")).into_owned()
    }

    pub(crate) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }
}

fn context(moment: Moment, log: &Log) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder.stdout(log.clone()).stderr(log.clone());
    builder.wall_clock(Fixed(moment.time)).monotonic_clock(Counting(AtomicU64::new(0)));
    builder.secure_random(randomness(moment, 0)).insecure_random(randomness(moment, 1)).max_random_size(RANDOM_BYTES);
    builder.insecure_random_seed(u128::from_le_bytes(std::array::from_fn(|i| moment.seed[i])));
    builder.allow_tcp(false).allow_udp(false);
    builder.build()
}

/// 1 KiB that repeats itself: guards want to shuffle a hash table, not to keep a secret.
fn randomness(moment: Moment, stream: u8) -> Deterministic {
    let block = |n: u8| Sha256::new().chain_update(moment.seed).chain_update([stream, n]).finalize();
    Deterministic::new((0..32).flat_map(block).collect())
}

/// Links what may be had from nothing, and no more: sockets and files are not even there to be refused.
pub(crate) fn link<T: WasiView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?; // io, clocks, random, standard streams
    cli::environment::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::exit::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    random::insecure::add_to_linker::<T, WasiRandom>(linker, |it| it.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(linker, |it| it.ctx().ctx.random())
}

struct Fixed(u64);

impl HostWallClock for Fixed {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// One microsecond later at each look.
struct Counting(AtomicU64);

impl HostMonotonicClock for Counting {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

/// Takes everything, keeps the beginning: a guard that prints too much is not stopped by it.
#[derive(Clone)]
struct Log {
    kept: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl Log {
    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().expect("nobody panics with it");
        let room = self.limit.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Log {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}

impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

impl AsyncWrite for Log {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.keep(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
