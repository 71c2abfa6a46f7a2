//! The configuration changes while runs are paused: each keeps the plan it began with, or ends and says so.

use crate::approvals::{id, in_front_of, model, resume};
use crate::host::{Host, config, root};
use serde_json::{Value, json};

const QUESTION: &str = "financial advice about tax";

/// Two guards that ask, one after the other, from a component that lies beside the configuration.
fn two(second: &str) -> String {
    let own = config("none").replace(&format!("{}/sensitive_topic.wasm", root().join("guards").display()), "guard.wasm");
    let guard = format!("  second: {{component: guard.wasm, settings: {{phrases: [\"{second}\"]}}}}\npipeline:");
    own.replace("pipeline:", &guard).replace("ingress: [sensitive-topic]", "ingress: [sensitive-topic, second]")
}

fn component(more: &[u8]) -> Vec<u8> {
    let mut bytes = std::fs::read(root().join("guards/sensitive_topic.wasm")).expect("it is committed");
    bytes.extend(more);
    bytes
}

/// A section that says nothing: another SHA-256, the same guard.
const REMARK: [u8; 5] = [0, 3, 1, b'x', 0];

async fn start(config: &str, more: &[u8]) -> Host {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    std::fs::write(dir.path().join("guard.wasm"), component(more)).expect("writable");
    std::fs::write(dir.path().join("aegis.yaml"), config).expect("writable");
    Host::start_in(dir).await
}

async fn restart(host: Host, config: &str) -> Host {
    std::fs::write(host.dir.path().join("aegis.yaml"), config).expect("writable");
    host.crash_and_restart().await
}

async fn approve(host: &Host, run: &Value) -> Value {
    let (status, run) = resume(host, "", run, json!({"decision": "approved"})).await;
    assert_eq!(status, 200, "{run}\n{}", host.log());
    run
}

#[tokio::test]
async fn a_paused_run_goes_on_under_the_guards_with_which_it_began() {
    let host = start(&two("tax"), &[]).await;
    let run = host.submit("", QUESTION, json!({})).await;
    assert_eq!((&run["status"], &run["approval"]["guard"]), (&json!("paused"), &json!("sensitive-topic")), "{run}");

    // Other settings, another component, and no such guard at all: each would let the run pass.
    std::fs::write(host.dir.path().join("guard.wasm"), component(&REMARK)).expect("writable");
    let host = restart(host, &two("something else")).await;
    let host = restart(host, &config("none").replace("ingress: [sensitive-topic]", "ingress: []")).await;
    let asked = approve(&host, &run).await;
    assert_eq!((&asked["status"], &asked["approval"]["guard"]), (&json!("paused"), &json!("second")), "{asked}");
    let done = approve(&host, &run).await;
    assert_eq!(done["status"], "completed", "{done}");
    let judged: Vec<&Value> = done["events"].as_array().expect("a list").iter().filter(|it| it["type"] == "judged").collect();
    assert_eq!(judged.len(), 2, "no guard judged twice: {done}");
    assert_eq!(judged[0]["component"], judged[1]["component"], "both judged as the component that was there then: {done}");
    let new = host.submit("", QUESTION, json!({})).await;
    assert_eq!(new["status"], "completed", "a new run has the new plan: {new}");
}

#[tokio::test]
async fn a_denial_stays_one_though_the_guard_would_answer_differently_now() {
    let (api, address) = model().await;
    let host = Host::start(&in_front_of(address, "none")).await;
    let run = host.submit("", QUESTION, json!({})).await;
    let host = restart(host, &in_front_of(address, "none").replace("financial advice", "nothing of that kind")).await;
    let (status, denied) = resume(&host, "", &run, json!({"decision": "denied", "comment": "no"})).await;
    assert_eq!((status, &denied["status"]), (200, &json!("denied")), "{denied}");
    let (status, error) = resume(&host, "", &run, json!({"decision": "approved"})).await;
    assert_eq!((status, &error["error"]["decision"]["decision"]), (409, &json!("denied")), "{error}");
    let (_, run) = host.get("", &format!("/v1/runs/{}?wait=1s", id(&run))).await;
    assert_eq!((&run["status"], api.asked.lock().expect("no panics").len()), (&json!("denied"), 0), "{run}");
}

#[tokio::test]
async fn a_paused_run_is_sent_to_no_other_provider_of_the_same_name() {
    let ((first, address), (second, elsewhere)) = (model().await, model().await);
    let config = in_front_of(address, "none");
    let host = Host::start(&config).await;
    let runs = [host.submit("", QUESTION, json!({})).await, host.submit("", QUESTION, json!({})).await];
    let host = restart(host, &in_front_of(elsewhere, "none")).await;
    let ended = approve(&host, &runs[0]).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("error"), &json!("AEG-PRV-003")), "{ended}");
    assert!(ended["error"]["message"].to_string().contains("was changed since the run began"), "{ended}");
    let new = host.submit("", "How is the weather?", json!({})).await;
    assert_eq!(new["status"], "completed", "{new}");
    let count = |api: &crate::provider::Api| api.asked.lock().expect("no panics").len();
    assert_eq!((count(&first), count(&second)), (0, 1));

    // Another default model is no other provider: the run asks for the model it began with.
    let host = restart(host, &config.replace("model: m-1", "model: m-2")).await;
    let done = approve(&host, &runs[1]).await;
    assert_eq!((&done["status"], count(&first)), (&json!("completed"), 1), "{done}");
    assert_eq!(first.asked.lock().expect("no panics")[0].1["model"], "m-1");
}
