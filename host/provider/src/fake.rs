//! A provider without a model, for development and tests: the same request gets the same answer. No network.

use crate::settings::duration;
use crate::{Provider, ProviderError, ProviderRequest, SettingsError, send};
use aegis_core::{Answer, Content, Message, Role, ToolCall, Usage};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How the fake provider behaves. Without any it says the last user's text back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FakeSettings {
    /// What it says; left out: the last user's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// Tools that it calls instead, unless the last message is a tool's answer.
    pub tool_calls: Vec<FakeToolCall>,
    /// How long it thinks, for example `300ms`; failures take as long.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub delay: Duration,
    /// How it fails; left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<FakeFailure>,
}

/// A call that the fake provider makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FakeToolCall {
    /// The tool's name.
    pub name: String,
    /// JSON text, as a model would write it; `{}` when left out.
    #[serde(default = "no_arguments")]
    pub arguments: String,
}

fn no_arguments() -> String {
    "{}".into()
}

/// A failure as a real provider would answer it, and classified like one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FakeFailure {
    /// The HTTP status, 400 to 599: 503 is transient, 400 is permanent.
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// So many calls fail, counted from the start of the host; left out: every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u32>,
    /// Seconds of the `Retry-After` that comes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// See [`FakeSettings`].
#[derive(Debug)]
pub struct Fake {
    settings: FakeSettings,
    calls: AtomicU32,
}

impl Fake {
    /// Fails when `fail.status` is no failure.
    pub fn new(settings: FakeSettings) -> Result<Fake, SettingsError> {
        match settings.fail.as_ref().map(|it| it.status) {
            Some(status) if !(400..600).contains(&status) => Err(SettingsError::NoFailure(status)),
            _ => Ok(Fake { settings, calls: AtomicU32::new(0) }),
        }
    }

    /// The failure that is due for this call.
    fn failure(&self) -> Option<ProviderError> {
        let fail = self.settings.fail.as_ref()?;
        let earlier = self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| Some(it.saturating_add(1)));
        let earlier = earlier.expect("the update is always there");
        let due = fail.first.is_none_or(|first| earlier < first);
        due.then(|| send::failed(fail.status, fail.retry_after.map(Duration::from_secs), None))
    }

    fn answer(&self, messages: &[Message]) -> Message {
        let answered = messages.last().is_some_and(|it| it.role == Role::Tool);
        if self.settings.tool_calls.is_empty() || answered {
            let echo = || messages.iter().rfind(|it| it.role == Role::User).map(Message::joined).unwrap_or_default();
            return Message::text(Role::Assistant, self.settings.response.clone().unwrap_or_else(echo));
        }
        let calls = self.settings.tool_calls.iter().zip(1..);
        let calls = calls.map(|(it, n)| ToolCall { id: format!("call_{n}"), name: it.name.clone(), arguments: it.arguments.clone() });
        Message { content: Content::None, tool_calls: calls.collect(), ..Message::text(Role::Assistant, "") }
    }
}

#[async_trait]
impl Provider for Fake {
    async fn complete(&self, request: &ProviderRequest<'_>) -> Result<Answer, ProviderError> {
        tokio::time::sleep(self.settings.delay).await;
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let message = self.answer(request.messages);
        let finish_reason = if message.tool_calls.is_empty() { "stop" } else { "tool_calls" };
        let usage = usage(request.messages, &message);
        Ok(Answer { message, finish_reason: Some(finish_reason.into()), usage })
    }
}

/// Four bytes a token, which is about right for English.
fn usage(asked: &[Message], said: &Message) -> Usage {
    let tokens = |it: &Message| {
        let calls: usize = it.tool_calls.iter().map(|it| it.name.len() + it.arguments.len()).sum();
        (it.joined().len() + calls).div_ceil(4) as u64
    };
    let (prompt_tokens, completion_tokens) = (asked.iter().map(tokens).sum(), tokens(said));
    Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn fake(settings: serde_json::Value) -> Fake {
        Fake::new(serde_json::from_value(settings).expect("settings")).expect("usable settings")
    }

    async fn ask(fake: &Fake, messages: &[Message]) -> Result<Answer, ProviderError> {
        let request = ProviderRequest { model: "m", messages, tools: &[], params: &Map::new(), idempotency_key: "1" };
        fake.complete(&request).await
    }

    #[tokio::test]
    async fn without_settings_it_says_the_last_users_text_back() {
        let messages = [Message::text(Role::User, "first"), Message::text(Role::User, "second!!"), Message::text(Role::Assistant, "x")];
        let answer = ask(&fake(json!({})), &messages).await.unwrap();
        assert_eq!(answer.message, Message::text(Role::Assistant, "second!!"));
        assert_eq!(answer.finish_reason.as_deref(), Some("stop"));
        assert_eq!(answer.usage, Usage { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 });
        assert_eq!(ask(&fake(json!({})), &[]).await.unwrap().message.joined(), "");
    }

    #[tokio::test]
    async fn tools_are_called_until_a_tool_has_answered() {
        let fake = fake(json!({"response": "done", "tool_calls": [{"name": "a"}, {"name": "b", "arguments": "{\"x\":1}"}]}));
        let answer = ask(&fake, &[Message::text(Role::User, "go")]).await.unwrap();
        let calls: Vec<_> = answer.message.tool_calls.iter().map(|it| (&*it.id, &*it.name, &*it.arguments)).collect();
        assert_eq!(calls, [("call_1", "a", "{}"), ("call_2", "b", "{\"x\":1}")]);
        assert_eq!(answer.finish_reason.as_deref(), Some("tool_calls"));
        assert_eq!(ask(&fake, &[Message::text(Role::Tool, "42")]).await.unwrap().message.joined(), "done");
    }

    #[tokio::test]
    async fn it_fails_as_often_as_it_is_told() {
        let fake = fake(json!({"response": "ok", "fail": {"status": 503, "first": 2, "retry_after": 7}}));
        for _ in 0..2 {
            let error = ask(&fake, &[]).await.unwrap_err();
            assert!(matches!(error, ProviderError::Transient { retry_after: Some(it), .. } if it == Duration::from_secs(7)), "{error:?}");
        }
        assert_eq!(ask(&fake, &[]).await.unwrap().message.joined(), "ok");
    }

    #[tokio::test]
    async fn it_fails_each_time_where_no_number_is_named() {
        let fake = fake(json!({"fail": {"status": 400}}));
        for _ in 0..3 {
            assert!(matches!(ask(&fake, &[]).await, Err(ProviderError::Permanent { .. })));
        }
    }

    #[tokio::test]
    async fn it_takes_its_time() {
        let start = tokio::time::Instant::now();
        ask(&fake(json!({"delay": "30ms"})), &[]).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn settings_read_back_and_nonsense_is_refused() {
        let full =
            json!({"response": "r", "tool_calls": [{"name": "n", "arguments": "{}"}], "delay": "2s", "fail": {"status": 500, "first": 1}});
        assert_eq!(serde_json::to_value(&fake(full.clone()).settings).unwrap(), full);
        for (settings, named) in [
            (json!({"respnse": "x"}), "respnse"),
            (json!({"delay": "soon"}), "write for example 300ms"),
            (json!({"fail": {"status": 500, "frist": 1}}), "frist"),
        ] {
            let error = serde_json::from_value::<FakeSettings>(settings).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let settings = FakeSettings { fail: Some(FakeFailure { status: 200, first: None, retry_after: None }), ..FakeSettings::default() };
        assert_eq!(Fake::new(settings).unwrap_err(), SettingsError::NoFailure(200));
    }
}
