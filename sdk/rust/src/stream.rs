//! A reply that comes in pieces, judged by the guard's own `scan`. What may still become a hit is held back; in the end all is scanned once more, as
//! if it had come in one piece, and what went out has to be the beginning of what comes of that.

use crate::{Edit, Finding, Guard, Input, Message, Part, PartPlace, Place, Report, Role, Verdict};
use std::mem::take;
use std::ops::Range;

/// A guard that judges replies while the model is still writing them, with the `scan` that it has anyway. [`crate::export_streaming!`] makes a component
/// of it.
///
/// It has to find the same in a part of a text as in the whole: so patterns and words are fine, counting hits is not. Where it blocks or asks, its
/// findings say why: until they are too far back to change, nothing more goes out.
pub trait Streaming: Guard {
    /// Bytes that a hit has at most, together with what has to be looked at before and behind it to see that it is one. So much is held back, and
    /// anything before is final.
    fn longest(&self) -> usize;
}

/// What may go out of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// This.
    Emit(String),
    /// Nothing more: why.
    Block(String),
    /// Nothing more before a person has seen the whole.
    Hold,
}

/// One reply, as far as it has come.
#[derive(Debug)]
pub struct Reply {
    /// The conversation, and the part of the reply that is looked at as its last message.
    input: Input,
    longest: usize,
    text: String,
    /// Bytes of the text that are done with.
    settled: usize,
    /// What went out for them.
    out: String,
    /// What was found in them.
    hits: Vec<Range<usize>>,
    over: bool,
}

/// What was found in a text, and what should be done about it.
struct Seen {
    verdict: Verdict,
    /// Of findings and edits, in order, once each.
    hits: Vec<Range<usize>>,
    /// Whether there are findings at all, as reasons for the verdict.
    reasons: bool,
}

impl Seen {
    /// Where the last hit ends.
    fn end(&self) -> usize {
        self.hits.iter().map(|it| it.end).max().unwrap_or_default()
    }
}

impl Reply {
    /// Begins a reply to this conversation.
    pub fn open<G: Streaming>(guard: &G, mut input: Input) -> Reply {
        let parts = vec![Part::Text(String::new())];
        input.messages.push(Message { role: Role::Assistant, parts, name: None, tool_calls: vec![], tool_call_id: None });
        Reply { input, longest: guard.longest().max(1), text: String::new(), settled: 0, out: String::new(), hits: vec![], over: false }
    }

    /// The next piece.
    pub fn push<G: Streaming>(&mut self, guard: &G, piece: &str) -> Result<Step, String> {
        if self.over {
            return Err("the stream is over".into());
        }
        self.text.push_str(piece);
        let safe = self.text.floor_char_boundary(self.text.len().saturating_sub(self.longest));
        if safe <= self.settled {
            return Ok(Step::Emit(String::new()));
        }
        for from in [self.near(), 0] {
            let seen = self.seen(guard, from)?;
            let end = before_hits(safe, &seen.hits);
            match seen.verdict {
                // Which of the findings is the reason cannot be told: all of them have to be final.
                Verdict::Block(_) | Verdict::RequireApproval(_) if !seen.reasons || seen.end() > end => {
                    return Ok(Step::Emit(String::new()));
                }
                Verdict::Block(why) if from == 0 => return Ok(self.ended(Step::Block(why))),
                Verdict::RequireApproval(_) if from == 0 => return Ok(self.ended(Step::Hold)),
                Verdict::Allow if self.knows(&seen, from) => return Ok(self.settle(end, &seen.hits, vec![])),
                Verdict::Sanitize(ref edits) if self.knows(&seen, from) => return Ok(self.settle(end, &seen.hits, edits.clone())),
                _ => {} // seen from its beginning it may look different
            }
        }
        Err(self.surprised())
    }

    /// All before `end` goes out.
    fn settle(&mut self, end: usize, hits: &[Range<usize>], edits: Vec<Edit>) -> Step {
        if end <= self.settled {
            return Step::Emit(String::new());
        }
        let text = edited(&self.text, self.settled..end, edits);
        self.hits.extend(hits.iter().filter(|it| it.start >= self.settled && it.end <= end).cloned());
        self.settled = end;
        self.out.push_str(&text);
        Step::Emit(text)
    }

    /// The reply is complete, or nothing more of it matters: what is left, and the evidence.
    pub fn close<G: Streaming>(mut self, guard: &G) -> Result<(Step, Report), String> {
        let report = self.scan(guard, 0)?;
        let rest = match &report.verdict {
            _ if self.over => Step::Emit(String::new()),
            Verdict::Block(why) => Step::Block(why.clone()),
            Verdict::RequireApproval(_) => Step::Hold,
            Verdict::Allow => self.rest(vec![])?,
            Verdict::Sanitize(edits) => self.rest(edits.clone())?,
        };
        let verdict = match report.verdict {
            Verdict::Sanitize(edits) => Verdict::Sanitize(edits),
            _ => Verdict::Allow,
        };
        Ok((rest, Report { verdict, ..report }))
    }

