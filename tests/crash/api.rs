//! The model's API in front of which hosts are killed: it writes down every call.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone)]
pub(super) struct Api {
    /// How often it was asked for each run.
    calls: Arc<Mutex<BTreeMap<String, usize>>>,
    /// How long it thinks about what is slow.
    slow: Duration,
}

impl Api {
    /// It, and where it listens.
    pub(super) async fn start(slow: Duration) -> (Api, SocketAddr) {
        let api = Api { calls: Arc::default(), slow };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (api, address)
    }

    pub(super) fn calls(&self, run: &str) -> usize {
        self.calls.lock().expect("no panics").get(run).copied().unwrap_or_default()
    }

    pub(super) fn all_calls(&self) -> usize {
        self.calls.lock().expect("no panics").values().sum()
    }

    /// Every run for which it was asked.
    pub(super) fn runs(&self) -> Vec<String> {
        self.calls.lock().expect("no panics").keys().cloned().collect()
    }

    /// Which call for this run it is, from 1.
    fn note(&self, run: &str) -> usize {
        let mut calls = self.calls.lock().expect("no panics");
        let number = calls.entry(run.to_owned()).or_default();
        *number += 1;
        *number
    }
}

async fn complete(State(api): State<Api>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let run = headers["idempotency-key"].to_str().expect("an id");
    let number = api.note(run);
    let text = body["messages"][0]["content"].as_str().expect("a text");
    if text.contains("wobbly") && number == 1 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if text.contains("slow") {
        tokio::time::sleep(api.slow).await;
    }
    let message = json!({"role": "assistant", "content": format!("{run} {number}")});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    Json(json!({"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}))
        .into_response()
}
