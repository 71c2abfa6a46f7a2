//! Write a guard for Aegis in Rust. A guard is a function of what it is handed: no files, no network, no clock, no randomness.
//!
//! ```
//! use aegis_guard::{Guard, Input, Report, Schema, Scope};
//!
//! /// What the configuration says under `settings:`.
//! #[derive(serde::Deserialize, Schema)]
//! #[serde(deny_unknown_fields)]
//! pub struct Settings {
//!     /// What nobody may say
//!     #[schema(items(min_length = 1))]
//!     words: Vec<String>,
//! }
//!
//! pub struct Words(Settings);
//!
//! impl Guard for Words {
//!     type Settings = Settings;
//!     const NAME: &str = env!("CARGO_PKG_NAME");
//!     const VERSION: &str = env!("CARGO_PKG_VERSION");
//!     const DESCRIPTION: &str = "Blocks messages with forbidden words";
//!     const SCOPE: Scope = Scope::Message;
//!
//!     fn new(settings: Settings) -> Result<Words, String> {
//!         Ok(Words(settings))
//!     }
//!
//!     fn scan(&self, input: &Input) -> Result<Report, String> {
//!         let hits = input.texts().flat_map(|text| {
//!             self.0.words.iter().flat_map(move |word| text.text.match_indices(word.as_str()).map(move |(at, hit)| text.finding(word, at..at + hit.len())))
//!         });
//!         Ok(Report::block_if_any("a forbidden word", hits.collect()))
//!     }
//! }
//!
//! aegis_guard::export!(Words);
//! # let words = Words::new(serde_json::from_str(r#"{"words":["no"]}"#).unwrap()).unwrap();
//! # assert_eq!(words.scan(&Input::of(aegis_guard::Stage::Ingress, "oh no")).unwrap().findings[0].start, 3);
//! ```
//!
//! # The crate of a guard
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! aegis-guard = "0.1"
//! serde = { version = "1", features = ["derive"] }
//!
//! [dev-dependencies]
//! aegis-guard = { version = "0.1", features = ["cases"] }
//!
//! [profile.release]           # small components load faster
//! opt-level = "s"
//! lto = true
//! codegen-units = 1
//! strip = true
//! ```
//!
//! `aegis guard build DIR` makes the component; `cargo test` runs the guard natively, with no WebAssembly anywhere: the types are plain
//! Rust, and nothing is imported.
//!
//! # What to know
//!
//! * **One instance, one scan.** Every scan starts from the state that [`Guard::new`] and the warm-up left, in a fresh sandbox. What a
//!   guard puts into a cell during a scan is gone after it; what has to last until a later stage of the same run goes into
//!   [`Report::memory`] and comes back as [`Input::memory`].
//! * **Warm up.** Lazy automata and caches that [`Guard::new`] leaves empty would be built anew in every scan. The texts of
//!   [`Guard::warm_up`] are scanned once at load, before the snapshot from which every scan starts: with twenty regular expressions
//!   that is 15 µs instead of 500.
//! * **Offsets count bytes** of the UTF-8 text, from 0, and never stand inside a character, as everywhere in Rust.
//! * **`Err` is no verdict.** It says why the guard could not judge, and nothing passes a guard that could not judge (unless its
//!   configuration says so). A panic means the same, with less to read.
//! * **Scope.** A guard of [`Scope::Message`] is handed only messages that it has not judged yet. If it needs other messages to judge one, it
//!   is of [`Scope::Conversation`].

extern crate self as aegis_guard; // what is derived names it so

mod bindings;
#[cfg(feature = "cases")]
pub mod cases;
mod input;
mod report;
pub mod schema;
mod stream;

#[doc(hidden)]
pub mod component;

pub use bindings::aegis::guard::types::*;
pub use input::Text;
pub use schema::Schema;
use serde::de::DeserializeOwned;
pub use stream::{Reply, Step, Streaming};