    fn rest(&self, edits: Vec<Edit>) -> Result<Step, String> {
        let whole = edited(&self.text, 0..self.text.len(), edits);
        let rest = whole.strip_prefix(&self.out).ok_or_else(|| self.surprised())?;
        Ok(Step::Emit(rest.into()))
    }

    fn surprised(&self) -> String {
        format!("what came later changed what was found before: a hit is longer than the {} bytes that `longest` says", self.longest)
    }

    fn ended(&mut self, step: Step) -> Step {
        self.over = true;
        step
    }

    /// A little before what is not settled: far enough to see what was found there once more, and in the middle of nothing.
    fn near(&self) -> usize {
        before_hits(self.text.floor_char_boundary(self.settled.saturating_sub(self.longest)), &self.hits)
    }

    /// Whether it has again found what was found before, and nothing else there: if not, the part began in the middle of something.
    fn knows(&self, seen: &Seen, from: usize) -> bool {
        seen.hits.iter().filter(|it| it.start < self.settled).eq(self.hits.iter().filter(|it| it.start >= from))
    }

    fn seen<G: Streaming>(&mut self, guard: &G, from: usize) -> Result<Seen, String> {
        let mut report = self.scan(guard, from)?;
        let at = self.place();
        if let Verdict::Sanitize(edits) = &mut report.verdict {
            edits.iter_mut().for_each(|it| (it.start, it.end) = (it.start + from as u32, it.end + from as u32));
        }
        let ours = report.findings.iter().filter(|it| it.at == at);
        let mut hits: Vec<Range<usize>> = ours.map(|it: &Finding| it.start as usize + from..it.end as usize + from).collect();
        let reasons = !hits.is_empty();
        if let Verdict::Sanitize(edits) = &report.verdict {
            hits.extend(edits.iter().map(|it| it.start as usize..it.end as usize));
        }
        hits.sort_by_key(|it| (it.start, it.end));
        hits.dedup();
        Ok(Seen { verdict: report.verdict, hits, reasons })
    }

    fn scan<G: Streaming>(&mut self, guard: &G, from: usize) -> Result<Report, String> {
        let part = self.input.messages.last_mut().and_then(|it| it.parts.first_mut());
        if let Some(Part::Text(text)) = part {
            let mut buffer = take(text);
            buffer.clear();
            buffer.push_str(&self.text[from..]);
            *text = buffer;
        }
        let report = guard.scan(&self.input)?;
        let at = self.place();
        match &report.verdict {
            Verdict::Sanitize(edits) if edits.iter().any(|it| it.at != at) => {
                Err("an edit stands outside of the reply: at egress nothing else may be edited".into())
            }
            _ => Ok(report),
        }
    }

    /// Where the reply stands.
    fn place(&self) -> Place {
        Place::Part(PartPlace { message: self.input.messages.len().saturating_sub(1) as u32, part: 0 })
    }
}

/// The last place up to `end` that is in the middle of no hit.
fn before_hits(mut end: usize, hits: &[Range<usize>]) -> usize {
    while let Some(hit) = hits.iter().find(|it| it.start < end && end < it.end) {
        end = hit.start;
    }
    end
}

