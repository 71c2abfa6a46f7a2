//! Reads requests: who sends them, and their bodies and queries, each within its limits. What cannot be read is 422 and named.

use super::{ApiError, Shared, layers::cookie};
use crate::app::Named;
use crate::auth::Credentials;
use crate::config::ServerSettings;
use crate::places::Seat;
use aegis_core::{Principal, RunId};
use aegis_store::Page;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::Extensions;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

/// The cookie of whoever is logged in on the page. Where only HTTPS leads here, its prefix keeps other hosts of the same domain from
/// planting one.
pub(crate) fn session_cookie(settings: &ServerSettings) -> &'static str {
    if settings.is_https() { "__Host-aegis_session" } else { "aegis_session" }
}

/// The address at the other end of the connection.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Arc<Seat>>().map(|it| it.peer())
}

/// Who sends the request. A handler that takes this answers nobody else.
pub(super) struct Caller(pub(super) Principal);

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Caller, ApiError> {
        let header = |name| parts.headers.get(name).map(|it: &axum::http::HeaderValue| it.to_str().unwrap_or("?"));
        let credentials = Credentials {
            from: peer(&parts.extensions),
            authorization: header(AUTHORIZATION),
            cookie: cookie(&parts.headers, session_cookie(app.settings())),
            token: header(axum::http::HeaderName::from_static("x-aegis-token")),
        };
        Ok(Caller(app.auth().caller(credentials).await?))
    }
}

/// The run in the path. What cannot be an id names no run.
pub(crate) struct InPath(pub(crate) RunId);

impl FromRequestParts<Shared> for InPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<InPath, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, app).await.map_err(|_| ApiError::unknown_run())?;
        text.parse().map(InPath).map_err(|_| ApiError::unknown_run())
    }
}

/// The client's own name for a request, by which it is known when it comes again.
pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// Characters of it.
const KEY: usize = 255;

/// The key of a request that has one.
pub(super) struct RequestKey(Option<String>);

impl<S: Sync> FromRequestParts<S> for RequestKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<RequestKey, ApiError> {
        let mut all = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = all.next() else { return Ok(RequestKey(None)) };
        let wrong = |message: String| Err(ApiError::request(Some(IDEMPOTENCY_KEY.into()), message));
        match key.as_bytes() {
            _ if all.next().is_some() => wrong("there are several Idempotency-Keys: send one".into()),
            [] => wrong("the Idempotency-Key is empty: write one, or leave it out".into()),
            bytes if bytes.len() > KEY => wrong(format!("the Idempotency-Key has more than {KEY} characters")),
            bytes if !bytes.iter().all(|it| matches!(it, b' '..=b'~')) => {
                wrong("the Idempotency-Key has other characters than printable ASCII: a UUID is a good one".into())
            }
            bytes => Ok(RequestKey(Some(String::from_utf8_lossy(bytes).into_owned()))),
        }
    }
}

impl RequestKey {
    /// What makes a request with this key and `body` the same one when it comes again: its JSON, whatever the order of the names in an
    /// object and the space between them. Libraries that write it anew for each attempt may change those.
    pub(super) fn with(self, body: &Body) -> Option<Named> {
        let key = self.0?;
        let json = serde_json::from_slice::<Value>(&body.0).map(|mut json| {
            json.sort_all_objects();
            json.to_string().into_bytes()
        });
        Some(Named { key, body: json.unwrap_or_else(|_| body.0.clone()) })
    }
}

/// So many bytes over the limit are read and thrown away: a client that is cut off while it sends may never read why.
const SPILL: usize = 64 << 20;

/// The bytes of a body, whatever its Content-Type says: plain `curl -d` must work.
pub(crate) struct Body(Vec<u8>);

impl FromRequest<Shared> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Body, ApiError> {
        Body::within(app.settings().body_limit, request, app).await
    }
}

impl Body {
    /// A body of `limit` bytes at most.
    pub(crate) async fn within(limit: usize, request: Request, app: &Shared) -> Result<Body, ApiError> {
        if let Some(encoding) = request.headers().get(CONTENT_ENCODING).filter(|it| !it.is_empty() && *it != "identity") {
            return Err(ApiError::encoded(&String::from_utf8_lossy(encoding.as_bytes())));
        }
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|it| it > limit.saturating_add(SPILL)) {
            return Err(ApiError::too_large(limit));
        }
        let seat = request.extensions().get::<Arc<Seat>>().cloned();
        // Until then the server waits for the client.
        seat.as_ref().inspect(|it| it.waits());
        let gather = gather(request.into_body(), limit);
        let gathered = tokio::time::timeout(app.settings().body_timeout, gather).await;
        seat.inspect(|it| it.works());
        gathered.map_err(|_| ApiError::too_slow())?.map(Body)
    }
}

async fn gather(body: axum::body::Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let (mut stream, mut bytes, mut size) = (body.into_data_stream(), Vec::new(), 0);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| ApiError::request(None, "the body ended before it was complete"))?;
        size += piece.len();
        match size {
            _ if size <= limit => bytes.extend_from_slice(&piece),
            _ if size - limit <= SPILL => bytes = Vec::new(),
            _ => break,
        }
    }
    if size > limit { Err(ApiError::too_large(limit)) } else { Ok(bytes) }
}

