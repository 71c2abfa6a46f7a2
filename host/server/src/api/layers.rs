//! What every request goes through: it gets an id, is refused when another web page sends it through somebody's browser, and its
//! failure is written down. Nothing here knows what is asked for.

use super::{ApiError, Shared};
use crate::app::App;
use crate::auth::key_in;
use crate::clock;
use crate::config::ServerSettings;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id, refuses what is not for it, writes failures in their one shape, logs those that are the server's, counts, and lets
/// nobody on the way keep an answer. One layer: each costs every request.
pub(crate) async fn around(State(app): State<Shared>, request: Request, next: Next) -> Response {
    // A client's own is not taken: it would let clients write into the log.
    let id = clock::random_hex::<10>();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let path = path.as_ref().map_or("other", MatchedPath::as_str);
    let method = request.method().clone();
    let mut answer = match foreign(&app, &request) {
        Some(why) => ApiError::foreign(why).into_response(),
        // A fault in a handler: whoever sent the request is told so, and the others notice nothing.
        None => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| ApiError::internal().into_response()),
    };
    if let Some(error) = answer.extensions_mut().remove::<ApiError>() {
        if error.status().is_server_error() {
            tracing::error!(request = id, %method, path, code = error.code().id, status = error.status().as_u16(), "{}", error.message());
        }
        error.write(&mut answer, &id);
    }
    let headers = answer.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REQUEST_ID, HeaderValue::from_str(&id).expect("hex digits fit into a header"));
    app.metrics().answered(&method, path, answer.status());
    answer
}

/// Why it is refused, when another web page sends it through somebody's browser.
fn foreign(app: &App, request: &Request) -> Option<&'static str> {
    // Probes come to an address that nobody has configured, and what they are told is no secret.
    let probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    check(request.headers(), request.uri(), app.settings(), app.auth().required()).err().filter(|_| !probe)
}

fn check(headers: &HeaderMap, uri: &Uri, settings: &ServerSettings, keys: bool) -> Result<(), &'static str> {
    let text = |name: HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
    // What stands in between may go by another of them than this check.
    if [HOST, ORIGIN].iter().any(|name| headers.get_all(name).iter().count() > 1) {
        return Err("Host and Origin may stand there once each");
    }
    let host = text(HOST).or_else(|| uri.authority().map(|it| it.as_str())).unwrap_or_default().to_ascii_lowercase();
    // Without keys, a page whose name was made to point at this machine would be this server's own.
    if !keys && !is_ours(&host, settings) {
        return Err("this server is not reached by that Host");
    }
    let has_key = text(AUTHORIZATION).and_then(key_in).is_some();
    match headers.get(ORIGIN) {
        None => Ok(()),
        Some(_) if has_key => Ok(()),
        Some(origin) if is_own(origin.to_str().unwrap_or_default(), &host, settings) => Ok(()),
        Some(_) => Err("this Origin is not the server's own"),
    }
}

fn is_ours(host: &str, settings: &ServerSettings) -> bool {
    let name = without_port(host);
    let listened = settings.listen.ip();
    let listened = if listened.is_ipv6() { format!("[{listened}]") } else { listened.to_string() };
    let public = settings.public_url.as_deref().and_then(|it| it.split_once("://")).map(|it| it.1);
    ["localhost", "127.0.0.1", "[::1]", &listened].contains(&name)
        || settings.hosts.iter().any(|it| it == name || it == host)
        || public == Some(host)
}

fn is_own(origin: &str, host: &str, settings: &ServerSettings) -> bool {
    let origin = origin.to_ascii_lowercase();
    let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    (!host.is_empty() && named == Some(host)) || settings.public_url.as_deref() == Some(&origin)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The value of the cookie `name`.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(';'));
    pairs.filter_map(|it| it.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn settings() -> ServerSettings {
        let mut it = Settings::dev(None, &Default::default()).expect("it needs nothing").server;
        it.listen = "10.0.0.7:8000".parse().unwrap();
        it.hosts = vec!["box.lan".into()];
        it.public_url = Some("https://aegis.example".into());
        it
    }

    fn passes(host: &str, origin: Option<&str>, key: bool, keys: bool) -> bool {
        let mut headers = HeaderMap::new();
        if !host.is_empty() {
            headers.insert(HOST, host.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        if key {
            headers.insert(AUTHORIZATION, format!("Bearer aeg-{}", "0".repeat(64)).parse().unwrap());
        }
        check(&headers, &Uri::from_static("/"), &settings(), keys).is_ok()
    }

    #[test]
    fn two_hosts_or_origins_are_refused() {
        for (name, value) in [(HOST, "localhost:8000"), (ORIGIN, "http://localhost:8000")] {
            let mut headers = HeaderMap::from_iter([(HOST, "localhost:8000".parse().unwrap())]);
            headers.append(&name, value.parse().unwrap());
            headers.append(&name, value.parse().unwrap());
            assert!(check(&headers, &Uri::from_static("/"), &settings(), false).is_err(), "{name}");
        }
    }

    #[test]
    fn without_keys_only_known_hosts_are_answered() {
        for host in [
            "localhost",
            "localhost:8000",
            "LOCALHOST:1",
            "127.0.0.1:8000",
            "[::1]:8000",
            "[::1]",
            "10.0.0.7:8000",
            "box.lan",
            "aegis.example",
        ] {
            assert!(passes(host, None, false, false), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::2]",
            "10.0.0.8",
            "box.lan@evil",
        ] {
            assert!(!passes(host, None, false, false), "{host}");
            assert!(!passes(host, None, true, false), "a page of that name could send a key, too: {host}");
            assert!(passes(host, None, false, true), "with keys the name does not matter: {host}");
        }
    }

    #[test]
    fn another_origin_needs_a_key() {
        for own in ["http://localhost:8000", "https://localhost:8000", "HTTP://LOCALHOST:8000", "https://aegis.example"] {
            assert!(passes("localhost:8000", Some(own), false, false) && passes("localhost:8000", Some(own), false, true), "{own}");
        }
        for foreign in
            ["null", "", "http://localhost", "http://localhost:8001", "http://evil.example", "http://aegis.example", "ftp://localhost:8000"]
        {
            for keys in [true, false] {
                assert!(!passes("localhost:8000", Some(foreign), false, keys), "{foreign}");
                assert!(passes("localhost:8000", Some(foreign), true, keys), "{foreign}");
            }
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; aegis_session2=no;aegis_session=yes".parse().unwrap());
        assert_eq!(cookie(&headers, "aegis_session"), Some("yes"));
        assert_eq!(cookie(&headers, "session"), None);
    }
}
