//! A streaming guard, cut: whatever the pieces are in which a reply comes in, what goes out and the evidence are those of the whole. Texts and
//! cuts follow from a seed, so that what was found once is found again.

use super::trial::{Content, Trial};
use aegis_core::{Edit, GuardFailure, Input, Report, Stage, Time, Verdict};
use aegis_wasm::{LoadedGuard, Step};

/// Bytes of a text at most, unless a case has a longer one.
const TEXT: usize = 400;
/// Put between what cases have: characters of one to four bytes.
const FILLERS: [&str; 8] = [" ", "a", "\n", ", ", "é", "你", "👋", "0"];

/// Numbers that follow from a seed (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end - 1`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).expect("smaller than a usize")
    }

    /// Texts of the cases, halves of them, and characters of all lengths, in any order.
    pub(super) fn text(&mut self, from: &[String]) -> String {
        if self.below(4) == 0 {
            return from[self.below(from.len())].clone();
        }
        let (mut text, pieces) = (String::new(), 1 + self.below(6));
        for _ in 0..pieces {
            let source = &from[self.below(from.len())];
            match self.below(3) {
                0 => text.push_str(FILLERS[self.below(FILLERS.len())]),
                1 => text.push_str(source),
                _ => {
                    let (a, b) = (self.below(source.len() + 1), self.below(source.len() + 1));
                    let (a, b) = (source.floor_char_boundary(a.min(b)), source.floor_char_boundary(a.max(b)));
                    text.push_str(&source[a..b]);
                }
            }
        }
        text.truncate(text.floor_char_boundary(TEXT));
        text
    }

    /// The same text in pieces of whole characters: one each, or up to 5 or 20, empty ones between.
    pub(super) fn cut<'a>(&mut self, text: &'a str) -> Vec<&'a str> {
        let most = [1, 5, 20][self.below(3)];
        let (mut rest, mut pieces) = (text, vec![]);
        while !rest.is_empty() {
            let count = self.below(most + 1);
            let at = rest.char_indices().nth(count).map_or(rest.len(), |(at, _)| at);
            let (piece, left) = rest.split_at(at);
            pieces.push(piece);
            rest = left;
        }
        pieces
    }
}

/// What came of a reply.
#[derive(Debug, PartialEq)]
enum End {
    Out,
    Blocked(String),
    Held,
    Failed(String),
}

#[derive(Debug)]
struct Outcome {
    out: String,
    end: End,
    evidence: Option<Report>,
}

/// What is wrong with one reply in these pieces; nothing where all is right.
pub(super) async fn wrong(guard: &LoadedGuard, before: &Content, pieces: &[&str], now: Time) -> Result<(), String> {
    let text = pieces.concat();
    let mut content = before.clone();
    content.messages.push(Content::of_text(Stage::Egress, text.clone()).messages.remove(0));
    let trial = Trial::new(guard.name(), guard.component(), guard.settings(), Stage::Egress, content, now)?;
    let input = trial.input();
    let (scanned, whole, cut) = (guard.scan(&input).await, stream(guard, &input, &[&text]).await, stream(guard, &input, pieces).await);
    let expected = expected(&text, scanned);
    differs("in one piece", &whole, &expected, "scan")?;
    differs("in these pieces", &cut, &expected, "scan")?;
    differs("in these pieces", &cut, &whole, "the same in one piece")
}

async fn stream(guard: &LoadedGuard, input: &Input<'_>, pieces: &[&str]) -> Outcome {
    let mut before = input.clone();
    before.messages.pop();
    let mut out = String::new();
    match pushed(guard, &before, pieces, &mut out).await {
        Ok((end, evidence)) => Outcome { out, end, evidence: Some(evidence) },
        Err(failure) => Outcome { out, end: End::Failed(failure.to_string()), evidence: None },
    }
}