/// A part of the text with the edits in it.
fn edited(text: &str, part: Range<usize>, mut edits: Vec<Edit>) -> String {
    edits.retain(|it| it.start as usize >= part.start && it.end as usize <= part.end);
    edits.sort_by_key(|it| it.start);
    let (mut out, mut done) = (String::new(), part.start);
    for edit in edits {
        out.push_str(text.get(done..edit.start as usize).unwrap_or_default());
        out.push_str(&edit.text);
        done = edit.end as usize;
    }
    out.push_str(text.get(done..part.end).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoSettings, Stage};

    /// Masks `SECRET-` and four digits, `aa`, and blocks at a word; asks at another.
    struct Secrets {
        longest: usize,
    }

    impl Guard for Secrets {
        type Settings = NoSettings;
        const NAME: &str = "secrets";
        const VERSION: &str = "1.0.0";
        const DESCRIPTION: &str = "masks";
        const STAGES: &[Stage] = &[Stage::Egress];

        fn new(_: NoSettings) -> Result<Secrets, String> {
            Ok(Secrets { longest: 11 })
        }

        fn scan(&self, input: &Input) -> Result<Report, String> {
            let text = input.texts().next().ok_or("no reply")?;
            let all = |word: &str| text.text.match_indices(word).map(|(at, it)| text.finding(word, at..at + it.len())).collect::<Vec<_>>();
            let (blocked, asked) = (all("forbidden"), all("review"));
            if !blocked.is_empty() || !asked.is_empty() {
                return Ok(if blocked.is_empty() { Report::require_approval("?", asked) } else { Report::block("no", blocked) });
            }
            let digits = |it: &Finding| {
                text.text.as_bytes().get(it.end as usize..it.end as usize + 4).is_some_and(|it| it.iter().all(u8::is_ascii_digit))
            };
            let secrets = all("SECRET-").into_iter().filter(digits).map(|it| Finding { end: it.end + 4, ..it });
            Ok(Report::mask(secrets.chain(all("aa")).collect(), |it| format!("[{}]", it.rule)))
        }
    }

    impl Streaming for Secrets {
        fn longest(&self) -> usize {
            self.longest
        }
    }

    fn streamed(guard: &impl Streaming, pieces: &[&str]) -> Result<(String, Step, Report), String> {
        let (mut reply, mut out) = (Reply::open(guard, Input::of_messages(Stage::Egress, vec![])), String::new());
        for piece in pieces {
            match reply.push(guard, piece)? {
                Step::Emit(text) => out += &text,
                end => return Ok((out, end, reply.close(guard)?.1)),
            }
        }
        let (rest, report) = reply.close(guard)?;
        if let Step::Emit(text) = &rest {
            out += text;
        }
        Ok((out, rest, report))
    }

    fn characters(text: &str) -> Vec<&str> {
        text.char_indices().map(|(at, it)| &text[at..at + it.len_utf8()]).collect()
    }

    #[test]
    fn pieces_come_out_as_the_whole_does() {
        let guard = Secrets { longest: 11 };
        for (text, expected) in [
            ("", ""),
            ("nothing at all, and that at some length 👋", "nothing at all, and that at some length 👋"),
            ("é SECRET-1234 👋", "é [SECRET-] 👋"),
            ("SECRET-123SECRET-1234SECRET-9999", "SECRET-123[SECRET-][SECRET-]"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "[aa][aa][aa][aa][aa][aa][aa][aa][aa][aa][aa][aa][aa][aa][aa][aa][aa][aa][aa]a"),
            ("a SECRET-12345 and a SECRET-", "a [SECRET-]5 and a SECRET-"),
        ] {
            let whole = streamed(&guard, &[text]).unwrap();
            assert_eq!((&*whole.0, &streamed(&guard, &characters(text)).unwrap()), (expected, &whole), "{text}");
        }
    }

    #[test]
    fn a_block_and_a_question_end_it_and_what_went_out_is_the_beginning() {
        let guard = Secrets { longest: 11 };
        let masked = streamed(&guard, &characters("a SECRET-1234 before something forbidden, and more")).unwrap();
        assert_eq!((masked.0.as_str(), masked.1), ("a [SECRET-] before somethi", Step::Block("no".into())));
        for (word, end) in [("forbidden", Step::Block("no".into())), ("review", Step::Hold)] {
            let text = format!("a long beginning, then {word} and a long end that nobody sees");
            for pieces in [vec![&*text], characters(&text)] {
                let (out, ended, report) = streamed(&guard, &pieces).unwrap();
                assert!(ended == end && text.starts_with(&out) && !out.contains(word) && report.verdict == Verdict::Allow, "{out}");
            }
        }
    }

    #[test]
    fn text_goes_out_while_the_reply_is_being_written() {
        let guard = Secrets { longest: 11 };
        let mut reply = Reply::open(&guard, Input::of_messages(Stage::Egress, vec![]));
        assert_eq!(reply.push(&guard, "hello SECRET-1234 world"), Ok(Step::Emit("hello ".into())));
        assert_eq!(reply.push(&guard, ", hello"), Ok(Step::Emit("[SECRET-] w".into())));
    }

    /// Edits another message than the reply, where the reply ends like this.
    struct Elsewhere(&'static str);

    impl Guard for Elsewhere {
        type Settings = NoSettings;
        const NAME: &str = "elsewhere";
        const VERSION: &str = "1.0.0";
        const DESCRIPTION: &str = "edits what it may not";

        fn new(_: NoSettings) -> Result<Elsewhere, String> {
            Ok(Elsewhere(""))
        }

        fn scan(&self, input: &Input) -> Result<Report, String> {
            let ends = input.texts().any(|it| it.text.ends_with(self.0));
            let edit = Edit { at: Place::Part(PartPlace { message: 7, part: 0 }), start: 0, end: 1, text: "*".into() };
            Ok(Report { verdict: if ends { Verdict::Sanitize(vec![edit]) } else { Verdict::Allow }, ..Report::allow() })
        }
    }

    impl Streaming for Elsewhere {
        fn longest(&self) -> usize {
            3
        }
    }

    #[test]
    fn an_edit_outside_of_the_reply_is_an_error() {
        for (ends, pieces) in [("", &["the answer"][..]), (".", &["the answer", "."]), (".", &["t."])] {
            let why = streamed(&Elsewhere(ends), pieces).unwrap_err();
            assert!(why.contains("outside of the reply"), "{why}");
        }
    }

    #[test]
    fn a_hit_that_is_longer_than_said_is_an_error() {
        let why = streamed(&Secrets { longest: 3 }, &characters("a SECRET-1234 b")).unwrap_err();
        assert!(why.contains("longer than the 3 bytes"), "{why}");
    }
}
