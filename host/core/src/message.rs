//! Messages, tool calls and tools in the shape of OpenAI's chat API. Nothing unknown is let in: what no guard can
//! see must not reach the model.

use crate::json::{Strict, only_objects};
use crate::{Digest, word};
use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// Who says something. OpenAI's old `function` counts as `tool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are OpenAI's")]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        use Role::{Assistant, Developer, System, Tool, User};
        let words =
            [("user", User), ("assistant", Assistant), ("system", System), ("developer", Developer), ("tool", Tool), ("function", Tool)];
        word::read(from, &words)
    }
}

/// One message of a conversation; unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    #[serde(default, skip_serializing_if = "Content::is_none")]
    pub content: Content,
    /// The model's words when it refuses; guards see it as one more text part after the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The author's name where the client gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the model wants to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Of role `tool`: the call that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A message of one text.
    pub fn text(role: Role, text: impl Into<String>) -> Message {
        Message { role, content: Content::Text(text.into()), refusal: None, name: None, tool_calls: vec![], tool_call_id: None }
    }

    /// What a guard sees of it, in the order in which a guard counts parts.
    pub fn parts(&self) -> impl Iterator<Item = PartView<'_>> {
        let content: &[Part] = if let Content::Parts(parts) = &self.content { parts } else { &[] };
        let text = if let Content::Text(text) = &self.content { Some(text) } else { None };
        text.into_iter()
            .map(|it| PartView::Text(it))
            .chain(content.iter().map(Part::view))
            .chain(self.refusal.iter().map(|it| PartView::Text(it)))
    }

    /// One of [`Message::parts`], without looking at those before it.
    pub fn part(&self, index: usize) -> Option<PartView<'_>> {
        let (count, part) = match &self.content {
            Content::None => (0, None),
            Content::Text(text) => (1, (index == 0).then_some(PartView::Text(text))),
            Content::Parts(parts) => (parts.len(), parts.get(index).map(Part::view)),
        };
        if index == count { self.refusal.as_deref().map(PartView::Text) } else { part }
    }

    /// The text at part `index`, for an edit; `None` when there is no such part or it is no text.
    pub fn text_mut(&mut self, index: usize) -> Option<&mut String> {
        let (count, part) = match &mut self.content {
            Content::None => (0, None),
            Content::Text(text) => (1, (index == 0).then_some(text)),
            Content::Parts(parts) => (parts.len(), parts.get_mut(index).and_then(Part::text_mut)),
        };
        if index == count { self.refusal.as_mut() } else { part }
    }

    /// All of its text, parts joined by line breaks: what a person reads.
    pub fn joined(&self) -> String {
        let texts: Vec<Cow<'_, str>> =
            self.parts().filter_map(|part| if let PartView::Text(text) = part { Some(text.into()) } else { None }).collect();
        texts.join("\n")
    }
}

/// What is said: a text, parts, or nothing (an assistant's message with tool calls alone).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Content {
    /// `null` or left out.
    #[default]
    None,
    /// A plain string.
    Text(String),
    /// OpenAI's content parts.
    Parts(Vec<Part>),
}

impl Content {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        matches!(self, Content::None)
    }
}

/// One piece of a message's content.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// `{"type":"text","text":…}`
    Text(String),
    /// `{"type":"image_url","image_url":{…}}`
    ImageUrl(ImageUrl),
    /// `{"type":"input_audio","input_audio":{…}}`
    InputAudio(InputAudio),
    /// Any other type, as the JSON it came in: guards see all of it.
    Other(Value),
}

/// An image, by address or as a data URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct ImageUrl {
    /// `https://…` or `data:image/png;base64,…`.
    pub url: String,
    /// How closely the model looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

/// How closely a model looks at an image: no more than these words, because guards are not shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are OpenAI's")]
pub enum Detail {
    Auto,
    Low,
    High,
}

impl<'de> Deserialize<'de> for Detail {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Detail, D::Error> {
        word::read(from, &[Detail::Auto, Detail::Low, Detail::High].map(|it| (it.name(), it)))
    }
}

impl Detail {
    /// As it is written.
    pub fn name(self) -> &'static str {
        ["auto", "low", "high"][self as usize]
    }
}

/// Recorded speech, inline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct InputAudio {
    /// Base64.
    pub data: String,
    /// `wav` or `mp3`.
    pub format: String,
}

/// What a guard sees of one part.
#[derive(Clone, Debug, PartialEq)]
pub enum PartView<'a> {
    /// Text that can be judged and edited.
    Text(&'a str),
    /// Media: where it is, or the SHA-256 of its inline data as it was written (base64), as `sha256:<hex>`.
    Media {
        /// For example `image/png`; empty when the client did not say.
        mime: Cow<'a, str>,
        /// As the client wrote it, or the digest of inline data.
        uri: Cow<'a, str>,
    },
    /// The JSON it came in.
    Other(String),
}

