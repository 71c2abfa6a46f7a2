//! Why a command did not do it: a code, what happened, why, and what to do. Written to stderr; never a backtrace.

use crate::terminal::shown;
use aegis_core::Code;
use aegis_server::config::ConfigErrors;
use aegis_store::BackupError;
use serde::Deserialize;
use std::fmt;

/// One refusal or failure; with it the command exits 1.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Failure {
    /// `AEG-<AREA>-<NNN>`; a server of another version may know codes that we do not.
    pub(crate) code: String,
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) why: String,
    #[serde(default)]
    pub(crate) fix: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Failure {
        Failure { code: code.id.into(), message: message.to_string(), why: code.why.into(), fix: code.fix.into() }
    }
}

/// What these say is for people as it is; their code says the rest.
macro_rules! by_code {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::new(error.code(), error)
            }
        })*
    };
}

by_code!(aegis_server::OpenError, aegis_server::ListenError, aegis_store::StoreError);

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Failure {
        match error {
            BackupError::Store(error) => error.into(),
            BackupError::Exists(_) | BackupError::Write { .. } => Failure::new(Code::CLI_FILE, error),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Failure {
        // Each mistake on a line of its own that begins with its place, as editors expect it.
        Failure::new(errors.code(), format!("{}\n{errors}", errors.code().what))
    }
}

impl fmt::Display for Failure {
    /// Parts of it come from servers and guards, so nothing in it may steer the terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", shown(&self.code), shown(&self.message))?;
        for (name, text) in [("why", &self.why), ("fix", &self.fix)].into_iter().filter(|(_, text)| !text.is_empty()) {
            write!(f, "\n  {name}: {}", shown(text))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::new(Code::RUN_UNKNOWN, "there is no run 7");
        let lines: Vec<String> = failure.to_string().lines().map(String::from).collect();
        assert_eq!(lines[0], "AEG-RUN-001: there is no run 7");
        assert_eq!(lines[1], format!("  why: {}", Code::RUN_UNKNOWN.why));
        assert_eq!(lines[2], format!("  fix: {}", Code::RUN_UNKNOWN.fix));
    }

    #[test]
    fn a_failure_cannot_steer_the_terminal() {
        let failure = Failure { code: "AEG-X".into(), message: "\u{1b}[2J".into(), why: String::new(), fix: String::new() };
        assert_eq!(failure.to_string(), "AEG-X: \\u{1b}[2J");
    }
}
