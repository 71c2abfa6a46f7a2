//! `aegis completions`

use crate::Cli;
use crate::failure::Failure;
use crate::terminal::print;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to write them for
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "aegis", &mut script);
        print(String::from_utf8_lossy(&script).trim_end())
    }
}
