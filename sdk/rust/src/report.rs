//! What a guard says, made in one line.

use crate::{Edit, Finding, Question, Report, Verdict};

impl Report {
    /// Nothing against it.
    pub fn allow() -> Report {
        Report { verdict: Verdict::Allow, findings: vec![], labels: vec![], memory: None }
    }

    /// May not go on: why, for the caller to read.
    pub fn block(why: impl Into<String>, findings: Vec<Finding>) -> Report {
        Report { verdict: Verdict::Block(why.into()), findings, ..Report::allow() }
    }

    /// [`Report::block`], or [`Report::allow`] where nothing was found.
    pub fn block_if_any(why: impl Into<String>, findings: Vec<Finding>) -> Report {
        if findings.is_empty() { Report::allow() } else { Report::block(why, findings) }
    }

    /// A person must decide. For a question to certain people, or to several, set the fields of [`Question`].
    pub fn require_approval(question: impl Into<Question>, findings: Vec<Finding>) -> Report {
        Report { verdict: Verdict::RequireApproval(question.into()), findings, ..Report::allow() }
    }

    /// May go on with something else in place of everything found, or as it is where nothing was found. Findings that overlap are replaced
    /// together, by what `with` says to the first of them. Only places that may be edited at the stage may be among the findings (see
    /// [`Edit`]), and no JSON part ([`crate::Text::json`]): a guard that edits there has failed.
    pub fn mask(findings: Vec<Finding>, with: impl Fn(&Finding) -> String) -> Report {
        let edits = mask(&findings, with);
        let verdict = if edits.is_empty() { Verdict::Allow } else { Verdict::Sanitize(edits) };
        Report { verdict, findings, ..Report::allow() }
    }
}

impl<T: Into<String>> From<T> for Question {
    /// A question to whoever the configuration names.
    fn from(prompt: T) -> Question {
        Question { prompt: prompt.into(), approvers: vec![], required: 0 }
    }
}

fn mask(findings: &[Finding], with: impl Fn(&Finding) -> String) -> Vec<Edit> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|it| (it.at, it.start));
    let mut edits: Vec<Edit> = Vec::new();
    for it in sorted {
        match edits.last_mut().filter(|last| last.at == it.at && it.start < last.end) {
            Some(last) => last.end = last.end.max(it.end),
            None => edits.push(Edit { at: it.at, start: it.start, end: it.end, text: with(it) }),
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PartPlace, Place};

    fn found(part: u32, start: u32, end: u32) -> Finding {
        Finding { rule: format!("{start}"), at: Place::Part(PartPlace { message: 0, part }), start, end, score: None }
    }

    #[test]
    fn overlapping_findings_become_one_edit() {
        let findings = vec![found(1, 0, 2), found(0, 4, 8), found(0, 2, 5), found(0, 8, 9), found(0, 3, 4)];
        let report = Report::mask(findings.clone(), |it| format!("<{}>", it.rule));
        let Verdict::Sanitize(edits) = report.verdict else { panic!("{report:?}") };
        let edits: Vec<_> = edits.iter().map(|it| (it.at, it.start, it.end, it.text.as_str())).collect();
        assert_eq!(edits, [(findings[1].at, 2, 8, "<2>"), (findings[1].at, 8, 9, "<8>"), (findings[0].at, 0, 2, "<0>")]);
        assert_eq!(report.findings, findings);
    }

    #[test]
    fn nothing_found_is_allowed() {
        assert_eq!(Report::mask(vec![], |_| String::new()), Report::allow());
        assert_eq!(Report::block_if_any("why", vec![]), Report::allow());
        assert_eq!(Report::block_if_any("why", vec![found(0, 0, 1)]).verdict, Verdict::Block("why".into()));
    }

    #[test]
    fn verdicts_and_places_are_named_as_the_host_names_them() {
        let report = Report::require_approval("sure?", vec![found(2, 0, 1)]);
        let json = serde_json::to_value(&report.verdict).unwrap();
        assert_eq!(json, serde_json::json!({"require_approval": {"prompt": "sure?", "approvers": [], "required": 0}}));
        assert_eq!(serde_json::to_value(report.findings[0].at).unwrap(), serde_json::json!({"part": {"message": 0, "part": 2}}));
    }
}
