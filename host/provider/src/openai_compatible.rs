//! OpenAI's chat completions, as OpenAI and many others serve them: nothing reaches the model but messages, tools and the
//! parameters of a fixed list. Not streaming.

mod wire;

#[cfg(test)]
mod tests;

pub use wire::{ParamError, check_params};

use crate::send::{Endpoint, Limits};
use crate::settings::{Key, duration};
use crate::{Provider, ProviderError, ProviderRequest, SettingsError};
use aegis_core::Answer;
use async_trait::async_trait;
use bytesize::ByteSize;
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where the model is and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAiCompatibleSettings {
    /// For example `https://api.openai.com/v1`; `/chat/completions` is appended to its path.
    pub base_url: String,
    /// The model where a route names none.
    pub model: String,
    /// Sent as `Authorization: Bearer …`; left out: no such header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Key>,
    /// To connect, TLS included. `10s` when left out.
    #[serde(with = "duration", default = "connect_timeout")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// For one call from beginning to end. `5min` when left out: the first byte of an answer that is not streamed comes when
    /// the model has finished.
    #[serde(with = "duration", default = "timeout")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Between two pieces of an answer that has begun. `30s` when left out.
    #[serde(with = "duration", default = "idle_timeout")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// The largest answer that is read. `8MiB` when left out.
    #[serde(default = "max_response")]
    #[schemars(with = "String")]
    pub max_response: ByteSize,
}

fn connect_timeout() -> Duration {
    Duration::from_secs(10)
}

fn timeout() -> Duration {
    Duration::from_secs(5 * 60)
}

fn idle_timeout() -> Duration {
    Duration::from_secs(30)
}

fn max_response() -> ByteSize {
    ByteSize::mib(8)
}

/// See [`OpenAiCompatibleSettings`].
pub struct OpenAiCompatible {
    endpoint: Endpoint,
    model: String,
}

impl OpenAiCompatible {
    /// Connects to nothing yet. With an `https` address, servers are judged by the system's certificate authorities, and
    /// `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are heeded: such a proxy sees names only. With an `http` address no proxy is used, because
    /// it would see prompts and the key.
    pub fn new(settings: &OpenAiCompatibleSettings) -> Result<OpenAiCompatible, SettingsError> {
        let url = address(&settings.base_url)?;
        let limits = settings.limits()?;
        let endpoint = Endpoint::new(url, settings.api_key.as_ref(), limits)?;
        Ok(OpenAiCompatible { endpoint, model: settings.model.clone() })
    }
}

impl OpenAiCompatibleSettings {
    fn limits(&self) -> Result<Limits, SettingsError> {
        let times = [("connect_timeout", self.connect_timeout), ("timeout", self.timeout), ("idle_timeout", self.idle_timeout)];
        let zero = times.into_iter().find(|(_, it)| it.is_zero()).map(|(name, _)| name);
        let zero = zero.or((self.max_response.0 == 0).then_some("max_response"));
        let bytes = usize::try_from(self.max_response.0).unwrap_or(usize::MAX);
        let limits = Limits { connect: self.connect_timeout, total: self.timeout, idle: self.idle_timeout, bytes };
        zero.map_or(Ok(limits), |name| Err(SettingsError::Zero(name)))
    }
}

/// A query stays, because some put the version of their interface there.
fn address(base_url: &str) -> Result<Url, SettingsError> {
    let mut url = Url::parse(base_url).map_err(|_| SettingsError::Address)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(SettingsError::Address);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SettingsError::AddressWithUser);
    }
    url.path_segments_mut().map_err(|()| SettingsError::Address)?.pop_if_empty().extend(["chat", "completions"]);
    url.set_fragment(None);
    Ok(url)
}

#[async_trait]
impl Provider for OpenAiCompatible {
    async fn complete(&self, request: &ProviderRequest<'_>) -> Result<Answer, ProviderError> {
        let model = if request.model.is_empty() { &self.model } else { request.model };
        let body = wire::to_wire(model, request).map_err(|error| ProviderError::permanent(error.to_string()))?;
        let reply = self.endpoint.post(body, request.idempotency_key).await?;
        wire::from_wire(&reply).map_err(|error| ProviderError::permanent(error.to_string()))
    }
}
