//! `aegis guard inspect`

use super::read;
use crate::failure::Failure;
use crate::terminal::{self, line, print, print_json, shown};
use aegis_wasm::{Inspection, Kind, Limits, Manifest};
use clap::Args;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The guard's component
    #[arg(value_name = "F")]
    component: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    /// What can be said is said, also of what is no guard; that it is none is the failure.
    pub(super) fn run(self) -> Result<(), Failure> {
        let bytes = read(&self.component, Limits::default().component)?;
        let inspection = aegis_wasm::inspect(&bytes);
        if self.json {
            print_json(&as_json(&inspection))?
        } else {
            print(&render(&inspection))?
        }
        inspection.manifest.map(drop).map_err(|error| Failure::new(error.code(), format!("{}: {error}", self.component.display())))
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Component => "component",
        Kind::Module => "module",
        Kind::Other => "no WebAssembly",
    }
}

fn as_json(it: &Inspection) -> Value {
    let mut json = json!({
        "kind": kind(it.kind),
        "size": it.size,
        "sha256": it.digest,
        "imports": it.imports,
        "refused": it.refused,
        "exports": it.exports,
        "contract": it.contract,
        "manifest": it.manifest.as_ref().ok().map(manifest_json),
    });
    if let Err(error) = &it.manifest {
        json["error"] = json!({"code": error.code().id, "message": error.to_string()});
    }
    json
}

fn manifest_json(it: &Manifest) -> Value {
    let notes: Map<String, Value> = it.notes.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({
        "name": it.name,
        "version": it.version,
        "description": it.description,
        "stages": it.stages,
        "scope": it.scope,
        "streaming": it.streaming,
        "settings_schema": schema(it),
        "notes": notes,
    })
}

/// As JSON where it is JSON.
fn schema(it: &Manifest) -> Value {
    match it.settings_schema.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    }
}

pub(super) fn render(it: &Inspection) -> String {
    let list = |names: &[String]| if names.is_empty() { "nothing".into() } else { shown(&names.join("\n")) };
    let mut facts = vec![("kind", kind(it.kind).into()), ("size", format!("{} bytes", it.size)), ("sha256", it.digest.to_string())];
    facts.push(("imports", list(&it.imports)));
    if !it.refused.is_empty() {
        facts.push(("refused", list(&it.refused)));
    }
    facts.push(("contract", it.contract.as_deref().map_or("none: it exports no aegis:guard/scanner".into(), line)));
    facts.extend(it.manifest.iter().flat_map(manifest_facts));
    terminal::facts(&facts)
}

fn manifest_facts(it: &Manifest) -> Vec<(&'static str, String)> {
    let stages: Vec<&str> = it.stages.iter().map(|it| it.name()).collect();
    let schema = serde_json::to_string_pretty(&schema(it)).expect("JSON has string keys only");
    let mut facts = vec![
        ("name", format!("{} {}", line(&it.name), line(&it.version))),
        ("description", shown(&it.description)),
        ("stages", stages.join(", ")),
        ("streaming", if it.streaming { "yes" } else { "no" }.into()),
        ("settings", if it.settings_schema.is_empty() { "takes none".into() } else { shown(&schema) }),
    ];
    facts.extend(it.notes.iter().map(|(key, value)| ("note", format!("{}: {}", line(key), shown(value)))));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::{Digest, Scope, Stage};

    fn inspection() -> Inspection {
        let manifest = Manifest {
            name: "no-secrets".into(),
            version: "1.0.0".into(),
            description: "Finds \u{1b}[31mkeys".into(),
            stages: vec![Stage::Ingress, Stage::Egress],
            scope: Scope::Message,
            streaming: false,
            settings_schema: r#"{"type":"object"}"#.into(),
            notes: vec![("license".into(), "MIT".into())],
        };
        Inspection {
            kind: Kind::Component,
            size: 12,
            digest: Digest([0; 32]),
            imports: vec![],
            refused: vec![],
            exports: vec!["aegis:guard/scanner@0.1.0".into()],
            contract: Some("0.1.0".into()),
            manifest: Ok(manifest),
        }
    }

    #[test]
    fn a_guard_says_what_it_is() {
        insta::assert_snapshot!(render(&inspection()), @r#"
        kind         component
        size         12 bytes
        sha256       sha256:0000000000000000000000000000000000000000000000000000000000000000
        imports      nothing
        contract     0.1.0
        name         no-secrets 1.0.0
        description  Finds \u{1b}[31mkeys
        stages       ingress, egress
        streaming    no
        settings     {
                       "type": "object"
                     }
        note         license: MIT
        "#);
    }

    #[test]
    fn programs_read_the_schema_as_json() {
        let json = as_json(&inspection());
        assert_eq!((&json["imports"], &json["manifest"]["settings_schema"]), (&json!([]), &json!({"type": "object"})));
        assert_eq!(json["manifest"]["notes"], json!({"license": "MIT"}));
        let refused = Inspection { manifest: Err(aegis_wasm::LoadError::Module), kind: Kind::Module, contract: None, ..inspection() };
        assert_eq!((&as_json(&refused)["kind"], &as_json(&refused)["error"]["code"]), (&json!("module"), &json!("AEG-GRD-001")));
    }
}
