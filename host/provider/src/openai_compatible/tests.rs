//! Against a server on loopback that speaks HTTP as badly as it is told.

use super::*;
use aegis_core::{Message, Role, Usage};
use rcgen::generate_simple_self_signed;
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Map, Value, json};
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const KEY: &str = "sk-KEY-SECRET";
const PROMPT: &str = "PROMPT-SECRET";
const QUERY: &str = "QUERY-SECRET";

/// What a server sends on its only connection once it has read the request.
enum Step {
    Say(String),
    Wait(Duration),
    Dribble(&'static str, Duration),
}
use Step::{Dribble, Say, Wait};

/// Takes one connection; gives back the request as it came.
async fn serve(steps: Vec<Step>) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1?version={QUERY}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { answer(listener.accept().await.unwrap().0, steps).await });
    (base_url, server)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, steps: Vec<Step>) -> String {
    let mut request = Vec::new();
    while !whole(&request) {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            break;
        }
    }
    for step in steps {
        match step {
            Say(text) => drop(stream.write_all(text.as_bytes()).await),
            Wait(pause) => sleep(pause).await,
            Dribble(text, pause) => {
                while stream.write_all(text.as_bytes()).await.is_ok() {
                    sleep(pause).await;
                }
            }
        }
    }
    let _ = stream.shutdown().await;
    String::from_utf8(request).unwrap()
}

/// Whether head and body of a request are there.
fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|it| it.lines().next()).map_or(0, |it| it.parse().unwrap());
    body.len() >= length
}

fn http(status: &str, headers: &str, body: &str) -> Vec<Step> {
    vec![Say(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))]
}

