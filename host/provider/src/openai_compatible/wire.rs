//! Requests as OpenAI's chat completions take them, and replies as they come. Pure. What is wrong with a reply is said
//! without its words, which may be the prompt.

use crate::ProviderRequest;
use aegis_core::{Answer, Content, Message, Part, Role, Tool, ToolCall, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Parameters that are passed on. They carry no conversation of their own, and guards see them with the rest of the request.
const PARAMS: [&str; 21] = [
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "temperature",
    "tool_choice",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];

/// A parameter that is not passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("params.{name} is not passed on to models: {instead}")]
pub struct ParamError {
    /// Its name, at most 64 characters of it.
    pub name: String,
    /// What to write instead.
    pub instead: String,
}

/// Whether every parameter may reach a model; the first that may not is named.
pub fn check_params(params: &Map<String, Value>) -> Result<(), ParamError> {
    match params.keys().find(|name| !PARAMS.contains(&name.as_str())) {
        Some(name) => Err(ParamError { name: name.chars().filter(|it| !it.is_control()).take(64).collect(), instead: instead(name) }),
        None => Ok(()),
    }
}

fn instead(name: &str) -> String {
    match name {
        "messages" | "tools" | "metadata" => format!("write {name} beside params"),
        "functions" => "write tools beside params".into(),
        "function_call" => "write tool_choice".into(),
        "model" => "the route names the model; write route beside params".into(),
        "stream" | "stream_options" => "leave it out, replies are not streamed".into(),
        "n" => "leave it out, a run has one reply; ask for several runs".into(),
        _ => format!("leave it out; what is passed on is {}", PARAMS.join(", ")),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [Message],
    #[serde(skip_serializing_if = "<[Tool]>::is_empty")]
    tools: &'a [Tool],
    #[serde(flatten)]
    params: &'a Map<String, Value>,
}

/// The request's body. Parameters are checked once more: none can stand in for messages, tools or model.
pub(super) fn to_wire(model: &str, request: &ProviderRequest<'_>) -> Result<Vec<u8>, ParamError> {
    check_params(request.params)?;
    let body = Body { model, messages: request.messages, tools: request.tools, params: request.params };
    Ok(serde_json::to_vec(&body).expect("messages, tools and parameters are JSON"))
}

/// What is wrong with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplyError {
    #[error("the provider's reply is not JSON: check base_url, which ends before /chat/completions")]
    NotJson,
    #[error("the provider's reply is JSON, but not a chat completion of OpenAI's shape: check base_url")]
    Shape,
    #[error("the provider's reply holds no choice")]
    NoChoice,
    #[error("the provider's reply holds a tool call that is no function call")]
    ToolKind,
}

impl From<serde_json::Error> for ReplyError {
    fn from(error: serde_json::Error) -> ReplyError {
        if error.is_data() { ReplyError::Shape } else { ReplyError::NotJson }
    }
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<Words>,
    refusal: Option<String>,
    tool_calls: Option<Vec<Called>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    Parts(Vec<Value>),
}

#[derive(Deserialize)]
struct Called {
    id: String,
    /// Some leave it out.
    #[serde(rename = "type", default = "function")]
    kind: String,
    function: Option<Function>,
}

fn function() -> String {
    "function".into()
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct TokenCounts {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

/// The first choice of a reply. Fields that are not known here are dropped: no guard has seen them, so no client gets them.
pub(super) fn from_wire(reply: &[u8]) -> Result<Answer, ReplyError> {
    let completion: Completion = serde_json::from_slice(reply)?;
    let choice = completion.choices.into_iter().next().ok_or(ReplyError::NoChoice)?;
    let message = message(choice.message)?;
    let finish_reason = choice.finish_reason.filter(|it| is_word(it));
    Ok(Answer { message, finish_reason, usage: completion.usage.map(usage).unwrap_or_default() })
}

/// No guard judges the reason, so it must not be able to say much.
fn is_word(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
}

fn message(said: Said) -> Result<Message, ReplyError> {
    let content = match said.content {
        None => Content::None,
        Some(Words::Text(text)) => Content::Text(text),
        Some(Words::Parts(parts)) => Content::Parts(parts.into_iter().map(part).collect::<Result<_, _>>()?),
    };
    let refusal = said.refusal.filter(|it| !it.is_empty());
    let tool_calls = said.tool_calls.unwrap_or_default().into_iter().map(tool_call).collect::<Result<_, _>>()?;
    Ok(Message { content, refusal, tool_calls, ..Message::text(Role::Assistant, "") })
}

/// Of a text the text alone; anything else whole, for guards see all of it.
fn part(json: Value) -> Result<Part, ReplyError> {
    match (json["type"].as_str(), json["text"].as_str()) {
        (Some("text"), Some(text)) => Ok(Part::Text(text.into())),
        _ => Ok(serde_json::from_value(json)?),
    }
}

fn tool_call(call: Called) -> Result<ToolCall, ReplyError> {
    let function = call.function.filter(|_| call.kind == "function").ok_or(ReplyError::ToolKind)?;
    Ok(ToolCall { id: call.id, name: function.name, arguments: function.arguments })
}

fn usage(counts: TokenCounts) -> Usage {
    let (prompt_tokens, completion_tokens) = (counts.prompt_tokens.unwrap_or(0), counts.completion_tokens.unwrap_or(0));
    let total_tokens = counts.total_tokens.unwrap_or(prompt_tokens.saturating_add(completion_tokens));
    Usage { prompt_tokens, completion_tokens, total_tokens }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(json: Value) -> Map<String, Value> {
        serde_json::from_value(json).expect("an object")
    }

    fn sent(messages: &Value, tools: &Value, params: Value) -> Result<Value, ParamError> {
        let messages: Vec<Message> = serde_json::from_value(messages.clone()).expect("messages");
        let tools: Vec<Tool> = serde_json::from_value(tools.clone()).expect("tools");
        let request = ProviderRequest { model: "", messages: &messages, tools: &tools, params: &object(params), idempotency_key: "1" };
        to_wire("m", &request).map(|it| serde_json::from_slice(&it).expect("JSON"))
    }

    #[test]
    fn messages_and_tools_are_carried_through_unchanged() {
        let messages = json!([
            {"role": "developer", "content": "be kind", "name": "d"},
            {"role": "user", "content": [
                {"type": "text", "text": "é\n"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_id": "f"}}
            ]},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
            {"role": "tool", "content": "42", "tool_call_id": "c"},
            {"role": "assistant", "refusal": "no"}
        ]);
        let tools = json!([
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"z": 1, "a": 2}, "strict": true}},
            {"type": "function", "function": {"name": "g"}}
        ]);
        let body = sent(&messages, &tools, json!({"temperature": 0.1})).unwrap();
        assert_eq!(body, json!({"model": "m", "messages": messages, "tools": tools, "temperature": 0.1}));
    }

    #[test]
    fn without_tools_and_parameters_there_are_no_such_fields() {
        let messages = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(sent(&messages, &json!([]), json!({})).unwrap(), json!({"model": "m", "messages": messages}));
    }

    #[test]
    fn parameters_of_the_list_are_passed_on_as_they_are() {
        let params: Map<String, Value> = PARAMS.iter().map(|it| (it.to_string(), json!({"deep": [1, null, 1e-7]}))).collect();
        let body = sent(&json!([]), &json!([]), Value::Object(params.clone())).unwrap();
        assert!(params.iter().all(|(name, value)| body[name] == *value), "{body}");
    }

    #[test]
    fn other_parameters_are_refused_with_what_to_write() {
        for (name, instead) in [
            ("messages", "beside params"),
            ("tools", "beside params"),
            ("metadata", "beside params"),
            ("functions", "tools"),
            ("function_call", "tool_choice"),
            ("model", "route"),
            ("stream", "not streamed"),
            ("stream_options", "not streamed"),
            ("n", "several runs"),
            ("prediction", "temperature"),
            ("web_search_options", "temperature"),
            ("modalities", "temperature"),
            ("audio", "temperature"),
            ("store", "temperature"),
            ("extra_body", "temperature"),
            ("Temperature", "temperature"),
            ("", "temperature"),
        ] {
            let error = sent(&json!([]), &json!([]), json!({"seed": 1, name: 1})).expect_err(name);
            assert_eq!(error.name, name);
            assert!(error.instead.contains(instead), "{error}");
        }
        let long = check_params(&object(json!({"x\n".repeat(1000): 1}))).unwrap_err();
        assert_eq!(long.name, "x".repeat(64));
    }

    fn said(message: Value) -> Result<Message, ReplyError> {
        from_wire(json!({"choices": [{"message": message}]}).to_string().as_bytes()).map(|it| it.message)
    }

    #[test]
    fn a_reply_is_read_and_what_is_unknown_is_dropped() {
        let reply = json!({
            "id": "x", "object": "chat.completion", "system_fingerprint": null,
            "choices": [
                {"index": 0, "logprobs": null, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi", "refusal": null, "annotations": []}},
                {"index": 1, "message": {"role": "assistant", "content": "other"}}
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 0}}
        });
        let usage = Usage { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 };
        let answer = Answer { message: Message::text(Role::Assistant, "hi"), finish_reason: Some("stop".into()), usage };
        assert_eq!(from_wire(reply.to_string().as_bytes()), Ok(answer));
    }

    #[test]
    fn every_shape_of_message_is_read() {
        for (reply, message) in [
            (json!({"content": "hi"}), json!({"role": "assistant", "content": "hi"})),
            (json!({"content": null}), json!({"role": "assistant"})),
            (json!({}), json!({"role": "assistant"})),
            (json!({"content": ""}), json!({"role": "assistant", "content": ""})),
            (json!({"role": "user", "content": "hi"}), json!({"role": "assistant", "content": "hi"})),
            (json!({"refusal": "no", "content": null}), json!({"role": "assistant", "refusal": "no"})),
            (json!({"refusal": "", "content": "x"}), json!({"role": "assistant", "content": "x"})),
            (
                json!({"content": [{"type": "text", "text": "a", "annotations": [1]}, {"type": "thinking", "thinking": ["b"]}]}),
                json!({"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": ["b"]}]}),
            ),
            (
                json!({"tool_calls": [{"id": "1", "index": 0, "type": "function", "function": {"name": "f", "arguments": "{ }", "x": 1}}]}),
                json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{ }"}}]}),
            ),
            (
                json!({"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}]}),
                json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            ),
            (json!({"content": "x", "tool_calls": null}), json!({"role": "assistant", "content": "x"})),
        ] {
            assert_eq!(serde_json::to_value(said(reply.clone()).unwrap()).unwrap(), message, "{reply}");
        }
    }

    #[test]
    fn what_is_no_chat_completion_is_refused() {
        for (reply, error) in [
            ("", ReplyError::NotJson),
            ("<html>secret</html>", ReplyError::NotJson),
            (r#"{"choices":[{"message":{"content":"hi"#, ReplyError::NotJson),
            ("[]", ReplyError::Shape),
            (r#"{"error":{"message":"secret"}}"#, ReplyError::Shape),
            (r#"{"choices":null}"#, ReplyError::Shape),
            (r#"{"choices":[]}"#, ReplyError::NoChoice),
            (r#"{"choices":[{}]}"#, ReplyError::Shape),
            (r#"{"choices":[{"message":{"content":7}}]}"#, ReplyError::Shape),
            (r#"{"choices":[{"message":{"content":["secret"]}}]}"#, ReplyError::Shape),
            (r#"{"choices":[{"message":{"content":[{"type":"text"}]}}]}"#, ReplyError::Shape),
            (
                r#"{"choices":[{"message":{"tool_calls":[{"id":"1","type":"custom","custom":{"name":"f","input":""}}]}}]}"#,
                ReplyError::ToolKind,
            ),
            (r#"{"choices":[{"message":{"tool_calls":[{"id":"1","type":"function"}]}}]}"#, ReplyError::ToolKind),
            (r#"{"choices":[{"message":{"tool_calls":[{"id":"1","function":{"name":"f","arguments":{}}}]}}]}"#, ReplyError::Shape),
            (r#"{"choices":[{"message":{}}],"usage":{"prompt_tokens":-1}}"#, ReplyError::Shape),
        ] {
            assert_eq!(from_wire(reply.as_bytes()), Err(error), "{reply}");
            assert!(!error.to_string().contains("secret"));
        }
        let deep = "[".repeat(100_000);
        assert_eq!(from_wire(deep.as_bytes()), Err(ReplyError::NotJson));
        assert_eq!(from_wire(b"\xff"), Err(ReplyError::NotJson));
    }

    #[test]
    fn tokens_are_counted_as_far_as_the_provider_says_them() {
        for (counts, expected) in [
            (json!(null), [0, 0, 0]),
            (json!({}), [0, 0, 0]),
            (json!({"prompt_tokens": 1, "completion_tokens": null}), [1, 0, 1]),
            (json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}), [1, 2, 9]),
        ] {
            let reply = json!({"choices": [{"message": {}}], "usage": counts}).to_string();
            let usage = from_wire(reply.as_bytes()).unwrap().usage;
            assert_eq!([usage.prompt_tokens, usage.completion_tokens, usage.total_tokens], expected, "{reply}");
        }
        assert_eq!(from_wire(br#"{"choices":[{"message":{}}]}"#).unwrap().usage, Usage::default());
    }

    #[test]
    fn a_finish_reason_is_a_word_or_nothing() {
        for (reason, kept) in
            [("stop", true), ("tool_calls", true), ("MAX-TOKENS", true), ("buy now, at x.example", false), (&*"x".repeat(65), false)]
        {
            let reply = json!({"choices": [{"message": {}, "finish_reason": reason}]}).to_string();
            assert_eq!(from_wire(reply.as_bytes()).unwrap().finish_reason.is_some(), kept, "{reason}");
        }
    }
}