impl Part {
    fn view(&self) -> PartView<'_> {
        match self {
            Part::Text(text) => PartView::Text(text),
            Part::ImageUrl(image) => match image.url.strip_prefix("data:").and_then(|it| it.split_once(',')) {
                Some((kind, data)) => inline(kind.split(';').next().unwrap_or_default().into(), data),
                None => PartView::Media { mime: "".into(), uri: image.url.as_str().into() },
            },
            Part::InputAudio(audio) => inline(format!("audio/{}", audio.format).into(), &audio.data),
            Part::Other(json) => PartView::Other(json.to_string()),
        }
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        if let Part::Text(text) = self { Some(text) } else { None }
    }
}

fn inline<'a>(mime: Cow<'a, str>, data: &str) -> PartView<'a> {
    PartView::Media { mime, uri: Digest::of(data.as_bytes()).to_string().into() }
}

/// A call that the model wants to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "WireToolCall", from = "WireToolCall")]
pub struct ToolCall {
    /// The call's id, which its answer names.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// JSON text, as the model wrote it.
    pub arguments: String,
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "WireTool", from = "WireTool")]
pub struct Tool {
    /// The tool's name.
    pub name: String,
    /// What it does; guards may edit it.
    pub description: Option<String>,
    /// Its JSON Schema.
    pub parameters: Option<Value>,
    /// Whether the model has to keep to the schema.
    pub strict: Option<bool>,
}

#[derive(Clone, Copy, Serialize)]
enum FunctionType {
    #[serde(rename = "function")]
    Function,
}

impl<'de> Deserialize<'de> for FunctionType {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<FunctionType, D::Error> {
        word::read(from, &[("function", FunctionType::Function)])
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct WireToolCall {
    id: String,
    #[serde(rename = "type")]
    kind: FunctionType,
    function: WireFunctionCall,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct WireFunctionCall {
    name: String,
    arguments: String,
}

impl From<ToolCall> for WireToolCall {
    fn from(it: ToolCall) -> WireToolCall {
        WireToolCall { id: it.id, kind: FunctionType::Function, function: WireFunctionCall { name: it.name, arguments: it.arguments } }
    }
}

impl From<WireToolCall> for ToolCall {
    fn from(it: WireToolCall) -> ToolCall {
        ToolCall { id: it.id, name: it.function.name, arguments: it.function.arguments }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct WireTool {
    #[serde(rename = "type")]
    kind: FunctionType,
    function: WireFunction,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct WireFunction {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "strict_or_none")]
    parameters: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl From<Tool> for WireTool {
    fn from(it: Tool) -> WireTool {
        let function = WireFunction { name: it.name, description: it.description, parameters: it.parameters, strict: it.strict };
        WireTool { kind: FunctionType::Function, function }
    }
}

impl From<WireTool> for Tool {
    fn from(it: WireTool) -> Tool {
        let it = it.function;
        Tool { name: it.name, description: it.description, parameters: it.parameters, strict: it.strict }
    }
}

only_objects! { Message ImageUrl InputAudio WireToolCall WireFunctionCall WireTool WireFunction }

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Content::None => to.serialize_none(),
            Content::Text(text) => to.serialize_str(text),
            Content::Parts(parts) => parts.serialize(to),
        }
    }
}

/// By hand, because `untagged` forgets what was wrong inside.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Content, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of parts, or null")
            }

            fn visit_unit<E: Error>(self) -> Result<Content, E> {
                Ok(Content::None)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = seq.next_element()? {
                    parts.push(part);
                }
                Ok(Content::Parts(parts))
            }
        }
        from.deserialize_any(Either)
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WirePart {
    Text { text: String },
    ImageUrl { image_url: ImageUrl },
    InputAudio { input_audio: InputAudio },
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.clone() {
            Part::Text(text) => WirePart::Text { text }.serialize(to),
            Part::ImageUrl(image_url) => WirePart::ImageUrl { image_url }.serialize(to),
            Part::InputAudio(input_audio) => WirePart::InputAudio { input_audio }.serialize(to),
            Part::Other(json) => json.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Part, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Part;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a `type`")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Part, A::Error> {
                let Strict(json) = Strict::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                match json.get("type") {
                    None => Err(A::Error::missing_field("type")),
                    Some(Value::String(kind)) => match kind.as_str() {
                        "text" => field(json, "text").map(Part::Text),
                        "image_url" => field(json, "image_url").map(Part::ImageUrl),
                        "input_audio" => field(json, "input_audio").map(Part::InputAudio),
                        _ => Ok(Part::Other(json)),
                    },
                    Some(_) => Err(A::Error::custom("type: expected a string")),
                }
            }
        }

        /// What stands under `name`, beside the type and nothing else.
        fn field<T: DeserializeOwned, E: Error>(json: Value, name: &'static str) -> Result<T, E> {
            let Value::Object(mut fields) = json else { return Err(E::custom("expected an object")) };
            let value = fields.remove(name).ok_or_else(|| E::missing_field(name))?;
            match fields.keys().find(|it| *it != "type") {
                Some(other) => Err(E::custom(format!("unknown field `{other}`, expected `{name}`"))),
                None => serde_json::from_value(value).map_err(|error| E::custom(format!("{name}: {error}"))),
            }
        }
        from.deserialize_any(Object)
    }
}

