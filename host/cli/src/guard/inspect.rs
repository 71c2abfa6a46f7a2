//! `aegis guard inspect`

use super::read;
use crate::failure::Failure;
use crate::loading;
use crate::terminal::{self, line, print, print_json, shown};
use aegis_wasm::{Inspection, Kind, Limits, Manifest, need};
use clap::Args;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 for a guard, 1 for anything else, 2 for wrong usage.")]
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
        let inspection = loading::inspector()?.inspect(&bytes);
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
        "needs": it.imports.iter().map(|name| (name.clone(), json!(need(name)))).collect::<Map<String, Value>>(),
        "refused": it.refused,
        "exports": it.exports,
        "contract": it.contract,
        "snapshot": it.snapshot.is_ok(),
        "no_snapshot": it.snapshot.as_ref().err(),
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
    let imports: Vec<String> = it.imports.iter().map(|name| format!("{name}: needs {}", need(name))).collect();
    facts.push(("imports", list(&imports)));
    if !it.refused.is_empty() {
        facts.push(("refused", list(&it.refused)));
    }
    facts.push(("contract", it.contract.as_deref().map_or("none: it exports no aegis:guard/scanner".into(), line)));
    if it.manifest.is_ok() {
        facts.push((
            "snapshot",
            it.snapshot.as_ref().map_or_else(|why| format!("none, each scan configures anew: {}", line(why)), |()| "yes".into()),
        ));
    }
    facts.extend(it.manifest.iter().flat_map(manifest_facts));
    terminal::facts(&facts)
}

fn manifest_facts(it: &Manifest) -> Vec<(&'static str, String)> {
    let stages: Vec<&str> = it.stages.iter().map(|it| it.name()).collect();
    let mut facts = vec![
        ("name", format!("{} {}", line(&it.name), line(&it.version))),
        ("description", shown(&it.description)),
        ("stages", stages.join(", ")),
        ("streaming", if it.streaming { "yes" } else { "no" }.into()),
        ("settings", if it.settings_schema.is_empty() { "takes none".into() } else { settings(&schema(it)) }),
    ];
    facts.extend(it.notes.iter().map(|(key, value)| ("note", format!("{}: {}", line(key), shown(value)))));
    facts
}

/// A line for each setting: name, type, default, meaning.
fn settings(schema: &Value) -> String {
    let mut rows = vec![];
    rows_of(schema, "", &mut rows);
    if rows.is_empty() {
        return shown(&schema.to_string());
    }
    let width = |column: usize| rows.iter().map(|it| it[column].chars().count()).max().unwrap_or_default();
    let (name, kind, default) = (width(0), width(1), width(2));
    let row = |it: &[String; 4]| format!("{:name$}  {:kind$}  {:default$}  {}", it[0], it[1], it[2], it[3]).trim_end().to_owned();
    rows.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// Those of an object, and of the objects in it: `patterns[].name`.
fn rows_of(schema: &Value, prefix: &str, rows: &mut Vec<[String; 4]>) {
    let required = |name: &str| schema["required"].as_array().is_some_and(|it| it.iter().any(|it| it == name));
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        let default = match of.get("default") {
            Some(value) => format!("default {value}"),
            None if required(name) => "required".into(),
            None => String::new(),
        };
        let (path, meaning) = (format!("{prefix}{name}"), of["description"].as_str().unwrap_or_default());
        rows.push([line(&path), line(&kind_of(of)), line(&default), line(meaning)]);
        if rows.len() < 200 && prefix.len() < 200 {
            rows_of(of, &format!("{path}."), rows);
            rows_of(&of["items"], &format!("{path}[]."), rows);
        }
    }
}

/// `array of string`, `one of "a", "b"`.
fn kind_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return format!("one of {}", values.iter().map(Value::to_string).collect::<Vec<_>>().join(", "));
    }
    let either = ["oneOf", "anyOf"].iter().find_map(|it| schema[it].as_array());
    match (&schema["type"], either) {
        (Value::String(kind), _) if kind == "array" && schema["items"].is_object() => format!("array of {}", kind_of(&schema["items"])),
        (Value::String(kind), _) => kind.clone(),
        (Value::Array(kinds), _) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        (_, Some(either)) => either.iter().map(kind_of).collect::<Vec<_>>().join(" or "),
        _ => "anything".into(),
    }
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
            settings_schema: r#"{"type":"object","required":["words"],"properties":{"words":{"type":"array","items":{"type":"string"},"description":"What to find"},
                "rules":{"type":"array","items":{"type":"object","properties":{"action":{"enum":["block","mask"],"default":"block"}}}}}}"#
                .into(),
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
            snapshot: Ok(()),
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
        snapshot     yes
        name         no-secrets 1.0.0
        description  Finds \u{1b}[31mkeys
        stages       ingress, egress
        streaming    no
        settings     words           array of string         required         What to find
                     rules           array of object
                     rules[].action  one of "block", "mask"  default "block"
        note         license: MIT
        "#);
    }

    #[test]
    fn programs_read_the_schema_as_json() {
        let json = as_json(&inspection());
        assert_eq!((&json["imports"], &json["manifest"]["settings_schema"]["type"]), (&json!([]), &json!("object")));
        assert_eq!(json["manifest"]["notes"], json!({"license": "MIT"}));
        let refused = Inspection { manifest: Err(aegis_wasm::LoadError::Module), kind: Kind::Module, contract: None, ..inspection() };
        assert_eq!((&as_json(&refused)["kind"], &as_json(&refused)["error"]["code"]), (&json!("module"), &json!("AEG-GRD-001")));
    }
}
