//! Asks for human review where one of the configured phrases is spoken of. It compares folded letters and understands nothing.

mod folded;

use aegis_guard::{Finding, Guard, Input, Report, Schema, Scope, Text};
use folded::Folded;

/// So many findings are enough to decide; a text made of nothing but hits must not become a report of megabytes.
const ENOUGH: usize = 100;

/// What it looks for, and what follows: `settings.json` says it to the host.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    phrases: Vec<String>,
    #[serde(default)]
    action: Action,
    #[serde(default)]
    prompt: Option<String>,
}

#[derive(Clone, Copy, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    #[default]
    RequireApproval,
    Block,
}

impl Schema for Settings {
    fn schema() -> String {
        include_str!("settings.json").into()
    }
}

/// The guard.
pub struct SensitiveTopic {
    phrases: Vec<Phrase>,
    action: Action,
    prompt: Option<String>,
}

struct Phrase {
    /// As the settings have it: the rule's name in findings.
    written: String,
    folded: String,
}

impl Guard for SensitiveTopic {
    type Settings = Settings;
    const NAME: &str = env!("CARGO_PKG_NAME");
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
    const SCOPE: Scope = Scope::Message;

    fn new(settings: Settings) -> Result<SensitiveTopic, String> {
        let phrases = settings.phrases.into_iter().map(|written| Phrase { folded: Folded::plain(&written).text, written });
        let phrases: Vec<Phrase> = phrases.collect();
        if phrases.is_empty() || phrases.iter().any(|it| it.folded.trim().is_empty()) {
            return Err(r#"phrases: write one or more phrases that are not empty, such as ["financial advice"]"#.into());
        }
        Ok(SensitiveTopic { phrases, action: settings.action, prompt: settings.prompt })
    }

    fn scan(&self, input: &Input) -> Result<Report, String> {
        let findings: Vec<Finding> = input.texts().flat_map(|text| self.findings(&text)).take(ENOUGH).collect();
        Ok(match findings.first() {
            None => Report::allow(),
            Some(first) => self.report(&capitalised(&first.rule), findings),
        })
    }
}

impl SensitiveTopic {
    /// In the order of the text.
    fn findings(&self, text: &Text<'_>) -> Vec<Finding> {
        let folded = if text.json { Folded::json(text.text) } else { Folded::plain(text.text) };
        let hits = |phrase: &Phrase| {
            folded.find(&phrase.folded).take(ENOUGH).map(|range| text.finding(&phrase.written, range)).collect::<Vec<_>>()
        };
        let mut findings: Vec<Finding> = self.phrases.iter().flat_map(hits).collect();
        findings.sort_by_key(|it| (it.start, it.end));
        findings
    }

    fn report(&self, topic: &str, findings: Vec<Finding>) -> Report {
        match (self.action, &self.prompt) {
            (Action::Block, _) => Report::block(format!("{topic} is not allowed"), findings),
            (Action::RequireApproval, Some(prompt)) => Report::require_approval(prompt, findings),
            (Action::RequireApproval, None) => Report::require_approval(format!("{topic} requires human review"), findings),
        }
    }
}

fn capitalised(phrase: &str) -> String {
    let mut chars = phrase.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

aegis_guard::export!(SensitiveTopic);

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_guard::Stage;

    fn guard(settings: &str) -> Result<SensitiveTopic, String> {
        SensitiveTopic::new(serde_json::from_str(settings).map_err(|it| it.to_string())?)
    }

    #[test]
    fn the_cases_hold() {
        aegis_guard::cases::check::<SensitiveTopic>("cases");
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for (settings, named) in [
            ("{}", "phrases"),
            (r#"{"phrases":[]}"#, "phrases"),
            (r#"{"phrases":["a"," "]}"#, "phrases"),
            (r#"{"phrases":["a","\u200b \u00ad"]}"#, "phrases"),
            (r#"{"phrases":["a"],"action":"allow"}"#, "allow"),
            (r#"{"phrases":["a"],"promt":"x"}"#, "promt"),
        ] {
            let error = guard(settings).map(|_| ()).expect_err(settings);
            assert!(error.contains(named), "{settings}: {error}");
        }
    }

    #[test]
    fn a_text_of_nothing_but_hits_is_no_report_of_megabytes() {
        let report = guard(r#"{"phrases":["a","b"]}"#).unwrap().scan(&Input::of(Stage::Ingress, &"ab".repeat(1 << 19))).unwrap();
        assert_eq!(report.findings.len(), ENOUGH);
    }
}
