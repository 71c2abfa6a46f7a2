//! `aegis guard run`: one verdict through the real sandbox, with what it is about.

use super::asked::Asked;
use super::trial::Judged;
use crate::failure::Failure;
use crate::loading::blocking;
use crate::terminal::{self, Look, line, marked, print, print_json, shown, tell};
use aegis_core::{Code, Finding, Place, Stage, Verdict};
use aegis_server::now;
use aegis_wasm::LoadedGuard;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const VERDICTS: [&str; 4] = ["allow", "sanitize", "block", "require_approval"];

/// What one verdict cost.
struct Cost {
    took: Duration,
    /// Bytes of linear memory.
    memory: usize,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true), after_help = "Exit status: 0 when the guard judged, whatever it said (with --expect: when it said that), 1 when it failed, 2 for wrong usage.")]
pub(crate) struct Run {
    /// The guard's component
    #[arg(value_name = "F")]
    component: PathBuf,
    #[command(flatten)]
    asked: Asked,
    /// Fail unless this is the verdict
    #[arg(long, value_name = "VERDICT", value_parser = VERDICTS)]
    expect: Option<String>,
    /// Print what it said as JSON
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let run = Arc::new(self);
        let loading = run.clone();
        let guard = blocking(move || loading.asked.load(&loading.component)).await?;
        run.ask(&guard).await
    }

    async fn ask(&self, guard: &LoadedGuard) -> Result<(), Failure> {
        let stage = self.asked.stage_of(guard)?;
        let trial = self.asked.trial(guard, stage, "")?;
        let began = Instant::now();
        let (result, used) = guard.measure(&trial.input()).await;
        let cost = Cost { took: began.elapsed(), memory: used.memory };
        if !used.printed.is_empty() {
            tell(&format!("it printed, which nobody reads on a server:\n{}", shown(&used.printed)));
        }
        let judged = trial.judge(result, now()).map_err(|failure| Failure::new(failure.kind().code(), format!("the guard {failure}")))?;
        if self.json {
            print_json(&as_json(guard, stage, &judged, &cost))?
        } else {
            print(&render(guard, stage, &judged, &cost, Look::of_stdout()))?
        }
        self.meets(name(&judged.report.verdict))
    }

    fn meets(&self, said: &str) -> Result<(), Failure> {
        match &self.expect {
            Some(expected) if expected != said => {
                Err(Failure::new(Code::CLI_EXPECT, format!("expected {expected}, and the guard said {said}")))
            }
            _ => Ok(()),
        }
    }
}

fn name(verdict: &Verdict) -> &'static str {
    VERDICTS[match verdict {
        Verdict::Allow => 0,
        Verdict::Sanitize(_) => 1,
        Verdict::Block(_) => 2,
        Verdict::RequireApproval(_) => 3,
    }]
}

fn as_json(guard: &LoadedGuard, stage: Stage, judged: &Judged, cost: &Cost) -> Value {
    let report = &judged.report;
    json!({
        "verdict": report.verdict,
        "findings": report.findings,
        "labels": report.labels,
        "memory": report.memory,
        "stage": stage,
        "guard": {"name": guard.manifest().name, "version": guard.manifest().version},
        "component": guard.component(),
        "settings": guard.settings(),
        "microseconds": u64::try_from(cost.took.as_micros()).unwrap_or(u64::MAX),
        "memory_bytes": cost.memory,
    })
}

fn render(guard: &LoadedGuard, stage: Stage, judged: &Judged, cost: &Cost, look: Look) -> String {
    let manifest = guard.manifest();
    let (ms, kib) = (cost.took.as_secs_f64() * 1e3, cost.memory.div_ceil(1024));
    let who = format!("{} {} at {}, in {ms:.3} ms with {kib} KiB of memory", line(&manifest.name), line(&manifest.version), stage.name());
    terminal::facts(&[vec![("guard", who)], said(judged, look)].concat())
}

/// The verdict and what it is about.
fn said(judged: &Judged, look: Look) -> Vec<(&'static str, String)> {
    let report = &judged.report;
    let mut facts = vec![("verdict", in_words(&report.verdict))];
    for (at, findings) in by_place(&report.findings) {
        let ranges: Vec<(usize, usize)> = findings.iter().map(|it| (it.start as usize, it.end as usize)).collect();
        let text = marked(&judged.before.seen(at).unwrap_or_default(), &ranges, look);
        let evidence = findings.iter().map(|it| format!("  {}", evidence(it)));
        let lines: Vec<String> = [format!("{}:", place(at)), text].into_iter().chain(evidence).collect();
        facts.push(("found", lines.join("\n")));
    }
    for at in edited(&report.verdict) {
        facts.push(("becomes", format!("{}:\n{}", place(at), shown(judged.after.text(at).unwrap_or_default()))));
    }
    facts.extend(report.labels.iter().map(|it| ("label", format!("{}={}", line(&it.key), line(&it.value)))));
    facts.extend(report.memory.iter().map(|it| ("memory", line(it))));
    facts
}

