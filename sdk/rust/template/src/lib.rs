//! Asks for human review where a word of the settings is spoken of.

use aegis_guard::{Guard, Input, Report, Schema, Scope};

/// What the configuration says under `settings:`.
#[derive(serde::Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What asks for review, in whatever case
    #[schema(items(min_length = 1))]
    words: Vec<String>,
}

pub struct {{Camel}}(Settings);

impl Guard for {{Camel}} {
    type Settings = Settings;
    const NAME: &str = env!("CARGO_PKG_NAME");
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
    const SCOPE: Scope = Scope::Message;

    fn new(settings: Settings) -> Result<Self, String> {
        Ok({{Camel}}(settings))
    }

    fn scan(&self, input: &Input) -> Result<Report, String> {
        let mut findings = vec![];
        for text in input.texts() {
            let lower = text.text.to_ascii_lowercase(); // keeps every byte where it is
            for word in &self.0.words {
                let word_lower = word.to_ascii_lowercase();
                let hits = lower.match_indices(&word_lower);
                findings.extend(hits.map(|(at, hit)| text.finding(word, at..at + hit.len())));
            }
        }
        Ok(if findings.is_empty() { Report::allow() } else { Report::require_approval("A word was found: is this all right?", findings) })
    }
}

aegis_guard::export!({{Camel}});

#[cfg(test)]
mod tests {
    #[test]
    fn the_cases_hold() {
        aegis_guard::cases::check::<super::{{Camel}}>("cases");
    }
}