impl Body {
    /// The body as what it should be.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        // A list would be taken for the fields in their order.
        if self.0.iter().find(|it| !it.is_ascii_whitespace()) != Some(&b'{') {
            return Err(self.no_object());
        }
        let value = serde_json::from_slice(&self.0).map_err(|_| self.explain::<T>())?;
        self.no_nul()?;
        Ok(value)
    }

    /// The bytes, for what is no JSON.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }

    /// Whether nothing was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it is instead of an object.
    fn no_object(&self) -> ApiError {
        let kind = match serde_json::from_slice(&self.0) {
            _ if self.0.iter().all(u8::is_ascii_whitespace) => return ApiError::request(None, "there is no body: send a JSON object"),
            _ if self.0.starts_with(b"\xef\xbb\xbf") => {
                return ApiError::request(None, "the body begins with a byte order mark (U+FEFF): send it without");
            }
            Err(_) => return self.explain::<Value>(),
            Ok(Value::Array(_)) => "a list",
            Ok(Value::String(_)) => "a text",
            Ok(_) => "a single value",
        };
        ApiError::request(None, format!("the body has to be a JSON object, and this is {kind}: write {{ and }} around its fields"))
    }

    /// Reads it once more, to say where it is wrong: following the path costs too much for requests that are right.
    fn explain<T: DeserializeOwned>(&self) -> ApiError {
        if let Err(error) = std::str::from_utf8(&self.0) {
            return ApiError::request(None, format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to() + 1));
        }
        let error = match serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(&self.0)) {
            Err(error) => error,
            Ok(_) => return ApiError::request(None, "the body goes on after its JSON: send one object and nothing else"),
        };
        let (path, inner) = (error.path().to_string(), error.into_inner());
        match inner.classify() {
            serde_json::error::Category::Data => {
                let message = plain(&inner);
                ApiError::request(place(&path, &message), message)
            }
            _ if inner.to_string().starts_with("recursion limit") => ApiError::request(None, "the body is nested too deeply"),
            _ => ApiError::request(None, format!("the body is no JSON that can be read: {inner}")),
        }
    }

    /// Stores and terminals cannot carry U+0000. It can only come in as an escape, which hardly any body has.
    fn no_nul(&self) -> Result<(), ApiError> {
        if !self.0.windows(6).any(|it| it == b"\\u0000") {
            return Ok(());
        }
        let json: Value = serde_json::from_slice(&self.0).map_err(|_| self.explain::<Value>())?;
        find_nul(&json, String::new()).map_or(Ok(()), |at| Err(ApiError::request(Some(at), "a text may not contain U+0000")))
    }
}

/// Without the line and column, because the path says it better, and in the words of JSON.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let text =
        text.replacen("invalid type: sequence, ", "invalid type: list, ", 1).replacen("invalid type: map, ", "invalid type: object, ", 1);
    text.strip_suffix("expected a sequence").map_or(text.clone(), |before| format!("{before}expected a list"))
}

/// The field that is meant. A path ends above one that is missing or unknown; only the message names it.
fn place(path: &str, message: &str) -> Option<String> {
    let named = |start: &str| message.strip_prefix(start)?.split('`').next();
    let above = if path == "." { "" } else { path };
    match ["missing field `", "unknown field `", "duplicate field `"].into_iter().find_map(named) {
        Some(name) if above == name || above.ends_with(&format!(".{name}")) => Some(above.into()),
        Some(name) if above.is_empty() => Some(name.into()),
        Some(name) => Some(format!("{above}.{name}")),
        None => Some(above.to_string()).filter(|it| !it.is_empty()),
    }
}

fn find_nul(json: &Value, at: String) -> Option<String> {
    match json {
        Value::String(text) => text.contains('\0').then_some(at),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, it)| find_nul(it, format!("{at}[{index}]"))),
        Value::Object(fields) => fields.iter().find_map(|(name, it)| {
            let below = if at.is_empty() { name.replace('\0', "\\u0000") } else { format!("{at}.{}", name.replace('\0', "\\u0000")) };
            if name.contains('\0') { Some(below) } else { find_nul(it, below) }
        }),
        _ => None,
    }
}

/// A query as what it should be; unknown parameters are refused by the type.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Asked<T>, ApiError> {
        Query::try_from_uri(&parts.uri).map(|Query(it)| Asked(it)).map_err(|error| unreadable(&error))
    }
}

/// What could not be read of a query or a form: at which name, and why.
pub(crate) fn unreadable(error: &(dyn Error + 'static)) -> ApiError {
    match (error.downcast_ref::<serde_path_to_error::Error<serde::de::value::Error>>(), error.source()) {
        (Some(it), _) => {
            let message = it.inner().to_string();
            ApiError::request(place(&it.path().to_string(), &message), message)
        }
        (None, Some(cause)) => unreadable(cause),
        (None, None) => ApiError::request(None, error.to_string()),
    }
}

/// That the address has no query: what stands there would be dropped silently.
pub(super) struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<NoQuery, ApiError> {
        match parts.uri.query().unwrap_or_default().split(['=', '&']).find(|it| !it.is_empty()) {
            None => Ok(NoQuery),
            Some(name) => Err(ApiError::request(
                Some(name.into()),
                "this path takes no parameters after `?`: leave them out, or write them into the body",
            )),
        }
    }
}

/// What a list is asked for when nothing is said.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 200;

/// `limit` and `after` of a query. An empty parameter counts as left out.
pub(crate) fn page(limit: Option<&str>, after: Option<&str>) -> Result<Page, ApiError> {
    let given = |it: Option<&str>| it.filter(|it| !it.is_empty()).map(String::from);
    let wrong = |what: &str, message: &str| ApiError::request(Some(what.into()), message);
    let limit = given(limit).map_or(Some(PAGE), |it| it.parse().ok());
    let Some(limit) = limit.filter(|it| (1..=LARGEST_PAGE).contains(it)) else {
        return Err(wrong("limit", &format!("limit has to be a whole number from 1 to {LARGEST_PAGE}")));
    };
    let after =
        given(after).map(|it| it.parse().map_err(|_| wrong("after", "after has to be the `next` of the page before"))).transpose()?;
    Ok(Page { limit, after })
}
