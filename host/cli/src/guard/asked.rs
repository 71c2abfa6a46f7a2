//! A guard and something that it is asked: what `run` and `bench` have in common.

use super::read;
use super::trial::{Content, Trial};
use crate::failure::Failure;
use crate::loading::{Bar, sandbox};
use aegis_core::{Code, Stage};
use aegis_server::now;
use aegis_wasm::{Limits, LoadError, LoadedGuard, Source};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct Asked {
    /// What it has to judge
    #[arg(long, value_name = "T", group = "what")]
    pub(super) text: Option<String>,
    /// A file with what it has to judge, or - for stdin: JSON, a text or {"messages": […], "tools": […], "metadata": {…}, "params": {…}, "memory": …}
    #[arg(long, value_name = "F", group = "what")]
    pub(super) input: Option<PathBuf>,
    /// Its settings, or @ and a file with them
    #[arg(long, value_name = "JSON|@F", default_value = "{}")]
    pub(super) settings: String,
    /// Where it is asked: ingress if it judges there, else the first stage that it names
    #[arg(long, value_name = "S", value_parser = stage)]
    pub(super) stage: Option<Stage>,
}

impl Asked {
    /// As a host would load it.
    pub(super) fn load(&self, component: &Path) -> Result<Arc<LoadedGuard>, Failure> {
        let limits = Limits::default();
        let bytes = read(component, limits.component)?;
        let name = &*component.file_stem().unwrap_or_default().to_string_lossy();
        let source = Source { name: name.into(), bytes: bytes.into(), settings: super::settings(&self.settings)?, limits };
        let bar = Bar::new();
        let wrong = |error: LoadError| Failure::new(error.code(), format!("{}: {error}", component.display()));
        sandbox()?.load(source, &|step| bar.step(name, step)).map_err(wrong)
    }

    pub(super) fn stage_of(&self, guard: &LoadedGuard) -> Result<Stage, Failure> {
        let stages = &guard.manifest().stages;
        let stage = self.stage.unwrap_or(stages.first().copied().unwrap_or(Stage::Ingress));
        let names: Vec<&str> = stages.iter().map(|it| it.name()).collect();
        let wrong =
            || Failure::new(Code::CLI_INPUT, format!("the guard is not asked at {}: it judges at {}", stage.name(), names.join(", ")));
        stages.contains(&stage).then_some(stage).ok_or_else(wrong)
    }

    /// A run that stands before the guard; where nothing is asked, with `usual`.
    pub(super) fn trial(&self, guard: &LoadedGuard, stage: Stage, usual: &str) -> Result<Trial, Failure> {
        let content = match (&self.text, &self.input) {
            (None, Some(file)) => {
                let json = read(file, Limits::default().input)?;
                let wrong = |why| Failure::new(Code::CLI_INPUT, format!("{}: {why}", file.display()));
                Content::read(stage, &json).map_err(wrong)?
            }
            (text, _) => Content::of_text(stage, text.as_deref().unwrap_or(usual).into()),
        };
        let trial = Trial::new(guard.name(), guard.component(), guard.settings(), stage, content, now());
        trial.map_err(|why| Failure::new(Code::CLI_INPUT, why))
    }
}

fn stage(text: &str) -> Result<Stage, String> {
    let names = Stage::ALL.map(Stage::name).join(", ");
    Stage::ALL.into_iter().find(|it| it.name() == text).ok_or_else(|| format!("write one of {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_written_as_in_the_configuration() {
        assert_eq!(stage("tool_call"), Ok(Stage::ToolCall));
        assert!(stage("tool-call").unwrap_err().contains("tool_call"));
    }
}
