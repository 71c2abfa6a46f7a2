//! Asks models. Nothing is tried again here and nothing is decided: an answer comes back, or an error that says whether
//! another attempt may help; attempts are counted by the run. No error shows a key, a prompt or an address.

mod fake;
mod openai_compatible;
mod send;
mod settings;

pub use fake::{Fake, FakeFailure, FakeSettings, FakeToolCall};
pub use openai_compatible::{OpenAiCompatible, OpenAiCompatibleSettings, ParamError, check_params};
pub use settings::{Key, SettingsError};

use aegis_core::{Answer, Message, Tool};
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::time::Duration;

/// Something that answers a conversation.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Asks once. Dropping the future gives the call up; the provider may still work on it, and charge for it.
    async fn complete(&self, request: &ProviderRequest<'_>) -> Result<Answer, ProviderError>;
}

/// What a provider is asked, as the guards left it.
#[derive(Clone, Copy, Debug)]
pub struct ProviderRequest<'a> {
    /// The model; empty: the one in the provider's settings.
    pub model: &'a str,
    /// The conversation, oldest first.
    pub messages: &'a [Message],
    /// Tools that the model may call.
    pub tools: &'a [Tool],
    /// Model parameters that passed [`check_params`].
    pub params: &'a Map<String, Value>,
    /// The same for every attempt of one run, so that a provider that knows such keys answers, and charges, once.
    pub idempotency_key: &'a str,
}

/// Why there is no answer. The messages are for people and may be logged and shown to clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Another attempt may help.
    #[error("{message}")]
    Transient {
        /// What went wrong.
        message: String,
        /// How long the provider asks to be left alone; it may ask for centuries.
        retry_after: Option<Duration>,
    },
    /// No other attempt would help.
    #[error("{message}")]
    Permanent {
        /// What went wrong and, where that is known, what to change.
        message: String,
    },
}

impl ProviderError {
    fn transient(message: impl Into<String>) -> ProviderError {
        ProviderError::Transient { message: message.into(), retry_after: None }
    }

    fn permanent(message: impl Into<String>) -> ProviderError {
        ProviderError::Permanent { message: message.into() }
    }
}
