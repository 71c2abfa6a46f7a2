//! Talks to a server. No command sees HTTP: JSON comes back, or a [`Failure`] as the server words it.

use crate::failure::Failure;
use crate::terminal::line;
use aegis_core::Code;
use reqwest::{Client, Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8000";
/// Bytes of an answer. Lists come in pages, and a run is as large as the requests that the server takes.
const ANSWER_LIMIT: usize = 64 << 20;
/// A run that is not created in the background is answered when the model is done.
const ANSWER_TIME: Duration = Duration::from_secs(600);
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Whoever asks whether a server is ready asks again.
const READY_TIME: Duration = Duration::from_secs(5);

/// The server of `AEGIS_SERVER_URL`, as whoever `AEGIS_API_KEY` belongs to.
pub(crate) struct Server {
    http: Client,
    url: Url,
    key: Option<String>,
}

impl Server {
    pub(crate) fn from_env() -> Result<Server, Failure> {
        let set = |name| std::env::var(name).ok().filter(|it| !it.trim().is_empty());
        let url = server_url(&set("AEGIS_SERVER_URL").unwrap_or(DEFAULT_URL.into()))?;
        // Fails only when something has chosen before, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A redirect would carry the key to somewhere that nobody named.
        let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).connect_timeout(CONNECT_TIME).timeout(ANSWER_TIME);
        // A proxy for the outside world does not know this machine's own addresses.
        let builder = if is_loopback(&url) { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| Failure::new(Code::CLI_SERVER, format!("no HTTP client: {error}")))?;
        Ok(Server { http, url, key: set("AEGIS_API_KEY").map(|it| it.trim().into()) })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Whether it takes requests; if not, why. Needs no key.
    pub(crate) async fn ready(&self) -> Result<(), Failure> {
        self.send(self.http.get(format!("{}/readyz", self.base())).timeout(READY_TIME)).await.map(drop)
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base());
        let mut request = self.http.request(method, url);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let bytes = self.send(request).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(&format!("an answer that is no JSON ({error})")))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_LIMIT {
                return Err(self.strange(&format!("an answer of more than {} MiB", ANSWER_LIMIT >> 20)));
            }
        }
        if status.is_success() {
            return Ok(bytes);
        }
        Err(refusal(&bytes).unwrap_or_else(|| self.strange(&format!("{status}, without an error of ours"))))
    }

    fn base(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let what = match () {
            _ if error.is_builder() => "AEGIS_API_KEY has characters that no key has".into(),
            _ if error.is_timeout() => format!("no answer from {} in time", self.base()),
            _ => format!("no answer from {}: {}", self.base(), root_cause(error)),
        };
        Failure::new(Code::CLI_SERVER, what)
    }

    fn strange(&self, what: &str) -> Failure {
        Failure::new(Code::CLI_SERVER, format!("{} sent {what}", self.base()))
    }
}

fn server_url(text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| Failure::new(Code::CLI_SERVER, format!("AEGIS_SERVER_URL is {}, {why}", line(text)));
    let url: Url = text.trim().parse().map_err(|_| wrong("which is no URL: write for example http://127.0.0.1:8000"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() && url.query().is_none() => Ok(url),
        _ => Err(wrong("and has to be http://HOST:PORT or https://HOST")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|it: std::net::IpAddr| it.is_loopback())
}

fn refusal(body: &[u8]) -> Option<Failure> {
    #[derive(Deserialize)]
    struct Refusal {
        error: Failure,
    }
    serde_json::from_slice(body).ok().map(|it: Refusal| it.error)
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_server_can_have_are_refused() {
        for text in ["", "localhost:8000", "ftp://x", "http://", "http://x?y"] {
            assert!(server_url(text).is_err(), "{text}");
        }
        for text in ["http://localhost:8000", "https://aegis.example/base/", " http://[::1]:1 "] {
            assert!(server_url(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |text: &str| is_loopback(&server_url(text).expect("a URL"));
        assert!(loopback("http://localhost") && loopback("http://127.9.9.9:1") && loopback("http://[::1]:8000"));
        assert!(!loopback("http://localhost.example") && !loopback("http://10.0.0.1"));
    }

    #[test]
    fn an_error_of_the_server_is_told_in_its_words() {
        let body = br#"{"error":{"code":"AEG-AUTH-003","message":"m","why":"w","fix":"f","type":"permission_error","param":null}}"#;
        let failure = refusal(body).expect("an error");
        assert_eq!(failure.to_string(), "AEG-AUTH-003: m\n  why: w\n  fix: f");
        assert_eq!(refusal(b"<html>502 Bad Gateway</html>"), None);
    }
}
