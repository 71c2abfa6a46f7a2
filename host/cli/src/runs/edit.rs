//! `--edit PLACE=TEXT`: another text for one place of what is approved.

use crate::failure::Failure;
use aegis_core::Code;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::str::FromStr;

/// A place, and what stands there afterwards.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edited {
    at: Place,
    text: Text,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Part(Message, u32),
    Call(Message, u32),
    Tool(u32),
}

#[derive(Clone, Debug, PartialEq)]
enum Message {
    Number(u32),
    Reply,
}

#[derive(Clone, Debug, PartialEq)]
enum Text {
    Given(String),
    In(PathBuf),
}

impl FromStr for Edited {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Edited, &'static str> {
        let wrong = "write PLACE=TEXT or PLACE=@FILE, where a place is 0 (a message), 0.1 (its part), 0.call.0, reply, or tool.0";
        let (place, text) = text.split_once('=').ok_or(wrong)?;
        let at = place_of(place).ok_or(wrong)?;
        let text = text.strip_prefix('@').map_or_else(|| Text::Given(text.into()), |path| Text::In(path.into()));
        Ok(Edited { at, text })
    }
}

fn place_of(text: &str) -> Option<Place> {
    let fields: Vec<&str> = text.split('.').collect();
    let number = |text: &str| text.parse::<u32>().ok();
    let message = |text: &str| if text == "reply" { Some(Message::Reply) } else { number(text).map(Message::Number) };
    match fields[..] {
        ["tool", tool] => Some(Place::Tool(number(tool)?)),
        [it] => Some(Place::Part(message(it)?, 0)),
        [it, part] => Some(Place::Part(message(it)?, number(part)?)),
        [it, "call", call] => Some(Place::Call(message(it)?, number(call)?)),
        _ => None,
    }
}

impl Edited {
    /// As the server takes it. The reply follows so many `messages`; unknown to who may not see them.
    pub(super) fn body(&self, messages: Option<usize>) -> Result<Value, Failure> {
        let text = match &self.text {
            Text::Given(text) => text.clone(),
            Text::In(path) => std::fs::read_to_string(path)
                .map_err(|error| Failure::new(Code::CLI_FILE, format!("{} cannot be read: {error}", path.display())))?,
        };
        let index = |message: &Message| match message {
            Message::Number(number) => *number as usize,
            Message::Reply => messages.unwrap_or_default(),
        };
        Ok(match &self.at {
            Place::Part(message, 0) => json!({"message": index(message), "text": text}),
            Place::Part(message, part) => json!({"message": index(message), "part": part, "text": text}),
            Place::Call(message, call) => json!({"message": index(message), "call": call, "text": text}),
            Place::Tool(tool) => json!({"tool": tool, "text": text}),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_the_help_says() {
        for (text, body) in [
            ("2=a=b", json!({"message": 2, "text": "a=b"})),
            ("2.1=", json!({"message": 2, "part": 1, "text": ""})),
            ("reply=x", json!({"message": 3, "text": "x"})),
            ("reply.call.1={}", json!({"message": 3, "call": 1, "text": "{}"})),
            ("tool.0=x", json!({"tool": 0, "text": "x"})),
        ] {
            assert_eq!(text.parse::<Edited>().unwrap().body(Some(3)).unwrap(), body, "{text}");
        }
        for wrong in ["x", "=x", "a=x", "0.call=x", "0.1.2=x", "tool=x", "-1=x"] {
            assert!(wrong.parse::<Edited>().is_err(), "{wrong}");
        }
        assert_eq!("0=@/nowhere".parse::<Edited>().unwrap().body(None).unwrap_err().code, Code::CLI_FILE.id);
    }
}
