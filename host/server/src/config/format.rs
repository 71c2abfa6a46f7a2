//! Texts that mean something: each format has a schema, which names it, and a check, which says what to write instead.

use super::mistake::{closest, one_of};
use aegis_core::{Approver, ApproverError, Code, Digest};
use bytesize::ByteSize;
use schemars::{Schema, SchemaGenerator, json_schema};
use std::net::SocketAddr;
use std::time::Duration;
use url::Url;

/// Why a text has not the format: the code, and what to write. Never holds a secret.
pub(super) type Wrong = (Code, String);

/// The guards that come with Aegis.
pub(super) const BUILTIN: &[&str] = &["patterns", "sensitive-topic"];

macro_rules! formats {
    ({ $($name:ident $check:expr;)* } checked_only { $($other:ident $check_other:expr;)* }) => {
        $(pub(super) fn $name(_: &mut SchemaGenerator) -> Schema {
            let types: &[&str] = if stringify!($name) == "size" { &["string", "integer"] } else { &["string"] };
            json_schema!({ "type": types, "format": stringify!($name) })
        })*

        /// Checks a text against a format by its name; names that are not from here say nothing about it.
        pub(super) fn check(format: &str, text: &str) -> Result<(), Wrong> {
            let check: fn(&str) -> Result<(), Wrong> = match format {
                $(stringify!($name) => $check,)*
                $(stringify!($other) => $check_other,)*
                _ => return Ok(()),
            };
            check(text)
        }
    };
}

formats! {{
    duration check_duration;
    size |text| text.parse::<ByteSize>().map(drop).map_err(|_| wrong(text, "a size", "64KiB or 1MiB"));
    sha256 |text| text.parse::<Digest>().map(drop).map_err(|_| wrong(text, "a SHA-256", "the 64 hex digits that `sha256sum FILE` prints"));
    approver |text| check_approver(text).map(drop).map_err(|why| (Code::CFG_INVALID, format!("{text:?}: {why}")));
    address |text| text.parse::<SocketAddr>().map(drop).map_err(|_| wrong(text, "an IP address with a port", "127.0.0.1:8000 or [::1]:8000"));
    host |text| if is_host(text) { Ok(()) } else { Err(wrong(text, "a host name without scheme and port", "aegis.example.com")) };
    origin check_origin;
    component check_component;
} checked_only {
    base_url |text| check_url(text).map(drop);
    secret check_secret;
}}

fn wrong(text: &str, what: &str, example: &str) -> Wrong {
    let short: String = text.chars().take(80).collect();
    (Code::CFG_INVALID, format!("{short:?} is not {what}: write for example {example}"))
}

/// Reads an entry of a list of approvers as a person writes it. Unlike the core, which takes every text without a kind before it for a
/// principal's id, this refuses one that begins almost like a kind (`teams:risk`, `Team:risk`): nobody would be found by it.
///
/// # Errors
/// What to write instead.
pub fn check_approver(text: &str) -> Result<Approver, String> {
    match (text.parse().map_err(|error: ApproverError| error.to_string())?, text.split_once(':')) {
        (Approver::Principal(_), Some((kind, name))) => match closest(kind, &["team", "role"]) {
            Some(meant) => Err(format!("did you mean {:?}? A principal's id cannot begin like that", format!("{meant}:{name}"))),
            None => Ok(Approver::Principal(text.into())),
        },
        (approver, _) => Ok(approver),
    }
}

/// A hundred years: beyond them sums of milliseconds stop making sense.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

fn check_duration(text: &str) -> Result<(), Wrong> {
    match humantime::parse_duration(text) {
        Ok(it) if it <= LONGEST => Ok(()),
        Ok(_) => Err((Code::CFG_INVALID, format!("{text:?} is too long: write at most 100years"))),
        Err(_) if text.parse::<f64>().is_ok() => {
            Err((Code::CFG_INVALID, format!("{text:?} has no unit: write {text}ms, {text}s or {text}h")))
        }
        Err(_) => Err(wrong(text, "a length of time", "50ms, 30s or 24h")),
    }
}

fn is_host(text: &str) -> bool {
    let address = text.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
    address || (!text.is_empty() && text.len() <= 253 && text.chars().all(|it| it.is_ascii_alphanumeric() || ".-_".contains(it)))
}

/// The text itself is not shown: people write keys into addresses.
fn check_url(text: &str) -> Result<Url, Wrong> {
    let say = |message: &str| Err((Code::CFG_INVALID, message.to_string()));
    match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            say("this address holds a user or a password: write secrets as secret://env/NAME where they are asked for")
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => say("this is not an address of HTTP: write for example https://api.openai.com/v1"),
    }
}

fn check_origin(text: &str) -> Result<(), Wrong> {
    let url = check_url(text)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if bare { Ok(()) } else { Err(wrong(text, "an address without path", "https://aegis.example.com")) }
}

fn check_component(text: &str) -> Result<(), Wrong> {
    match text.split_once(':') {
        _ if text.starts_with("oci://") => {
            Err((Code::CFG_UNSUPPORTED, "oci:// is not in this version: write the path of a component file".into()))
        }
        Some(("builtin", name)) if !BUILTIN.contains(&name) => {
            let known: Vec<String> = BUILTIN.iter().map(|it| format!("builtin:{it}")).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Err((Code::CFG_INVALID, format!("no guard {name:?} comes with Aegis: write {}, or the path of a file", one_of(&known))))
        }
        _ if text.trim().is_empty() => Err(wrong(text, "a file", "guards/pii.wasm")),
        _ => Ok(()),
    }
}

fn check_secret(text: &str) -> Result<(), Wrong> {
    let invalid = |message: &str| Err((Code::CFG_INVALID, message.to_string()));
    match text.strip_prefix("secret://").map(|it| it.split_once('/')) {
        None => invalid("a secret is not written down here: write secret://env/NAME or secret://file/PATH"),
        Some(Some(("env" | "file", name))) if !name.is_empty() => Ok(()),
        Some(_) => invalid("this names no secret: write secret://env/NAME or secret://file/PATH"),
    }
}

/// Their settings are described by the providers themselves, which know nothing of formats.
pub(super) fn of_providers(schema: &mut Schema) {
    const FORMATS: [(&str, &str); 7] = [
        ("base_url", "base_url"),
        ("api_key", "secret"),
        ("delay", "duration"),
        ("connect_timeout", "duration"),
        ("timeout", "duration"),
        ("idle_timeout", "duration"),
        ("max_response", "size"),
    ];
    let branches = schema.get_mut("oneOf").and_then(|it| it.as_array_mut()).into_iter().flatten();
    for properties in branches.filter_map(|it| it.get_mut("properties")) {
        for (property, format) in FORMATS {
            if let Some(property) = properties.get_mut(property).and_then(|it| it.as_object_mut()) {
                property.insert("format".into(), format.into());
            }
        }
    }
}

pub(super) fn approvers(schemas: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": approver(schemas), "maxItems": 1000 })
}

pub(super) fn secret(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "secret" })
}

pub(super) fn hosts(schemas: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": host(schemas) })
}

pub(super) fn mode(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["enforce", "monitor"] })
}

pub(super) fn on_failure(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["block", "allow"] })
}

pub(super) fn on_unknown(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["retry", "error"] })
}
