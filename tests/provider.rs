//! The host in front of a model's API: a double that speaks the real protocol over a real socket.

use crate::host::{Host, config};
use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, response::IntoResponse, routing::post};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// What the API was asked, and what it answers next (the last answer again and again).
#[derive(Clone, Default)]
pub(crate) struct Api {
    pub(crate) asked: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    answers: Arc<Mutex<Vec<(u16, Value)>>>,
}

async fn complete(State(api): State<Api>, headers: HeaderMap, Json(body): Json<Value>) -> impl IntoResponse {
    api.asked.lock().expect("no panics").push((headers, body));
    let mut answers = api.answers.lock().expect("no panics");
    let (status, body) = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
    (StatusCode::from_u16(status).expect("a status"), Json(body))
}

/// An API on a port of its own.
pub(crate) async fn double(answers: Vec<(u16, Value)>) -> (Api, SocketAddr) {
    let api = Api { asked: Arc::default(), answers: Arc::new(Mutex::new(answers)) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(api.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (api, address)
}

async fn start(answers: Vec<(u16, Value)>) -> (Api, Host) {
    let (api, address) = double(answers).await;
    let provider = format!("fake: {{type: openai_compatible, base_url: \"http://{address}/v1\", model: m-1, api_key: secret://file/key}}");
    let config = config("none").replace(r#"fake: {type: fake, response: "the reply"}"#, &provider);
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    std::fs::write(dir.path().join("key"), "sk-test-0123456789\n").expect("writable");
    let config = config.replace("secret://file/key", &format!("secret://file/{}", dir.path().join("key").display()));
    std::fs::write(dir.path().join("aegis.yaml"), config).expect("writable");
    (api, Host::start_in(dir).await)
}

pub(crate) fn reply(message: Value) -> (u16, Value) {
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
    (
        200,
        json!({"id": "c-1", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}),
    )
}

#[tokio::test]
async fn messages_tools_and_parameters_reach_the_model_unchanged_and_its_calls_come_back() {
    let call = json!({"id": "call-1", "type": "function", "function": {"name": "pay", "arguments": "{\"amount\": 1e3}"}});
    let (api, host) = start(vec![reply(json!({"role": "assistant", "content": null, "tool_calls": [call]}))]).await;
    let body = json!({
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "pay"}], "name": "ada"}],
        "tools": [{"type": "function", "function": {"name": "pay", "description": "pays", "parameters": {"type": "object", "properties": {}}}}],
        "params": {"temperature": 0.25, "tool_choice": "required"},
    });
    let (status, run) = host.post("", "/v1/runs", body.clone()).await;
    assert_eq!((status, &run["status"]), (200, &json!("completed")), "{run}");
    assert_eq!(run["tool_calls"], json!([call]));
    assert_eq!(run["usage"]["total_tokens"], 7);
    let asked = api.asked.lock().expect("no panics");
    let (headers, sent) = &asked[0];
    assert_eq!((&sent["messages"], &sent["tools"], &sent["model"]), (&body["messages"], &body["tools"], &json!("m-1")));
    assert_eq!((&sent["temperature"], &sent["tool_choice"]), (&json!(0.25), &json!("required")));
    assert_eq!(headers["authorization"], "Bearer sk-test-0123456789");
}

#[tokio::test]
async fn a_provider_that_recovers_is_asked_again_and_one_that_refuses_is_not() {
    let (api, host) = start(vec![(503, json!({})), reply(json!({"role": "assistant", "content": "at last"}))]).await;
    let run = host.submit("", "hello", json!({})).await;
    assert_eq!((&run["status"], &run["response"]), (&json!("completed"), &json!("at last")), "{run}");
    assert_eq!(api.asked.lock().expect("no panics").len(), 2);

    let (api, host) = start(vec![(401, json!({"error": {"message": "bad key sk-test-0123456789 for prompt: the secret prompt"}}))]).await;
    let run = host.submit("", "the secret prompt", json!({})).await;
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("error"), &json!("AEG-PRV-001")), "{run}");
    assert_eq!(api.asked.lock().expect("no panics").len(), 1);
    let told = format!("{}{}", run, host.log());
    assert!(!told.contains("sk-test") && !told.contains("the secret prompt"), "{told}");
}

#[tokio::test]
async fn a_blocked_request_never_reaches_the_model() {
    let (api, host) = start(vec![reply(json!({"role": "assistant", "content": "x"}))]).await;
    let run = host.submit("", "financial advice", json!({})).await;
    let resume = format!("/v1/runs/{}/resume", run["run_id"].as_str().expect("an id"));
    assert_eq!(host.post("", &resume, json!({"decision": "denied"})).await.1["status"], "denied");
    assert!(api.asked.lock().expect("no panics").is_empty());
}
