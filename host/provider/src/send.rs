//! Sends one request and reads one answer, within limits. Never sends it again, follows no redirect, and shows nothing of
//! what was sent or came back but the status and error codes that are known.

use crate::{Key, ProviderError, SettingsError};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect, retry};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use serde::Deserialize;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time;

/// What one call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// To connect, TLS included.
    pub(crate) connect: Duration,
    /// From beginning to end.
    pub(crate) total: Duration,
    /// Between two pieces of an answer that has begun.
    pub(crate) idle: Duration,
    /// The largest answer.
    pub(crate) bytes: usize,
}

/// An error answer is read only for its code.
const ERROR_BYTES: usize = 64 * 1024;

/// An address that takes JSON and answers with JSON.
pub(crate) struct Endpoint {
    client: Client,
    url: Url,
    limits: Limits,
}

impl Endpoint {
    pub(crate) fn new(url: Url, key: Option<&Key>, limits: Limits) -> Result<Endpoint, SettingsError> {
        let tls = if url.scheme() == "https" { system_tls()? } else { tls(RootCertStore::empty()) };
        Endpoint::with_tls(url, key, limits, tls)
    }

    pub(crate) fn with_tls(url: Url, key: Option<&Key>, limits: Limits, tls: ClientConfig) -> Result<Endpoint, SettingsError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(key)?)
            .connect_timeout(limits.connect)
            .redirect(redirect::Policy::none())
            .retry(retry::never());
        let client = if url.scheme() == "https" { client } else { client.no_proxy() };
        let client = client.build().expect("nothing in it depends on the settings but the headers, which are valid");
        Ok(Endpoint { client, url, limits })
    }

    /// The body of a successful answer.
    pub(crate) async fn post(&self, body: Vec<u8>, idempotency_key: &str) -> Result<Vec<u8>, ProviderError> {
        let late = || ProviderError::transient(format!("the provider had not answered completely after {:?}", self.limits.total));
        time::timeout(self.limits.total, self.exchange(body, idempotency_key)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn exchange(&self, body: Vec<u8>, idempotency_key: &str) -> Result<Vec<u8>, ProviderError> {
        let request = self.client.post(self.url.clone()).header("idempotency-key", idempotency_key).body(body);
        let response = request.send().await.map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        if status.is_success() {
            return self.read(response, self.limits.bytes).await;
        }
        let pause = response.headers().get(RETRY_AFTER).and_then(|it| retry_after(it, SystemTime::now()));
        let code = time::timeout(self.limits.idle, self.read(response, ERROR_BYTES)).await;
        let code = code.ok().and_then(Result::ok).and_then(|it| error_code(&it));
        Err(failed(status.as_u16(), pause, code))
    }

    async fn read(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, ProviderError> {
        let mut body = Vec::new();
        loop {
            let chunk = time::timeout(self.limits.idle, response.chunk()).await;
            let chunk = chunk.map_err(|_| ProviderError::transient(format!("the provider fell silent for {:?}", self.limits.idle)))?;
            let chunk = chunk.map_err(|_| ProviderError::transient("the connection broke in the middle of the provider's answer"))?;
            match chunk {
                None => return Ok(body),
                Some(chunk) if chunk.len() > limit - body.len() => return Err(too_large(limit)),
                Some(chunk) => body.extend_from_slice(&chunk),
            }
        }
    }

    /// An error of the client has the address in it, and its causes have words of the other side: only their kinds are shown.
    fn no_answer(&self, error: &reqwest::Error) -> ProviderError {
        if let Some(rustls::Error::InvalidCertificate(why)) = cause(error) {
            return ProviderError::permanent(format!("the provider's certificate {}", refused_certificate(why)));
        }
        if error.is_builder() {
            return ProviderError::permanent("the idempotency key has characters that no header can carry");
        }
        if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
            return ProviderError::permanent("what answers at base_url does not speak HTTP: check scheme and port");
        }
        let kind = || cause::<io::Error>(error).map_or(String::new(), |it| format!(": {}", it.kind()));
        ProviderError::transient(match (error.is_connect(), error.is_timeout()) {
            (true, true) => format!("the provider could not be reached within {:?}", self.limits.connect),
            (true, _) if error.is_dns() => "the provider could not be reached: its name was not found".into(),
            (true, _) => format!("the provider could not be reached{}", kind()),
            (false, _) => "the connection broke before the provider answered".into(),
        })
    }
}

fn headers(key: Option<&Key>) -> Result<HeaderMap, SettingsError> {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    if let Some(key) = key {
        headers.insert(AUTHORIZATION, bearer(key)?);
    }
    Ok(headers)
}

fn bearer(key: &Key) -> Result<HeaderValue, SettingsError> {
    if key.is_reference() {
        return Err(SettingsError::KeyReference);
    }
    let key = Some(key.reveal()).filter(|it| !it.is_empty()).ok_or(SettingsError::Key)?;
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| SettingsError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Servers are judged by the system's certificate authorities, or those in `SSL_CERT_FILE`: a company's own are among them.
fn system_tls() -> Result<ClientConfig, SettingsError> {
    let versions = tls_versions();
    Ok(finish(versions.with_platform_verifier().map_err(|_| SettingsError::Certificates)?))
}

/// Servers are judged by `roots`.
pub(crate) fn tls(roots: RootCertStore) -> ClientConfig {
    finish(tls_versions().with_root_certificates(roots))
}

fn tls_versions() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions().expect("ring has all of them")
}

fn finish(builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>) -> ClientConfig {
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    config
}

/// The first cause of this type. An [`io::Error`] hides what it was made of from `source`.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let inside = || error.downcast_ref::<io::Error>()?.get_ref().and_then(|it| cause(it));
    error.downcast_ref().or_else(inside).or_else(|| cause(error.source()?))
}