fn hello() -> String {
    json!({"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
        .to_string()
}

/// An error answer in which the provider repeats whatever should not be repeated.
fn echo(code: &str) -> String {
    let secrets = format!("{KEY} {PROMPT} {QUERY}");
    json!({"error": {"message": secrets, "code": code, "type": secrets, "param": secrets}}).to_string()
}

fn settings(base_url: &str) -> OpenAiCompatibleSettings {
    let settings = json!({"base_url": base_url, "model": "settings-model", "api_key": KEY});
    serde_json::from_value(settings).expect("settings")
}

async fn ask(settings: &OpenAiCompatibleSettings) -> Result<Answer, ProviderError> {
    complete(&OpenAiCompatible::new(settings).expect("usable settings"), "").await
}

async fn complete(provider: &OpenAiCompatible, model: &str) -> Result<Answer, ProviderError> {
    let messages = [Message::text(Role::User, PROMPT)];
    let params: Map<String, Value> = [("temperature".to_owned(), json!(0.5))].into_iter().collect();
    let request = ProviderRequest { model, messages: &messages, tools: &[], params: &params, idempotency_key: "run-1" };
    let result = provider.complete(&request).await;
    if let Err(error) = &result {
        let shown = format!("{error} {error:?}");
        assert!(![KEY, PROMPT, QUERY].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
    result
}

/// The message of an error that another attempt may mend, and the pause that is asked for.
fn transient(result: Result<Answer, ProviderError>) -> (String, Option<u64>) {
    match result {
        Err(ProviderError::Transient { message, retry_after }) => (message, retry_after.map(|it| it.as_secs())),
        other => panic!("not transient: {other:?}"),
    }
}

fn permanent(result: Result<Answer, ProviderError>) -> String {
    match result {
        Err(ProviderError::Permanent { message }) => message,
        other => panic!("not permanent: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_goes_out_and_its_answer_comes_back() {
    let (base_url, server) = serve(http("200 OK", "", &hello())).await;
    let answer = ask(&settings(&base_url)).await.unwrap();
    assert_eq!(answer.message, Message::text(Role::Assistant, "hello"));
    assert_eq!(answer.finish_reason.as_deref(), Some("stop"));
    assert_eq!(answer.usage, Usage { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 });
    let request = server.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("POST /v1/chat/completions?version={QUERY} HTTP/1.1\r\n")), "{head}");
    let lines: Vec<&str> = head.lines().collect();
    for line in ["content-type: application/json", "idempotency-key: run-1", "authorization: Bearer sk-KEY-SECRET"] {
        assert!(lines.contains(&line), "{line} is not in {head}");
    }
    let sent: Value = serde_json::from_str(body).unwrap();
    assert_eq!(sent, json!({"model": "settings-model", "messages": [{"role": "user", "content": PROMPT}], "temperature": 0.5}));
}

#[tokio::test]
async fn the_routes_model_goes_before_that_of_the_settings() {
    let (base_url, server) = serve(http("200 OK", "", &hello())).await;
    complete(&OpenAiCompatible::new(&settings(&base_url)).unwrap(), "routes-model").await.unwrap();
    assert!(server.await.unwrap().contains(r#""model":"routes-model""#));
}

#[tokio::test]
async fn without_a_key_there_is_no_authorization() {
    let (base_url, server) = serve(http("200 OK", "", &hello())).await;
    ask(&OpenAiCompatibleSettings { api_key: None, ..settings(&base_url) }).await.unwrap();
    assert!(!server.await.unwrap().to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn overload_is_transient_and_its_pause_is_kept() {
    let past = "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (status, header, pause) in [
        ("429 Too Many Requests", "retry-after: 7\r\n", Some(7)),
        ("503 Service Unavailable", past, Some(0)),
        ("503 Service Unavailable", "retry-after: soon\r\n", None),
        ("500 Internal Server Error", "", None),
    ] {
        let (base_url, _server) = serve(http(status, header, &echo("rate_limit_exceeded"))).await;
        let (message, asked) = transient(ask(&settings(&base_url)).await);
        assert_eq!(asked, pause, "{status} {header}");
        assert!(message.contains(&status[..3]) && message.contains("rate_limit_exceeded"), "{message}");
    }
}

#[tokio::test]
async fn refusals_are_permanent_and_say_what_to_check() {
    for (status, code, said) in [
        ("400 Bad Request", "context_length_exceeded", "400 (context_length_exceeded)"),
        ("400 Bad Request", KEY, "400"),
        ("401 Unauthorized", "invalid_api_key", "check api_key"),
        ("404 Not Found", "model_not_found", "check base_url and model"),
        ("429 Too Many Requests", "insufficient_quota", "429 (insufficient_quota)"),
    ] {
        let (base_url, _server) = serve(http(status, "", &echo(code))).await;
        let message = permanent(ask(&settings(&base_url)).await);
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, other) = serve(http("200 OK", "", &hello())).await;
    for status in ["301 Moved Permanently", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (base_url, _server) = serve(http(status, &format!("location: {elsewhere}\r\n"), "")).await;
        let message = permanent(ask(&settings(&base_url)).await);
        assert!(message.contains("write the final address as base_url") && !message.contains(&elsewhere), "{message}");
    }
    assert!(!other.is_finished());
}

#[tokio::test]
async fn an_error_answer_that_never_ends_is_still_classified() {
    let endless = vec![Say("HTTP/1.1 400 Bad Request\r\n\r\n".into()), Dribble("x", Duration::from_millis(5))];
    let (base_url, _server) = serve(endless).await;
    let limits = OpenAiCompatibleSettings { idle_timeout: Duration::from_millis(100), ..settings(&base_url) };
    assert!(permanent(ask(&limits).await).contains("400"));
}

#[tokio::test]
async fn garbage_is_permanent() {
    for (steps, said) in [
        (vec![Say("SSH-2.0-OpenSSH_9.6\r\n".into())], "does not speak HTTP"),
        (http("200 OK", "", &format!("<html>{PROMPT}</html>")), "not JSON"),
        (http("200 OK", "", &echo("x")), "not a chat completion"),
        (http("200 OK", "", ""), "not JSON"),
        (http("204 No Content", "", ""), "not JSON"),
        (http("200 OK", "", r#"{"choices":[]}"#), "no choice"),
        (http("200 OK", "", &hello()[..20]), "not JSON"),
    ] {
        let (base_url, _server) = serve(steps).await;
        let message = permanent(ask(&settings(&base_url)).await);
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_transient() {
    let half = |head: &str| vec![Say(format!("HTTP/1.1 200 OK\r\n{head}\r\n{}", &hello()[..20]))];
    for (steps, said) in [
        (vec![], "before the provider answered"),
        (vec![Say("HTTP/1.1 200 OK\r\ncontent-le".into())], "before the provider answered"),
        (half("content-length: 1000\r\n"), "in the middle"),
        (vec![Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n".into())], "in the middle"),
    ] {
        let (base_url, _server) = serve(steps).await;
        let (message, _) = transient(ask(&settings(&base_url)).await);
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn a_closed_port_is_transient() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (message, _) = transient(ask(&settings(&format!("http://127.0.0.1:{port}/?{QUERY}"))).await);
    assert_eq!(message, "the provider could not be reached: connection refused");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_transient() {
    let (message, _) = transient(ask(&settings("http://provider.invalid/v1")).await);
    assert!(message.contains("its name was not found"), "{message}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_runs_into_the_time_to_connect() {
    let (base_url, _server) = serve(vec![Wait(Duration::from_secs(60))]).await;
    let limits = OpenAiCompatibleSettings { connect_timeout: Duration::from_millis(100), ..settings(&base_url) };
    let url = address(&base_url.replace("http:", "https:")).unwrap();
    let endpoint = Endpoint::with_tls(url, None, limits.limits().unwrap(), crate::send::tls(RootCertStore::empty())).unwrap();
    let (message, _) = transient(complete(&OpenAiCompatible { endpoint, model: "m".into() }, "").await);
    assert_eq!(message, "the provider could not be reached within 100ms");
}

#[tokio::test]
async fn an_answer_that_does_not_come_runs_into_the_total_time() {
    for steps in [vec![Wait(Duration::from_secs(60))], vec![Dribble("HTTP/1.1 200 OK\r\nx: y\r\n", Duration::from_millis(50))]] {
        let (base_url, _server) = serve(steps).await;
        let limits = OpenAiCompatibleSettings { timeout: Duration::from_millis(200), ..settings(&base_url) };
        let start = Instant::now();
        let (message, _) = transient(ask(&limits).await);
        assert!(message.contains("not answered completely after 200ms"), "{message}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test]
async fn time_to_think_is_not_idle_time() {
    let mut steps = vec![Wait(Duration::from_millis(300))];
    steps.extend(http("200 OK", "", &hello()));
    let (base_url, _server) = serve(steps).await;
    ask(&OpenAiCompatibleSettings { idle_timeout: Duration::from_millis(100), ..settings(&base_url) }).await.unwrap();
}

#[tokio::test]
async fn a_body_that_falls_silent_runs_into_the_idle_time() {
    let (base_url, _server) = serve(vec![Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into()), Wait(Duration::from_secs(60))]).await;
    let limits = OpenAiCompatibleSettings { idle_timeout: Duration::from_millis(100), ..settings(&base_url) };
    assert!(transient(ask(&limits).await).0.contains("fell silent for 100ms"));
}

#[tokio::test]
async fn a_body_that_dribbles_runs_into_the_total_time() {
    let (base_url, _server) = serve(vec![Say("HTTP/1.1 200 OK\r\n\r\n".into()), Dribble(" ", Duration::from_millis(20))]).await;
    let limits = OpenAiCompatibleSettings { timeout: Duration::from_millis(300), ..settings(&base_url) };
    assert!(transient(ask(&limits).await).0.contains("not answered completely"));
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit() {
    for (bytes, fits) in [(hello().len(), true), (hello().len() - 1, false)] {
        let (base_url, _server) = serve(http("200 OK", "", &hello())).await;
        let result = ask(&OpenAiCompatibleSettings { max_response: ByteSize(bytes as u64), ..settings(&base_url) }).await;
        assert_eq!(result.is_ok(), fits, "{result:?}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off_at_its_limit() {
    let (base_url, server) = serve(vec![Say("HTTP/1.1 200 OK\r\n\r\n".into()), Dribble("        ", Duration::ZERO)]).await;
    let limits = OpenAiCompatibleSettings { max_response: ByteSize(4096), ..settings(&base_url) };
    assert!(permanent(ask(&limits).await).contains("larger than 4096 bytes"));
    server.await.unwrap();
}

/// A server for `localhost`, asked under `name` by a client that trusts it, or nobody.
async fn ask_over_tls(name: &str, trusted: bool) -> Result<Answer, ProviderError> {
    let certified = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = address(&format!("https://{name}:{}/v1", listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        let stream: TcpStream = listener.accept().await.unwrap().0;
        if let Ok(stream) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await {
            answer(stream, http("200 OK", "", &hello())).await;
        }
    });
    let mut roots = RootCertStore::empty();
    if trusted {
        roots.add(certified.cert.der().clone()).unwrap();
    }
    let limits = settings("").limits().unwrap();
    let endpoint = Endpoint::with_tls(url, Some(&Key::new(KEY)), limits, crate::send::tls(roots)).unwrap();
    complete(&OpenAiCompatible { endpoint, model: "m".into() }, "").await
}

#[tokio::test]
async fn a_server_whose_certificate_is_trusted_is_asked() {
    assert_eq!(ask_over_tls("localhost", true).await.unwrap().message.joined(), "hello");
}

#[tokio::test]
async fn a_server_with_a_certificate_of_its_own_making_is_refused() {
    let message = permanent(ask_over_tls("localhost", false).await);
    assert!(message.contains("certificate is from an unknown issuer"), "{message}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let message = permanent(ask_over_tls("127.0.0.1", true).await);
    assert!(message.contains("certificate is for another name"), "{message}");
}

/// The environment of a process can only be set safely before it starts: the first test again, in another one.
#[test]
fn plain_http_goes_past_the_environments_proxy() {
    let test = "openai_compatible::tests::a_request_goes_out_and_its_answer_comes_back";
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test]).env_remove("NO_PROXY").env_remove("no_proxy");
    let again =
        again.env("HTTP_PROXY", "http://127.0.0.1:1").env("http_proxy", "http://127.0.0.1:1").env("ALL_PROXY", "http://127.0.0.1:1");
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn settings_have_defaults_and_read_back_without_the_key() {
    let read = settings("https://api.openai.com/v1");
    let full = json!({
        "base_url": "https://api.openai.com/v1", "model": "settings-model", "api_key": "(hidden)",
        "connect_timeout": "10s", "timeout": "5m", "idle_timeout": "30s", "max_response": "8.0 MiB"
    });
    assert_eq!(serde_json::to_value(&read).unwrap(), full);
    assert!(!format!("{read:?}").contains(KEY));
    let again: OpenAiCompatibleSettings = serde_json::from_value(full).unwrap();
    assert_eq!(again.limits().unwrap().bytes, 8 << 20);
    let typo = serde_json::from_value::<OpenAiCompatibleSettings>(json!({"base_url": "", "model": "", "apikey": ""})).unwrap_err();
    assert!(typo.to_string().contains("apikey"), "{typo}");
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let good = settings("http://localhost/v1");
    let key = |text: &str| OpenAiCompatibleSettings { api_key: Some(Key::new(text)), ..good.clone() };
    for (settings, error) in [
        (settings(""), SettingsError::Address),
        (settings("localhost:8080/v1"), SettingsError::Address),
        (settings("ftp://localhost/v1"), SettingsError::Address),
        (settings("http://user@localhost/v1"), SettingsError::AddressWithUser),
        (settings("http://:password@localhost/v1"), SettingsError::AddressWithUser),
        (key(""), SettingsError::Key),
        (key("sk-1\n"), SettingsError::Key),
        (key("secret://env/KEY"), SettingsError::KeyReference),
        (OpenAiCompatibleSettings { timeout: Duration::ZERO, ..good.clone() }, SettingsError::Zero("timeout")),
        (OpenAiCompatibleSettings { max_response: ByteSize(0), ..good.clone() }, SettingsError::Zero("max_response")),
    ] {
        assert_eq!(OpenAiCompatible::new(&settings).err(), Some(error), "{settings:?}");
    }
}

#[test]
fn the_path_is_appended_to_the_base_address() {
    for (base_url, url) in [
        ("http://localhost", "http://localhost/chat/completions"),
        ("http://localhost/v1", "http://localhost/v1/chat/completions"),
        ("http://localhost/v1/", "http://localhost/v1/chat/completions"),
        ("https://x/openai/deployments/d?api-version=1#f", "https://x/openai/deployments/d/chat/completions?api-version=1"),
    ] {
        assert_eq!(address(base_url).unwrap().as_str(), url);
    }
}
