//! A line of a run's ledger as a client reads it: flat, with times that people can read, and with the guard's words instead of
//! their digest. Written field by field: every answer has several, and a tree of JSON values in between cost a tenth of it.

use crate::clock::rfc3339;
use aegis_core::{Entry, Fact, Finish, Ruling, Run};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// One entry of the run's history.
pub(super) struct EventView<'a> {
    pub(super) run: &'a Run,
    pub(super) entry: &'a Entry,
}

impl Serialize for EventView<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("time", &rfc3339(self.entry.time))?;
        self.fact(&mut map)?;
        map.end()
    }
}

/// `name: value` for each name that is also the variable's.
macro_rules! write_fields {
    ($map:ident, $($name:ident),*) => {{ $($map.serialize_entry(stringify!($name), $name)?;)* }};
}

impl EventView<'_> {
    fn fact<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("type", kind(&self.entry.fact))?;
        match &self.entry.fact {
            Fact::Created { principal, route, plan, content } => write_fields!(map, principal, route, plan, content),
            Fact::Judged { stage, guard, component, settings, ruling, findings } => {
                write_fields!(map, stage, guard, component, settings);
                self.ruling(map, ruling)?;
                write_fields!(map, findings);
            }
            Fact::Answered { attempt, finish } => {
                write_fields!(map, attempt);
                finished(map, finish)?;
            }
            Fact::Interrupted { attempt } | Fact::Resumed { attempt } => write_fields!(map, attempt),
            Fact::Decided { approval, by, choice, comment, edited } => write_fields!(map, approval, by, choice, comment, edited),
            Fact::Expired { approval } => write_fields!(map, approval),
            Fact::Cancelled { by } => write_fields!(map, by),
            Fact::Lost { missing } => write_fields!(map, missing),
        }
        Ok(())
    }

    fn ruling<M: SerializeMap>(&self, map: &mut M, ruling: &Ruling) -> Result<(), M::Error> {
        let words = self.run.words(self.entry);
        let verdict = |map: &mut M, name: &str| map.serialize_entry("verdict", name);
        match ruling {
            Ruling::Allow => verdict(map, "allow"),
            Ruling::Sanitize { edits, content } => {
                verdict(map, "sanitize")?;
                write_fields!(map, edits, content);
                Ok(())
            }
            Ruling::Block { words: _ } => {
                verdict(map, "block")?;
                map.serialize_entry("why", &words)
            }
            Ruling::RequireApproval { approval, digest, words: _, required, expires_at } => {
                verdict(map, "require_approval")?;
                write_fields!(map, approval, digest, required);
                map.serialize_entry("expires_at", &rfc3339(*expires_at))?;
                map.serialize_entry("prompt", &words)
            }
            Ruling::Failed { kind: _, words: _, passed } => {
                verdict(map, "failed")?;
                write_fields!(map, passed);
                map.serialize_entry("failure", &self.run.failure(self.entry))
            }
            Ruling::Monitored { said, words: _ } => {
                verdict(map, "monitored")?;
                write_fields!(map, said);
                map.serialize_entry("why", &words)
            }
        }
    }
}

fn finished<M: SerializeMap>(map: &mut M, finish: &Finish) -> Result<(), M::Error> {
    let result = |map: &mut M, name: &str| map.serialize_entry("result", name);
    match finish {
        Finish::Reply { content, usage } => {
            result(map, "reply")?;
            write_fields!(map, content, usage);
        }
        Finish::Retry { message, until } => {
            result(map, "retry")?;
            write_fields!(map, message);
            map.serialize_entry("until", &rfc3339(*until))?;
        }
        Finish::Failed { message } => {
            result(map, "failed")?;
            write_fields!(map, message);
        }
    }
    Ok(())
}

fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Created { .. } => "created",
        Fact::Judged { .. } => "judged",
        Fact::Answered { .. } => "answered",
        Fact::Interrupted { .. } => "interrupted",
        Fact::Resumed { .. } => "resumed",
        Fact::Decided { .. } => "decided",
        Fact::Expired { .. } => "expired",
        Fact::Cancelled { .. } => "cancelled",
        Fact::Lost { .. } => "lost",
    }
}