/// Levels of nesting that JSON from outside may have. A checkpoint nests it a few levels deeper, and has to be readable: its
/// reader stops at 128.
pub const MAX_DEPTH: usize = 64;

/// Whether `json` is nested more than [`MAX_DEPTH`] levels deep.
pub fn too_deep(json: &Value) -> bool {
    fn deeper(json: &Value, left: usize) -> bool {
        let inside = |json: &Value| left == 0 || deeper(json, left - 1);
        match json {
            Value::Array(items) => items.iter().any(inside),
            Value::Object(fields) => fields.values().any(inside),
            _ => false,
        }
    }
    deeper(json, MAX_DEPTH)
}

fn strict_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Strict::deserialize(from).map(|Strict(json)| Some(json).filter(|json| !json.is_null()))
}

/// Clients send back what they got, and some of it is `"tool_calls": null`.
fn null_is_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ToolCall>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Message, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn what_openai_takes_reads_and_writes_back_unchanged() {
        for json in [
            r#"{"role":"user","content":"hello"}"#,
            r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://x","detail":"low"}}]}"#,
            r#"{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}"#,
            r#"{"role":"user","content":[{"type":"file","file":{"file_id":"f","n":1.5}}]}"#,
            r#"{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]}"#,
            r#"{"role":"tool","content":"42","tool_call_id":"1"}"#,
            r#"{"role":"assistant","refusal":"no"}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(json).expect(json)).unwrap(), json);
        }
        assert_eq!(read(r#"{"role":"function","content":"x"}"#).unwrap().role, Role::Tool);
        assert_eq!(read(r#"{"role":"assistant","content":null,"tool_calls":null}"#).unwrap().content, Content::None);
    }

    #[test]
    fn what_no_guard_can_see_is_refused_with_its_name() {
        for (json, named) in [
            (r#"{"role":"user","content":"x","audio":{}}"#, "audio"),
            (r#"{"role":"user","content":[{"type":"text","text":"x","cache_control":{}}]}"#, "cache_control"),
            (r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"x","alt":"y"}}]}"#, "alt"),
            (r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"x","detail":"see my words"}}]}"#, "see my words"),
            (r#"{"role":"user","content":[{"text":"x"}]}"#, "type"),
            (r#"{"role":"user","content":[{"type":7}]}"#, "type: expected a string"),
            (
                r#"{"role":"user","content":[{"type":"image_url","image_url":["https://x"]}]}"#,
                "image_url: invalid type: sequence, expected an object",
            ),
            (r#"["user","x"]"#, "expected an object"),
            (r#"{"role":"assistant","tool_calls":[["1","function",{"name":"f","arguments":""}]]}"#, "expected an object"),
            (r#"{"role":"user","content":7}"#, "a string, a list of parts, or null"),
            (r#"{"role":"robot","content":"x"}"#, "robot"),
            (r#"{"role":"assistant","tool_calls":[{"id":"1","type":"custom","function":{"name":"f","arguments":""}}]}"#, "custom"),
            (r#"{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"","x":1}}]}"#, "x"),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn json_that_a_checkpoint_could_not_carry_is_refused() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let part = |levels: usize| read(&format!(r#"{{"role":"user","content":[{{"type":"x","x":{}}}]}}"#, nested(levels)));
        assert!(part(MAX_DEPTH - 1).is_ok());
        assert!(part(MAX_DEPTH).expect_err("too deep").contains("64 levels"));
        let tool = |levels: usize| format!(r#"{{"type":"function","function":{{"name":"f","parameters":{}}}}}"#, nested(levels));
        assert!(serde_json::from_str::<Tool>(&tool(MAX_DEPTH)).is_ok());
        assert!(serde_json::from_str::<Tool>(&tool(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn inline_data_is_seen_as_its_digest() {
        let message =
            read(r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}],"refusal":"r"}"#)
                .unwrap();
        let parts: Vec<PartView<'_>> = message.parts().collect();
        let uri = Digest::of(b"AAAA").to_string().into();
        assert_eq!(parts, [PartView::Media { mime: "image/png".into(), uri }, PartView::Text("r")]);
    }

    #[test]
    fn texts_are_reached_by_the_number_a_guard_counts() {
        let mut message = read(r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"x"}],"refusal":"r"}"#).unwrap();
        assert_eq!(message.text_mut(0).unwrap(), "a");
        assert_eq!(message.text_mut(1), None);
        assert_eq!(message.text_mut(2).unwrap(), "r");
        assert_eq!(message.text_mut(3), None);
        let mut plain = Message::text(Role::User, "t");
        assert_eq!(plain.text_mut(0).unwrap(), "t");
        assert_eq!(plain.text_mut(1), None);
    }
}