fn in_words(verdict: &Verdict) -> String {
    let more = match verdict {
        Verdict::Allow => return name(verdict).into(),
        Verdict::Sanitize(edits) => format!("{} edit{}", edits.len(), if edits.len() == 1 { "" } else { "s" }),
        Verdict::Block(why) => shown(why),
        Verdict::RequireApproval(question) => {
            let who = if question.approvers.is_empty() { String::new() } else { format!(" (of {})", question.approvers.join(", ")) };
            let many = if question.required > 1 { format!(" ({} people)", question.required) } else { String::new() };
            shown(&format!("{}{who}{many}", question.prompt))
        }
    };
    format!("{}: {more}", name(verdict))
}

fn by_place(findings: &[Finding]) -> BTreeMap<Place, Vec<&Finding>> {
    let mut places: BTreeMap<Place, Vec<&Finding>> = BTreeMap::new();
    findings.iter().for_each(|it| places.entry(it.at).or_default().push(it));
    places
}

fn edited(verdict: &Verdict) -> Vec<Place> {
    let Verdict::Sanitize(edits) = verdict else { return vec![] };
    let mut places: Vec<Place> = edits.iter().map(|it| it.at).collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn place(at: Place) -> String {
    match at {
        Place::Part { message, part } => format!("message {message}, part {part}"),
        Place::Arguments { message, call } => format!("message {message}, arguments of call {call}"),
        Place::Tool(index) => format!("description of tool {index}"),
    }
}

fn evidence(finding: &Finding) -> String {
    let score = finding.score.map(|it| format!(", score {it}")).unwrap_or_default();
    format!("{}: bytes {} to {}{score}", line(&finding.rule), finding.start, finding.end)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{Content, Trial};
    use super::*;
    use aegis_core::{Digest, Edit, Question, Report, Time};

    const PLAIN: Look = Look { terminal: false, colour: false };

    fn judged(text: &str, report: Report) -> Judged {
        let digest = Digest::of(b"");
        let trial = Trial::new("g", digest, digest, Stage::Ingress, Content::of_text(Stage::Ingress, text.into()), Time(0)).unwrap();
        trial.judge(Ok(report), Time(0)).unwrap()
    }

    fn report(verdict: Verdict, ranges: &[(u32, u32)]) -> Report {
        let at = Place::Part { message: 0, part: 0 };
        let findings = ranges.iter().map(|(start, end)| Finding { rule: "r".into(), at, start: *start, end: *end, score: None }).collect();
        Report { findings, ..Report::of(verdict) }
    }

    #[test]
    fn a_verdict_shows_what_was_found_where() {
        let question = Question { prompt: "Sure?".into(), approvers: vec!["team:risk".into()], required: 2 };
        let judged = judged("is é bad or bad?", report(Verdict::RequireApproval(question), &[(6, 9), (13, 16)]));
        insta::assert_snapshot!(terminal::facts(&said(&judged, PLAIN)), @r#"
        verdict  require_approval: Sure? (of team:risk) (2 people)
        found    message 0, part 0:
                 is é [[bad]] or [[bad]]?
                   r: bytes 6 to 9
                   r: bytes 13 to 16
        "#);
    }

    #[test]
    fn an_edited_text_is_shown_as_it_becomes() {
        let at = Place::Part { message: 0, part: 0 };
        let edits = vec![Edit { at, start: 0, end: 3, text: "***".into() }];
        insta::assert_snapshot!(terminal::facts(&said(&judged("bad\u{1b} boy", report(Verdict::Sanitize(edits), &[(0, 3)])), PLAIN)), @r#"
        verdict  sanitize: 1 edit
        found    message 0, part 0:
                 [[bad]]\u{1b} boy
                   r: bytes 0 to 3
        becomes  message 0, part 0:
                 ***\u{1b} boy
        "#);
    }

    #[test]
    fn another_verdict_than_expected_is_a_failure() {
        let run = |expect: Option<&str>| Run {
            component: "g.wasm".into(),
            asked: Asked { text: Some("x".into()), input: None, settings: "null".into(), stage: None },
            expect: expect.map(String::from),
            json: false,
        };
        assert_eq!(run(None).meets("allow"), Ok(()));
        assert_eq!(run(Some("allow")).meets("allow"), Ok(()));
        assert_eq!(run(Some("block")).meets("allow").unwrap_err().code, Code::CLI_EXPECT.id);
        assert_eq!(super::super::settings("null"), Ok(json!({})));
    }
}
