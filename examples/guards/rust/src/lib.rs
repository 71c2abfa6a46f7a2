//! Guard "sensitive-topic": people decide, or nothing passes, when a user speaks of one of the configured phrases.

use aegis_guard::{Finding, Guard, Input, Report, Role, Schema, Scope, Stage, Text};

#[derive(serde::Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct SensitiveTopic {
    /// Found wherever they stand, in whatever case
    #[schema(min_items = 1, items(min_length = 1))]
    phrases: Vec<String>,
    /// What follows when one is found
    #[serde(default)]
    action: Action,
}

#[derive(Clone, Copy, Default, serde::Deserialize, Schema)]
#[serde(rename_all = "snake_case")]
enum Action {
    #[default]
    RequireApproval,
    Block,
}

impl Guard for SensitiveTopic {
    type Settings = SensitiveTopic;
    const NAME: &str = env!("CARGO_PKG_NAME");
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
    const STAGES: &[Stage] = &[Stage::Ingress];
    const SCOPE: Scope = Scope::Message;

    fn new(settings: SensitiveTopic) -> Result<SensitiveTopic, String> {
        let fine = !settings.phrases.is_empty() && settings.phrases.iter().all(|it| !it.is_empty());
        if fine { Ok(settings) } else { Err("phrases: expected one or more texts that are not empty".into()) }
    }

    fn scan(&self, input: &Input) -> Result<Report, String> {
        let of_users = input.texts().filter(|text| text.message.is_some_and(|it| it.role == Role::User));
        let findings: Vec<Finding> = of_users.flat_map(|text| self.findings(&text)).collect();
        let Some(first) = findings.first() else { return Ok(Report::allow()) };
        let mut topic = first.rule.clone();
        topic.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase); // a longer character stays as it is
        Ok(match self.action {
            Action::Block => Report::block(format!("{topic} is not allowed"), findings),
            Action::RequireApproval => Report::require_approval(format!("{topic} requires human review"), findings),
        })
    }
}

impl SensitiveTopic {
    fn findings(&self, text: &Text<'_>) -> Vec<Finding> {
        let lower = text.text.to_ascii_lowercase(); // keeps every byte where it is
        let hits = |phrase: &String| {
            let wanted = phrase.to_ascii_lowercase();
            lower.match_indices(&wanted).map(|(at, hit)| text.finding(phrase, at..at + hit.len())).collect::<Vec<_>>()
        };
        self.phrases.iter().flat_map(hits).collect()
    }
}

aegis_guard::export!(SensitiveTopic);