fn refused_certificate(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "is for another name than that in base_url",
        CertificateError::UnknownIssuer => "is from an unknown issuer: add a private one to the system, or name its file in SSL_CERT_FILE",
        _ => "is not valid",
    }
}

fn too_large(limit: usize) -> ProviderError {
    ProviderError::permanent(format!("the provider's answer is larger than {limit} bytes: raise max_response, or set max_tokens"))
}

/// A number of seconds, or a date (RFC 9110, 10.2.3); a date that has passed asks for no pause.
fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let date = || httpdate::parse_http_date(text).ok().map(|it| it.duration_since(now).unwrap_or_default());
    text.parse().ok().map(Duration::from_secs).or_else(date)
}

/// Codes that may be shown. A provider may put the key or the prompt into anything else that it writes.
const CODES: [&str; 16] = [
    "account_deactivated",
    "billing_hard_limit_reached",
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "insufficient_quota",
    "invalid_api_key",
    "invalid_request_error",
    "invalid_value",
    "missing_required_parameter",
    "model_not_found",
    "rate_limit_exceeded",
    "server_error",
    "string_above_max_length",
    "unsupported_parameter",
    "unsupported_value",
];

fn error_code(body: &[u8]) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Body {
        error: Codes,
    }
    #[derive(Deserialize)]
    struct Codes {
        code: Option<serde_json::Value>,
        r#type: Option<serde_json::Value>,
    }
    let said = serde_json::from_slice::<Body>(body).ok()?.error;
    let known = |it: serde_json::Value| CODES.into_iter().find(|code| it == *code);
    said.code.and_then(known).or_else(|| said.r#type.and_then(known))
}

/// What an unsuccessful status means, as the SDKs of providers take it: 408, 409 (someone else holds a lock), 425, 429 and everything
/// from 500 may be over soon. A used-up quota is not, although it is a 429. A redirect is not followed, because the key would go to
/// an address that nobody configured.
pub(crate) fn failed(status: u16, retry_after: Option<Duration>, code: Option<&'static str>) -> ProviderError {
    let said = code.map_or(String::new(), |code| format!(" ({code})"));
    let message = format!("the provider answered {status}{said}{}", advice(status));
    match status {
        429 if code == Some("insufficient_quota") => ProviderError::Permanent { message },
        408 | 409 | 425 | 429 | 500.. => ProviderError::Transient { message, retry_after },
        _ => ProviderError::Permanent { message },
    }
}

fn advice(status: u16) -> &'static str {
    match status {
        300..=399 => ", a redirect, which is not followed: write the final address as base_url",
        401 | 403 => ": check api_key and what it may do",
        404 => ": check base_url and model",
        413 => ": the request is too large for it",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_over_soon_is_transient() {
        for (status, transient) in [
            (301, false),
            (304, false),
            (308, false),
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (408, true),
            (409, true),
            (413, false),
            (422, false),
            (425, true),
            (429, true),
            (500, true),
            (502, true),
            (503, true),
            (504, true),
            (529, true),
        ] {
            let error = failed(status, None, None);
            assert_eq!(matches!(error, ProviderError::Transient { .. }), transient, "{error}");
        }
        let quota = failed(429, None, Some("insufficient_quota"));
        assert!(matches!(quota, ProviderError::Permanent { .. }), "{quota}");
    }

    #[test]
    fn a_pause_is_a_number_of_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("18446744073709551616", None),
            ("soon", None),
            ("", None),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(retry_after(&value, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn only_known_codes_are_shown() {
        for (body, code) in [
            (r#"{"error":{"code":"invalid_api_key","type":"x"}}"#, Some("invalid_api_key")),
            (r#"{"error":{"code":"sk-secret","type":"invalid_request_error"}}"#, Some("invalid_request_error")),
            (r#"{"error":{"code":404}}"#, None),
            (r#"{"error":{"code":null}}"#, None),
            (r#"{"error":"invalid_api_key"}"#, None),
            ("invalid_api_key", None),
        ] {
            assert_eq!(error_code(body.as_bytes()), code, "{body}");
        }
    }
}
