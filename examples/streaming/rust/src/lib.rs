//! Masks `SECRET-` and four digits in replies while the model is still writing, and ends them at a forbidden word of the settings.

use aegis_guard::{Finding, Guard, Input, Report, Schema, Stage, Streaming, Text};
use std::ops::Range;

#[derive(serde::Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What ends a reply, in whatever case
    #[schema(items(min_length = 1))]
    #[serde(default)]
    forbidden: Vec<String>,
}

pub struct NoSecrets {
    forbidden: Vec<String>,
}

impl Guard for NoSecrets {
    type Settings = Settings;
    const NAME: &str = env!("CARGO_PKG_NAME");
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
    const STAGES: &[Stage] = &[Stage::Egress];

    fn new(settings: Settings) -> Result<NoSecrets, String> {
        Ok(NoSecrets { forbidden: settings.forbidden.iter().map(|it| it.to_ascii_lowercase()).collect() })
    }

    fn scan(&self, input: &Input) -> Result<Report, String> {
        let forbidden: Vec<Finding> = input.texts().flat_map(|text| self.forbidden_in(text)).collect();
        if !forbidden.is_empty() {
            return Ok(Report::block("The reply contains something forbidden", forbidden));
        }
        let found = input.texts().flat_map(|text| secrets_in(text.text).map(move |at| text.finding("secret", at)));
        Ok(Report::mask(found.collect(), |_| "[MASKED]".into()))
    }
}

impl NoSecrets {
    fn forbidden_in(&self, text: Text) -> Vec<Finding> {
        let lower = text.text.to_ascii_lowercase(); // keeps every byte where it is
        let hits = self.forbidden.iter().flat_map(|word| lower.match_indices(word.as_str()));
        hits.map(|(at, hit)| text.finding("forbidden", at..at + hit.len())).collect()
    }
}

fn secrets_in(text: &str) -> impl Iterator<Item = Range<usize>> {
    let whole = text.match_indices("SECRET-").map(|(at, it)| at..at + it.len() + 4);
    whole.filter(|it| text.as_bytes().get(it.end - 4..it.end).is_some_and(|it| it.iter().all(u8::is_ascii_digit)))
}

impl Streaming for NoSecrets {
    fn longest(&self) -> usize {
        self.forbidden.iter().map(String::len).max().unwrap_or(0).max("SECRET-0000".len())
    }
}

aegis_guard::export_streaming!(NoSecrets);