/// A guard: how it introduces itself, how it takes its settings, how it judges. [`export!`] makes a component of it.
pub trait Guard: Sized + 'static {
    /// Read from the JSON of `settings:` in the configuration; no settings at all count as `{}`. [`NoSettings`] for a guard that takes none;
    /// `#[serde(deny_unknown_fields)]`, so that a typo is an error. From their [`Schema`] the host checks and explains them before the guard sees them.
    type Settings: DeserializeOwned + Schema;

    /// Its name, usually `env!("CARGO_PKG_NAME")`.
    const NAME: &str;
    /// Its version, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &str;
    /// What it does, in a sentence.
    const DESCRIPTION: &str;
    /// Where it may be asked.
    const STAGES: &[Stage] = &[Stage::Ingress, Stage::ToolResult, Stage::ToolCall, Stage::Egress];
    /// Whether it judges messages one by one or in the light of others.
    const SCOPE: Scope = Scope::Conversation;
    /// Further facts about it, such as `("license", "Apache-2.0")`.
    const NOTES: &[(&str, &str)] = &[];

    /// Takes the settings. All that is dear happens here: it is done once, at load. An error refuses the configuration with this text: say
    /// which setting is wrong and what to write instead.
    fn new(settings: Self::Settings) -> Result<Self, String>;

    /// Judges.
    fn scan(&self, input: &Input) -> Result<Report, String>;

    /// Texts like those of the traffic, scanned once at load at each of [`Guard::STAGES`], so that everything lazy is there when the first
    /// real text comes. Tens of kilobytes are not too much for a guard with many patterns; the few lines given by default fill caches, but
    /// hardly an automaton. Their verdicts are dropped; an error refuses the configuration.
    fn warm_up(&self) -> Vec<String> {
        vec![SAMPLE.into()]
    }
}

/// The warm-up text of guards that bring none.
const SAMPLE: &str = "Hello, my name is Ana-Lucía Müller; could you summarise the 3 attached reports (Q1–Q3, 2024) by 09:30?\n\
Send it to ana.mueller@example.com or call +49 30 901820. The total was €1,234.56 (about 12%), see https://example.com/a?b=c#d.\n\
```json\n{\"id\": 42, \"ok\": true, \"tags\": [\"x\", \"y_z\"]}\n```\nNaïve café, Straße, İstanbul, Ωμέγα, Привет, 你好, こんにちは 👋";

/// Settings of a guard that takes none.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

impl Schema for NoSettings {
    fn schema() -> String {
        String::new()
    }
}

/// Makes the crate a component that is this [`Guard`]. Once in a crate, at its top; does nothing where the target is not WebAssembly.
#[macro_export]
macro_rules! export {
    ($guard:ty) => {
        $crate::exported!($guard, $crate::component::describe::<$guard>, {});
    };
}

/// Makes the crate a component that is this [`Streaming`] guard: [`export!`] for one that also judges replies while the model is still writing them.
#[macro_export]
macro_rules! export_streaming {
    ($guard:ty) => {
        $crate::exported!($guard, $crate::component::describe_streaming::<$guard>, {
            use $crate::component::streaming;

            ::std::thread_local! {
                static REPLY: ::std::cell::RefCell<::std::option::Option<$crate::Reply>> = const { ::std::cell::RefCell::new(None) };
            }

            impl streaming::Guest for Component {
                fn open(input: $crate::Input) -> ::std::result::Result<(), ::std::string::String> {
                    GUARD.with(|guard| REPLY.with(|reply| $crate::component::open(guard, reply, input)))
                }

                fn push(text: ::std::string::String) -> ::std::result::Result<streaming::Step, ::std::string::String> {
                    GUARD.with(|guard| REPLY.with(|reply| $crate::component::push(guard, reply, &text)))
                }

                fn close() -> ::std::result::Result<streaming::Ending, ::std::string::String> {
                    GUARD.with(|guard| REPLY.with(|reply| $crate::component::close(guard, reply)))
                }
            }

            streaming::export_streaming! { Component with_types_in streaming }
        });
    };
}

/// What both of them make. `more` stands beside `Component` and its `GUARD`.
#[doc(hidden)]
#[macro_export]
macro_rules! exported {
    ($guard:ty, $describe:expr, { $($more:tt)* }) => {
        const _: fn() -> $crate::Manifest = $describe;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static GUARD: ::std::cell::OnceCell<$guard> = const { ::std::cell::OnceCell::new() };
            }

            struct Component;

            impl $crate::component::Guest for Component {
                fn describe() -> $crate::Manifest {
                    $describe()
                }

                fn configure(settings: ::std::string::String) -> ::std::result::Result<(), ::std::string::String> {
                    GUARD.with(|guard| $crate::component::configure(guard, &settings))
                }

                fn scan(input: $crate::Input) -> ::std::result::Result<$crate::Report, ::std::string::String> {
                    GUARD.with(|guard| $crate::component::scan(guard, &input))
                }
            }

            $($more)*

            $crate::component::export! { Component with_types_in $crate::component }
        };
    };
}
