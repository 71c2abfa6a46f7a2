//! What a guard says of itself. It is believed only after [`Manifest::check`].

use aegis_core::{Scope, Stage};

/// What a guard says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// 1 to 64 bytes.
    pub name: String,
    /// 1 to 64 bytes.
    pub version: String,
    /// At most 4 KiB.
    pub description: String,
    /// Where it can judge; at least one, in the order of the pipeline.
    pub stages: Vec<Stage>,
    /// What it has to see.
    pub scope: Scope,
    /// Whether it can judge while the model is still writing.
    pub streaming: bool,
    /// JSON Schema of its settings; empty: takes none.
    pub settings_schema: String,
    /// Further facts, by name.
    pub notes: Vec<(String, String)>,
}

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A text is too short, too long, or has control characters in it.
    #[error("{what} has {length} bytes: 1 to {most} without control characters are allowed")]
    Text {
        /// Which text.
        what: &'static str,
        /// Bytes of it.
        length: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// It can judge nowhere.
    #[error("it names no stage")]
    NoStage,
    /// Too many notes.
    #[error("it has {0} notes: 64 are allowed")]
    Notes(usize),
    /// It says `incremental` and does not export `stream-scanner`.
    #[error(
        "it says that it can judge streams, but does not export `aegis:guard/stream-scanner`: in Python, JavaScript and TypeScript, \
         write \"incremental\" itself, in quotes, in the file of the guard, where \"aegis guard build\" looks for it"
    )]
    NoStreamScanner,
    /// The settings schema is none.
    #[error("its settings schema is wrong: {0}")]
    Schema(String),
}

impl Manifest {
    /// Hands on a manifest that can be shown and relied on.
    pub(crate) fn check(mut self, streams: bool) -> Result<Manifest, ManifestError> {
        text("the name", &self.name, 1, 64)?;
        text("the version", &self.version, 1, 64)?;
        text("the description", &self.description.replace(['\n', '\t'], " "), 0, 4096)?;
        if self.notes.len() > 64 {
            return Err(ManifestError::Notes(self.notes.len()));
        }
        for (key, value) in &self.notes {
            text("a note's name", key, 1, 64)?;
            text("a note", &value.replace(['\n', '\t'], " "), 0, 4096)?;
        }
        self.stages.sort();
        self.stages.dedup();
        match self {
            it if it.stages.is_empty() => Err(ManifestError::NoStage),
            it if it.streaming && !streams => Err(ManifestError::NoStreamScanner),
            it => Ok(it),
        }
    }
}

fn text(what: &'static str, text: &str, least: usize, most: usize) -> Result<(), ManifestError> {
    let fine = (least..=most).contains(&text.len()) && !text.chars().any(char::is_control);
    if fine { Ok(()) } else { Err(ManifestError::Text { what, length: text.len(), most }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            name: "x".into(),
            version: "1".into(),
            description: "two\nlines".into(),
            stages: vec![Stage::Egress, Stage::Ingress, Stage::Egress],
            scope: Scope::Message,
            streaming: false,
            settings_schema: String::new(),
            notes: vec![],
        }
    }

    #[test]
    fn stages_are_put_in_order_once_each() {
        assert_eq!(manifest().check(false).expect("fine").stages, [Stage::Ingress, Stage::Egress]);
    }

    #[test]
    fn a_manifest_without_name_version_stage_or_stream_is_refused() {
        let refused = |change: fn(&mut Manifest)| {
            let mut it = manifest();
            change(&mut it);
            it.check(false).expect_err("refused")
        };
        assert!(matches!(refused(|it| it.name.clear()), ManifestError::Text { what: "the name", .. }));
        assert!(matches!(refused(|it| it.version = "\u{1b}[2J".into()), ManifestError::Text { what: "the version", .. }));
        assert!(matches!(refused(|it| it.name = "x".repeat(65)), ManifestError::Text { length: 65, .. }));
        assert_eq!(refused(|it| it.stages.clear()), ManifestError::NoStage);
        assert_eq!(refused(|it| it.streaming = true), ManifestError::NoStreamScanner);
        assert!(ManifestError::NoStreamScanner.to_string().contains("write \"incremental\" itself"));
        assert_eq!(refused(|it| it.notes = vec![("a".into(), "b".into()); 65]), ManifestError::Notes(65));
    }
}
