//! Hostile guests: one bad thing each, in a file of its own that says in its first line what it does. Nothing in here
//! runs them.

mod assemble;
mod ends;

pub use assemble::{assemble, guard_of};
pub use ends::Ends;

include!(concat!(env!("OUT_DIR"), "/programs.rs"));

/// What every guest is asked about; it holds a character of two bytes, at byte 2.
pub const TEXT: &str = "Grüße, dies ist eine Frage";

impl Program {
    /// The name of its file, without the ending.
    pub fn name(self) -> &'static str {
        self.file().0
    }

    /// What it does, in one sentence.
    pub fn what(self) -> &'static str {
        self.file().1.lines().next().unwrap_or_default().trim_start_matches([';', ' '])
    }

    /// Its file as bytes that can be loaded, or that cannot.
    pub fn bytes(self) -> Vec<u8> {
        assemble(self.file().1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_says_what_it_does_and_can_be_assembled() {
        for program in Program::ALL {
            assert!(program.file().1.starts_with(";; ") && program.what().ends_with('.'), "{}: no first sentence", program.name());
            assert!(!program.bytes().is_empty(), "{}", program.name());
            assert!(program.file().1.len() < 3_000, "{} is no longer small enough to read", program.name());
        }
    }
}
