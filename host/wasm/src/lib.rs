//! The only door to wasmtime. Nothing in this crate decides what follows from a verdict, and nothing outside of it
//! knows how a guard runs: a [`Sandbox`] loads guards, a [`LoadedGuard`] judges, every time in a fresh instance.

mod apart;
mod bindings;
mod cache;
mod convert;
mod effort;
mod engine;
mod guard;
mod health;
mod imports;
mod inspect;
mod limits;
mod load;
mod manifest;
mod schema;
mod snapshot;
mod stream;
mod ticker;
mod warm;
mod wasi;
mod weight;

pub use apart::{ARGUMENT as COMPILE, compile_for_parent};
pub use engine::{Options, Sandbox, SandboxError};
pub use guard::{Load, LoadedGuard, Used};
pub use health::Health;
pub use imports::{Kind, need};
pub use inspect::Inspection;
pub use limits::Limits;
pub use load::{LoadError, Progress, Prototype, Source};
pub use manifest::{Manifest, ManifestError};
pub use stream::{Ending, Step, Stream};
pub use warm::Warm;
pub use weight::Heavy;
