//! Between the exports of a component and a [`Guard`]. No state in this file: [`crate::export!`] keeps the guard.

use crate::stream::{Reply, Step, Streaming};
use crate::{Guard, Input, Label, Manifest, Report, Schema, StreamingMode};
use std::cell::{OnceCell, RefCell};

pub use crate::bindings::export;
pub use crate::bindings::exports;
pub use exports::aegis::guard::scanner::Guest;

/// What a streaming guard exports besides.
pub mod streaming {
    pub use crate::bindings::streaming::{export_streaming, exports};
    pub use exports::aegis::guard::stream_scanner::{Ending, Guest, Step};
}

/// How the guard introduces itself.
pub fn describe<G: Guard>() -> Manifest {
    Manifest {
        name: G::NAME.into(),
        version: G::VERSION.into(),
        description: G::DESCRIPTION.into(),
        stages: G::STAGES.into(),
        streaming: StreamingMode::None,
        scope: G::SCOPE,
        settings_schema: G::Settings::schema(),
        notes: G::NOTES.iter().map(|(key, value)| Label { key: (*key).into(), value: (*value).into() }).collect(),
    }
}

/// The guard with its settings, as JSON, warmed up. No text at all counts as `{}`.
pub fn new<G: Guard>(settings: &str) -> Result<G, String> {
    let settings = if settings.trim().is_empty() { "{}" } else { settings };
    let guard = G::new(serde_json::from_str(settings).map_err(|error| format!("settings: {error}"))?)?;
    for text in guard.warm_up() {
        for stage in G::STAGES {
            guard.scan(&Input::of(*stage, &text)).map_err(|error| format!("warm-up: {error}"))?;
        }
    }
    Ok(guard)
}

/// Fills the slot from which [`scan`] takes the guard.
pub fn configure<G: Guard>(slot: &OnceCell<G>, settings: &str) -> Result<(), String> {
    slot.set(new(settings)?).map_err(|_| "configured twice".into())
}

/// Judges.
pub fn scan<G: Guard>(slot: &OnceCell<G>, input: &Input) -> Result<Report, String> {
    slot.get().ok_or("not configured")?.scan(input)
}

/// How a guard introduces itself that judges replies while they are written.
pub fn describe_streaming<G: Streaming>() -> Manifest {
    Manifest { streaming: StreamingMode::Incremental, ..describe::<G>() }
}

/// Begins a reply.
pub fn open<G: Streaming>(slot: &OnceCell<G>, reply: &RefCell<Option<Reply>>, input: Input) -> Result<(), String> {
    reply.replace(Some(Reply::open(slot.get().ok_or("not configured")?, input)));
    Ok(())
}

/// A piece of it.
pub fn push<G: Streaming>(slot: &OnceCell<G>, reply: &RefCell<Option<Reply>>, piece: &str) -> Result<streaming::Step, String> {
    let (guard, mut reply) = (slot.get().ok_or("not configured")?, reply.borrow_mut());
    Ok(stepped(reply.as_mut().ok_or("no reply was begun")?.push(guard, piece)?))
}

/// Its end.
pub fn close<G: Streaming>(slot: &OnceCell<G>, reply: &RefCell<Option<Reply>>) -> Result<streaming::Ending, String> {
    let reply = reply.take().ok_or("no reply was begun")?;
    let (rest, report) = reply.close(slot.get().ok_or("not configured")?)?;
    Ok(streaming::Ending { rest: stepped(rest), report })
}

fn stepped(step: Step) -> streaming::Step {
    match step {
        Step::Emit(text) => streaming::Step::Emit(text),
        Step::Block(why) => streaming::Step::Block(why),
        Step::Hold => streaming::Step::Hold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoSettings, Stage};
    use std::cell::Cell;

    struct Counting {
        scans: Cell<usize>,
    }

    impl Guard for Counting {
        type Settings = NoSettings;
        const NAME: &str = "counting";
        const VERSION: &str = "1.2.3";
        const DESCRIPTION: &str = "counts";
        const STAGES: &[Stage] = &[Stage::Ingress, Stage::Egress];
        const NOTES: &[(&str, &str)] = &[("license", "Apache-2.0")];

        fn new(_: NoSettings) -> Result<Counting, String> {
            Ok(Counting { scans: Cell::new(0) })
        }

        fn scan(&self, input: &Input) -> Result<Report, String> {
            self.scans.set(self.scans.get() + 1);
            if input.texts().any(|it| it.text == "bad") { Err("cannot".into()) } else { Ok(Report::allow()) }
        }

        fn warm_up(&self) -> Vec<String> {
            vec!["a".into(), "b".into(), "c".into()]
        }
    }

    #[test]
    fn a_guard_is_warm_before_its_first_scan() {
        let slot = OnceCell::<Counting>::new();
        configure(&slot, "").unwrap();
        assert_eq!(slot.get().unwrap().scans.get(), 3 * 2);
    }

    #[test]
    fn no_settings_are_an_empty_object_and_others_are_refused_with_their_name() {
        for nothing in ["", " \n", "{}"] {
            assert!(new::<Counting>(nothing).is_ok(), "{nothing:?}");
        }
        let refused = new::<Counting>(r#"{"phrasse":1}"#).map(|_| ()).unwrap_err();
        assert!(refused.contains("phrasse"), "{refused}");
        assert!(new::<Counting>("null").is_err());
    }

    #[test]
    fn a_scan_before_configure_and_a_second_configure_are_errors() {
        let slot = OnceCell::<Counting>::new();
        let input = Input::of(Stage::Ingress, "x");
        assert_eq!(scan(&slot, &input).unwrap_err(), "not configured");
        configure(&slot, "{}").unwrap();
        assert_eq!(scan(&slot, &input).unwrap(), Report::allow());
        assert_eq!(configure(&slot, "{}").unwrap_err(), "configured twice");
        assert_eq!(scan(&slot, &Input::of(Stage::Egress, "bad")).unwrap_err(), "cannot");
    }

    #[test]
    fn the_manifest_says_what_the_guard_says() {
        let manifest = describe::<Counting>();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("counting", "1.2.3"));
        assert_eq!(manifest.stages, [Stage::Ingress, Stage::Egress]);
        assert_eq!(manifest.notes[0].key, "license");
        assert_eq!(manifest.settings_schema, "");
    }

    #[test]
    fn the_crate_carries_the_contract_as_it_is() {
        let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/guard.wit");
        assert_eq!(std::fs::read_to_string(contract).unwrap(), include_str!("../wit/guard.wit"), "copy wit/guard.wit to sdk/rust/wit/");
    }
}