async fn pushed(guard: &LoadedGuard, input: &Input<'_>, pieces: &[&str], out: &mut String) -> Result<(End, Report), GuardFailure> {
    let mut stream = guard.open(input).await?;
    let mut end = End::Out;
    for piece in pieces {
        match stream.push(piece).await? {
            Step::Emit(text) => out.push_str(&text),
            Step::Block(why) => end = End::Blocked(why),
            Step::Hold => end = End::Held,
        }
        if end != End::Out {
            break;
        }
    }
    let ending = stream.close().await?;
    match ending.rest {
        _ if end != End::Out => {} // nothing more goes out
        Step::Emit(text) => out.push_str(&text),
        Step::Block(why) => end = End::Blocked(why),
        Step::Hold => end = End::Held,
    }
    Ok((end, ending.report))
}

/// What a scan of the whole means for a stream.
fn expected(text: &str, scanned: Result<Report, GuardFailure>) -> Outcome {
    match scanned {
        Err(failure) => Outcome { out: String::new(), end: End::Failed(failure.to_string()), evidence: None },
        Ok(report) => {
            let (out, end) = match &report.verdict {
                Verdict::Allow => (text.to_owned(), End::Out),
                Verdict::Sanitize(edits) => (edited(text, edits), End::Out),
                Verdict::Block(why) => (String::new(), End::Blocked(why.clone())),
                Verdict::RequireApproval(_) => (text.to_owned(), End::Held),
            };
            Outcome { out, end, evidence: Some(report) }
        }
    }
}

fn edited(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort_by_key(|it| it.start);
    let (mut out, mut done) = (String::new(), 0);
    for edit in edits {
        out.push_str(text.get(done..edit.start as usize).unwrap_or_default());
        out.push_str(&edit.text);
        done = edit.end as usize;
    }
    out + text.get(done..).unwrap_or_default()
}

fn differs(how: &str, it: &Outcome, other: &Outcome, name: &str) -> Result<(), String> {
    if it.end == End::Held && matches!(other.end, End::Blocked(_)) {
        return Ok(()); // what is held is judged by `scan`, which blocks it
    }
    if it.end != other.end {
        return Err(format!("{how} it ends with {:?}, and {name} with {:?}", it.end, other.end));
    }
    match &it.end {
        End::Failed(_) | End::Blocked(_) => return Ok(()), // how much went out before depends on the pieces, and may
        End::Held if !other.out.starts_with(&it.out) => {
            return Err(format!("{how} {:?} went out before it held, which is not the beginning of {:?}", it.out, other.out));
        }
        End::Out if it.out != other.out => return Err(format!("{how} {:?} goes out, and {:?} by {name}", it.out, other.out)),
        End::Held => return Ok(()),
        End::Out => {}
    }
    let findings = |it: &Outcome| it.evidence.as_ref().map(|it| it.findings.clone());
    if findings(it) == findings(other) {
        Ok(())
    } else {
        Err(format!("{how} the evidence is {:?}, and {:?} by {name}", findings(it), findings(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::Place;

    #[test]
    fn pieces_are_the_text_and_follow_from_the_seed() {
        let from = ["SECRET-1234 é 👋".to_owned(), "forbidden".to_owned()];
        let all = |seed| {
            let mut dice = Dice::new(seed);
            (0..200)
                .map(|_| {
                    let text = dice.text(&from);
                    let pieces: Vec<String> = dice.cut(&text).into_iter().map(String::from).collect();
                    assert_eq!(pieces.concat(), text);
                    pieces
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        assert!(all(7).iter().any(|it| it.len() > 20) && all(7).iter().any(|it| it.iter().any(String::is_empty)));
    }

    #[test]
    fn edits_are_made_in_any_order() {
        let at = Place::Part { message: 0, part: 0 };
        let edit = |start, end, text: &str| Edit { at, start, end, text: text.into() };
        assert_eq!(edited("abcdef", &[edit(4, 5, "E"), edit(0, 2, "")]), "cdEf");
    }
}
