//! Guests that nobody wrote: whatever they are, they are refused or judge within their limits, and what they hand back is read or is a failure.
//! `AEGIS_SEED=…` begins with that guest, `AEGIS_FUZZ_SECONDS=…` says how long new ones are made; `AEGIS_SMITH=…` is the seed of those that are made
//! when this is compiled.

use crate::{SANDBOX, ask, load as loaded, source};
use aegis_core::{Report, Verdict};
use aegis_programs::{GENERATED_CODE, GENERATED_COMPONENTS, GENERATED_MODULES, Program, TEXT, assemble, guard_of};
use aegis_wasm::LoadError;
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Far beyond the limits of one load and one scan, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Splitmix64, public domain, by Sebastiano Vigna.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let it = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let it = (it ^ (it >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        it ^ (it >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    fn field(&mut self, field: Field) -> u32 {
        (match field {
            Field::Tag(count) => self.below(count),
            Field::At => 8192 + 4 * self.below(64),
            Field::Length => self.below(3),
        }) as u32
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().expect("a number"))
}

/// Calls `one` with seed after seed until the time is over; which one came first is told past the test harness, for a process that
/// is killed shows nothing that it captured.
fn seeds(name: &str, mut one: impl FnMut(u64)) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_millis() as u64;
    let first = setting("AEGIS_SEED").unwrap_or(now);
    writeln!(std::io::stderr(), "{name}: begins with AEGIS_SEED={first}").expect("stderr");
    let (begun, length) = (Instant::now(), Duration::from_secs(setting("AEGIS_FUZZ_SECONDS").unwrap_or(6)));
    let mut seed = first;
    while begun.elapsed() < length {
        println!("AEGIS_SEED={seed}");
        let guest = Instant::now();
        one(seed);
        assert!(guest.elapsed() < PATIENCE, "this guest took {:?}", guest.elapsed());
        seed += 1;
    }
    assert!(seed > first + 10, "only {} guests in {length:?}", seed - first);
    writeln!(std::io::stderr(), "{name}: {} guests", seed - first).expect("stderr");
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn components_that_nobody_wrote_are_refused_or_judge() {
    seeds("components", |seed| {
        let bytes = damaged(&mut Dice(seed));
        if let Ok(guard) = SANDBOX.load(source(bytes, json!({})), &|_| ()) {
            let _ = block(ask(&guard, TEXT));
        }
    });
}

/// Those that were made when this was compiled, one after the other; which one it is, is told before it is tried.
fn each_of(made: &[(u64, &[u8])], mut one: impl FnMut(&[u8])) {
    assert!(made.len() > 50, "only {} were made", made.len());
    for (seed, bytes) in made {
        println!("AEGIS_SMITH={seed}");
        let guest = Instant::now();
        one(bytes);
        assert!(guest.elapsed() < PATIENCE, "this guest took {:?}", guest.elapsed());
    }
}

/// Valid, of every kind, and nothing of the contract in them.
#[test]
fn components_and_modules_that_nobody_wrote_are_refused_in_words() {
    for made in [GENERATED_COMPONENTS, GENERATED_MODULES] {
        each_of(made, |bytes| {
            let error = SANDBOX.load(source(bytes.to_vec(), json!({})), &|_| ()).err().expect("nobody writes a guard by chance");
            assert!(!error.to_string().is_empty() && SANDBOX.inspect(bytes).manifest.is_err());
        });
    }
}

/// Valid code behind the exports of a guard: it is compiled, and asked what it is.
#[test]
fn code_that_nobody_wrote_is_compiled_and_is_a_guard_or_fails_in_words() {
    let mut asked = 0;
    each_of(GENERATED_CODE, |module| {
        let bytes = guard_of(module).expect("it exports what a guard does");
        match SANDBOX.load(source(bytes, json!({})), &|_| ()) {
            Ok(guard) => drop(block(ask(&guard, TEXT))),
            Err(error) => {
                asked += u32::from(matches!(error, LoadError::Failed { .. } | LoadError::Manifest(_)));
                assert!(!error.to_string().is_empty());
            }
        }
    });
    assert!(asked > 50, "only {asked} were asked what they are: this proves little");
}

/// A guest with a few bytes changed, taken out or put in.
fn damaged(dice: &mut Dice) -> Vec<u8> {
    let small = [Program::KeepsState, Program::HoardsHandles, Program::IsNested];
    let mut bytes = small[dice.below(small.len())].bytes();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(4) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, dice.roll() as u8),
            2 => bytes[at] ^= 1 << dice.below(8),
            _ => bytes[at] = dice.roll() as u8,
        }
    }
    bytes
}

/// What stands at one word of a report.
#[derive(Clone, Copy)]
enum Field {
    /// Of so many.
    Tag(usize),
    At,
    Length,
}

/// A result, a verdict with the question that takes the most room, findings, labels, memory.
const REPORT: [Field; 14] = {
    use Field::{At, Length, Tag};
    [Tag(2), Tag(4), At, Length, At, Length, Length, At, Length, At, Length, Tag(2), At, Length]
};

/// The report stands at 512 (`assemble` says how), and what it points at may stand anywhere from 8192 on.
#[test]
fn reports_that_nobody_wrote_are_read_or_are_failures() {
    let mut read = 0;
    seeds("reports", |seed| {
        let mut dice = Dice(seed);
        let mut words: Vec<u32> = REPORT.iter().map(|it| dice.field(*it)).collect();
        // Most are sound to here, so that what they point at is looked at.
        if dice.below(3) == 0 {
            words[dice.below(REPORT.len())] = dice.roll() as u32;
        }
        let lists: Vec<u32> = (0..64)
            .map(|_| {
                let kind = [Field::Tag(1), Field::Tag(1), Field::Tag(1), Field::Tag(3), Field::At, Field::Length][dice.below(6)];
                dice.field(kind)
            })
            .collect();
        let guard = loaded(assemble(&format!("{} {}", data(512, &words), data(8192, &lists))));
        read += u32::from(block(ask(&guard, TEXT)).is_ok_and(|it| it != Report::of(Verdict::Allow)));
    });
    println!("{read} were read");
    assert!(read > 0, "no report with anything in it could be read: this proves little");
}

fn data(at: usize, words: &[u32]) -> String {
    let mut text = format!("(data (i32.const {at}) \"");
    words.iter().flat_map(|it| it.to_le_bytes()).for_each(|it| write!(text, "\\{it:02x}").expect("a string has room"));
    text + "\")"
}
