//! What settings of providers have in common: keys that are never shown, and lengths of time as people write them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// A provider's key. The configuration has a reference here (`secret://env/NAME`), which whoever builds the provider
/// replaces by the key itself. Only a reference is ever shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Of a text that is the key itself, or a reference to it.
    pub fn new(text: impl Into<String>) -> Key {
        Key(text.into())
    }

    /// The text as it is: for looking up a reference, and for the provider.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn shown(&self) -> &str {
        if self.is_reference() { &self.0 } else { "(hidden)" }
    }

    pub(crate) fn is_reference(&self) -> bool {
        self.0.starts_with("secret://")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.shown())
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not an address of HTTP.
    #[error("base_url is no http:// or https:// address: write for example https://api.openai.com/v1")]
    Address,
    /// User or password in the address.
    #[error("base_url holds a user or a password: write the key as api_key: secret://env/NAME")]
    AddressWithUser,
    /// A key that no header can carry.
    #[error("api_key is empty or has characters that no header can carry, such as a line break")]
    Key,
    /// The key is still a reference.
    #[error("api_key is still a reference: it has to be looked up before a provider is built")]
    KeyReference,
    /// A limit of zero lets nothing through.
    #[error("{0} is 0, which lets nothing through: leave it out for the default")]
    Zero(&'static str),
    /// The system has no certificates to judge servers by.
    #[error("no certificate authorities on this system: install ca-certificates, or name a file of them in SSL_CERT_FILE")]
    Certificates,
    /// A status that is no failure.
    #[error("fail.status is {0}, which is no failure: write 400 to 599")]
    NoFailure(u16),
}

/// Lengths of time as text: `300ms`, `1min 30s`.
pub(crate) mod duration {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(crate) fn serialize<S: Serializer>(it: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*it))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map_err(|_| D::Error::custom("no length of time: write for example 300ms, 30s or 5min"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_only_while_it_is_a_reference() {
        let (reference, key) = (Key::new("secret://env/KEY"), Key::new("sk-1"));
        assert_eq!(format!("{reference:?} {key:?}"), "secret://env/KEY (hidden)");
        assert_eq!(serde_json::to_string(&[reference, key]).unwrap(), r#"["secret://env/KEY","(hidden)"]"#);
    }
}
