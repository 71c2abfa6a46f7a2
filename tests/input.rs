//! How bad requests end: the right status, the one shape, the place that is wrong and what to write there. Nothing is stored, and
//! the host goes on. A new case is a line.

use crate::host::{Host, client, config};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const QUESTION: &str = "Please give me financial advice.";
const HELLO: &str = r#"{"messages":[{"role":"user","content":"hello"}]}"#;

/// An answer with all that a refusal has.
struct Answer {
    status: u16,
    id: String,
    body: Value,
}

async fn send(host: &Host, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let request = client().request(method, format!("{}{path}", host.url)).body(body.into());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = request.send().await.expect("the host answers");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    let (status, body) = crate::host::read(answer).await;
    Answer { status, id, body }
}

impl Answer {
    /// Where it does not refuse in the one shape, with this status and code, does not name `param` or does not say what it should.
    fn faults(&self, what: &str, status: u16, code: &str, param: &str, said: &str) -> Option<String> {
        let error = self.body["error"].as_object().cloned().unwrap_or_default();
        let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        let names: BTreeSet<&str> = error.keys().map(String::as_str).filter(|it| *it != "decision").collect();
        let checks = [
            ("the status", self.status == status),
            ("the code", text("code") == code),
            ("the shape", names == BTreeSet::from(["code", "fix", "message", "param", "request_id", "type", "why"])),
            ("an empty text", ["message", "why", "fix", "type"].iter().all(|it| text(it).len() > 3)),
            ("the request's id", text("request_id") == self.id),
            ("param", text("param") == param),
            ("the message", text("message").contains(said)),
            ("the size: what was sent comes back in full", self.body.to_string().len() < 4000),
        ];
        let wrong: Vec<&str> = checks.iter().filter(|it| !it.1).map(|it| it.0).collect();
        let shown = || format!("{what}\n  wrong: {}\n  answer: {} {}", wrong.join(", "), self.status, short(&self.body.to_string()));
        (!wrong.is_empty()).then(shown)
    }

    fn refuses(&self, what: &str, status: u16, code: &str, param: &str, said: &str) {
        none(self.faults(what, status, code, param, said));
    }
}

/// All of them at once: one case does not hide the next.
fn none(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn short(text: &str) -> String {
    text.chars().take(600).collect()
}

/// The runs that there are and the lines of the ledger.
fn stored(host: &Host) -> (i64, i64, i64) {
    let db = rusqlite::Connection::open(host.dir.path().join("aegis.db")).expect("the database");
    let sql = "SELECT (SELECT count(*) FROM run), (SELECT coalesce(sum(version), 0) FROM run), (SELECT count(*) FROM ledger)";
    db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("an answer")
}

async fn is_alive(host: &Host, key: &str) {
    assert_eq!(host.submit(key, "hello", json!({})).await["status"], "completed");
}

/// `{"messages":[…],…}` with `more` after a good message.
fn beside(more: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"x"}}],{more}}}"#)
}

/// A user's message with `more` in it.
fn inside(more: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user",{more}}}]}}"#)
}

fn part(part: &str) -> String {
    inside(&format!(r#""content":[{part}]"#))
}

fn call(call: &str) -> String {
    format!(r#"{{"messages":[{{"role":"assistant","tool_calls":[{call}]}}]}}"#)
}

fn nested(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

/// What is sent as a new run, the place that is wrong, and what is said.
fn bodies() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let text: Vec<(String, &str, &str)> = vec![
        // What is no JSON object.
        (String::new(), "", "there is no body: send a JSON object"),
        (" \r\n\t ".into(), "", "there is no body: send a JSON object"),
        ("hello".into(), "", "no JSON that can be read: expected value at line 1 column 1"),
        ("messages=hello".into(), "", "no JSON that can be read"),
        ("<messages/>".into(), "", "no JSON that can be read"),
        ("[]".into(), "", "has to be a JSON object, and this is a list"),
        (r#"[[{"role":"user","content":"x"}]]"#.into(), "", "has to be a JSON object, and this is a list"),
        ("\"hello\"".into(), "", "has to be a JSON object, and this is a text"),
        ("7".into(), "", "has to be a JSON object, and this is a single value"),
        ("null".into(), "", "has to be a JSON object, and this is a single value"),
        ("{".into(), "", "EOF while parsing an object"),
        (HELLO[..HELLO.len() - 1].into(), "", "EOF while parsing"),
        ("{'messages': []}".into(), "", "key must be a string at line 1 column 2"),
        (format!("{HELLO}x"), "", "goes on after its JSON"),
        (format!("{HELLO}{HELLO}"), "", "goes on after its JSON"),
        (format!("{HELLO}\n{HELLO}\n"), "", "goes on after its JSON"),
        (format!("{HELLO},"), "", "goes on after its JSON"),
        (beside(r#""route":"default","#), "", "trailing comma"),
        (format!("\u{feff}{HELLO}"), "", "byte order mark"),
        (beside(r#""metadata":{"a":"a	tab"}"#), "", "control character"),
        // What no text can hold.
        ("\0".into(), "", "no JSON that can be read"),
        (format!("{HELLO}\0"), "", "goes on after its JSON"),
        (inside("\"content\":\"a\0b\""), "", "control character"),
        (inside(r#""content":"a\u0000b""#), "messages[0].content", "U+0000"),
        (part(r#"{"type":"text","text":"\u0000"}"#), "messages[0].content[0].text", "U+0000"),
        (beside(r#""metadata":{"a\u0000":"b"}"#), r"metadata.a\u0000", "U+0000"),
        (beside(r#""params":{"user":"\u0000"}"#), "params.user", "U+0000"),
        (beside(r#""route":"\u0000""#), "route", "U+0000"),
        (inside(r#""content":"\ud800""#), "", "hex escape"),
        (inside(r#""content":"\udc00\ud800""#), "", "surrogate"),
        (inside(r#""content":"\ud83d\u0041""#), "", "surrogate"),
        (inside(r#""content":"\x41""#), "", "invalid escape"),
        // Fields that nobody knows, by name.
        (beside(r#""approver":["ada"]"#), "approver", "unknown field `approver`, expected one of `messages`, `route`"),
        (beside(r#""model":"gpt""#), "model", "unknown field `model`"),
        (beside(r#""stream":true"#), "stream", "unknown field `stream`"),
        (beside(r#""Route":"default""#), "Route", "unknown field `Route`"),
        (inside(r#""content":"x","contents":"y""#), "messages[0].contents", "unknown field `contents`"),
        (inside(r#""content":"x","audio":{"id":"a"}"#), "messages[0].audio", "unknown field `audio`"),
        (part(r#"{"type":"text","text":"x","cache_control":{}}"#), "messages[0].content[0].cache_control", "unknown field `cache_control`"),
        (
            part(r#"{"type":"image_url","image_url":{"url":"https://x","alt":"y"}}"#),
            "messages[0].content[0]",
            "image_url: unknown field `alt`",
        ),
        (part(r#"{"type":"input_audio","input_audio":{"data":"","format":"wav","x":1}}"#), "messages[0].content[0]", "unknown field `x`"),
        (
            call(r#"{"id":"1","type":"function","index":0,"function":{"name":"f","arguments":""}}"#),
            "messages[0].tool_calls[0].index",
            "unknown field `index`",
        ),
        (
            call(r#"{"id":"1","type":"function","function":{"name":"f","arguments":"","x":1}}"#),
            "messages[0].tool_calls[0].function.x",
            "unknown field `x`",
        ),
        (beside(r#""tools":[{"type":"function","x":1,"function":{"name":"f"}}]"#), "tools[0].x", "unknown field `x`"),
        (
            beside(r#""tools":[{"type":"function","function":{"name":"f","returns":{}}}]"#),
            "tools[0].function.returns",
            "unknown field `returns`",
        ),
        (beside(r#""params":{"temperatur":1}"#), "params", "temperatur"),
        (beside(r#""params":{"model":"gpt"}"#), "params", "the route names the model"),
        (beside(r#""params":{"stream":true}"#), "params", "replies are not streamed"),
        // Fields that are missing or empty.
        ("{}".into(), "messages", "missing field `messages`"),
        (r#"{"messages":[]}"#.into(), "messages", "at least one message"),
        (r#"{"messages":[{}]}"#.into(), "messages[0].role", "missing field `role`"),
        (r#"{"messages":[{"content":"x"}]}"#.into(), "messages[0].role", "missing field `role`"),
        (r#"{"messages":[{"role":"user"}]}"#.into(), "messages[0].content", "write a string or a list of parts"),
        (r#"{"messages":[{"role":"system","content":null}]}"#.into(), "messages[0].content", "write a string or a list of parts"),
        (
            r#"{"messages":[{"role":"user","content":"x"},{"role":"tool","tool_call_id":"1"}]}"#.into(),
            "messages[1].content",
            "write a string",
        ),
        (part(r#"{"text":"x"}"#), "messages[0].content[0].type", "missing field `type`"),
        (part(r#"{"type":"text"}"#), "messages[0].content[0].text", "missing field `text`"),
        (
            call(r#"{"id":"1","type":"function","function":{"name":"f"}}"#),
            "messages[0].tool_calls[0].function.arguments",
            "missing field `arguments`",
        ),
        (beside(r#""tools":[{"type":"function"}]"#), "tools[0].function", "missing field `function`"),
        (beside(r#""metadata":{"":"x"}"#), "metadata", "names have 1 to 64 bytes"),
        (beside(r#""approvers":[""]"#), "approvers[0]", "a principal's id, team:NAME or role:NAME"),
        (beside(r#""approvers":["team:"]"#), "approvers[0]", "a principal's id, team:NAME or role:NAME"),
        (beside(r#""approvers":["  "]"#), "approvers[0]", "a principal's id, team:NAME or role:NAME"),
        (beside(r#""approvers":["ada","tem:risk"]"#), "approvers[1]", "did you mean \"team:risk\"?"),
        (beside(r#""approvers":["role:boss"]"#), "approvers[0]", "there is no role \"boss\": write user, approver or admin"),
        // Words that are none.
        (
            r#"{"messages":[{"role":"robot","content":"x"}]}"#.into(),
            "messages[0].role",
            r#""robot", expected "user" or "assistant" or "system""#,
        ),
        (r#"{"messages":[{"role":"User","content":"x"}]}"#.into(), "messages[0].role", r#"expected "user""#),
        (r#"{"messages":[{"role":"","content":"x"}]}"#.into(), "messages[0].role", r#"expected "user""#),
        (r#"{"messages":[{"role":1,"content":"x"}]}"#.into(), "messages[0].role", r#"integer `1`, expected "user""#),
        (r#"{"messages":[{"role":null,"content":"x"}]}"#.into(), "messages[0].role", r#"null, expected "user""#),
        (r#"{"messages":[{"role":{"user":null},"content":"x"}]}"#.into(), "messages[0].role", r#"object, expected "user""#),
        (
            call(r#"{"id":"1","type":"custom","function":{"name":"f","arguments":""}}"#),
            "messages[0].tool_calls[0].type",
            r#"expected "function""#,
        ),
        (
            part(r#"{"type":"image_url","image_url":{"url":"x","detail":"close"}}"#),
            "messages[0].content[0]",
            r#"expected "auto" or "low" or "high""#,
        ),
        // Values of another type.
        (r#"{"messages":"hello"}"#.into(), "messages", "expected a list"),
        (r#"{"messages":{"role":"user","content":"x"}}"#.into(), "messages", "expected a list"),
        (r#"{"messages":null}"#.into(), "messages", "expected a list"),
        (r#"{"messages":["hello"]}"#.into(), "messages[0]", "expected an object"),
        (r#"{"messages":[null]}"#.into(), "messages[0]", "expected an object"),
        (r#"{"messages":[["user","hello"]]}"#.into(), "messages[0]", "expected an object"),
        (inside(r#""content":7"#), "messages[0].content", "expected a string, a list of parts, or null"),
        (inside(r#""content":true"#), "messages[0].content", "expected a string, a list of parts, or null"),
        (inside(r#""content":{"type":"text","text":"x"}"#), "messages[0].content", "expected a string, a list of parts, or null"),
        (part("\"x\""), "messages[0].content[0]", "expected an object with a `type`"),
        (part("[]"), "messages[0].content[0]", "expected an object with a `type`"),
        (part(r#"{"type":7}"#), "messages[0].content[0]", "type: expected a string"),
        (part(r#"{"type":"text","text":7}"#), "messages[0].content[0]", "text: invalid type: integer `7`, expected a string"),
        (
            part(r#"{"type":"image_url","image_url":"https://x"}"#),
            "messages[0].content[0]",
            "image_url: invalid type: string \"https://x\", expected an object",
        ),
        (inside(r#""content":"x","name":7"#), "messages[0].name", "expected a string"),
        (inside(r#""content":"x","refusal":[]"#), "messages[0].refusal", "expected a string"),
        (inside(r#""content":"x","tool_call_id":1"#), "messages[0].tool_call_id", "expected a string"),
        (inside(r#""content":"x","tool_calls":{}"#), "messages[0].tool_calls", "expected a list"),
        (call(r#"{"id":1,"type":"function","function":{"name":"f","arguments":""}}"#), "messages[0].tool_calls[0].id", "expected a string"),
        (
            call(r#"{"id":"1","type":"function","function":{"name":"f","arguments":{}}}"#),
            "messages[0].tool_calls[0].function.arguments",
            "expected a string",
        ),
        (beside(r#""route":7"#), "route", "expected a string"),
        (beside(r#""route":["default"]"#), "route", "expected a string"),
        (beside(r#""background":1"#), "background", "expected a boolean"),
        (beside(r#""background":"true""#), "background", "expected a boolean"),
        (beside(r#""background":null"#), "background", "expected a boolean"),
        (beside(r#""approvers":"ada""#), "approvers", "expected a list"),
        (beside(r#""approvers":[7]"#), "approvers[0]", "expected a string"),
        (beside(r#""approvers":[null]"#), "approvers[0]", "expected a string"),
        (beside(r#""metadata":[]"#), "metadata", "expected an object"),
        (beside(r#""metadata":"x""#), "metadata", "expected an object"),
        (beside(r#""metadata":{"a":1}"#), "metadata.a", "expected a string"),
        (beside(r#""metadata":{"a":{"b":"c"}}"#), "metadata.a", "expected a string"),
        (beside(r#""tools":{}"#), "tools", "expected a list"),
        (beside(r#""tools":["f"]"#), "tools[0]", "expected an object"),
        (beside(r#""tools":[{"type":"function","function":{"name":7}}]"#), "tools[0].function.name", "expected a string"),
        (
            beside(r#""tools":[{"type":"function","function":{"name":"f","strict":"no"}}]"#),
            "tools[0].function.strict",
            "expected a boolean",
        ),
        (beside(r#""params":[]"#), "params", "expected an object"),
        (beside(r#""params":7"#), "params", "expected an object"),
        // Names that stand there twice: which of them counts, nobody could say.
        (beside(r#""route":"default","route":"default""#), "route", "duplicate field `route`"),
        (beside(r#""messages":[]"#), "messages", "duplicate field `messages`"),
        (inside(r#""content":"x","content":"y""#), "messages[0].content", "duplicate field `content`"),
        (r#"{"messages":[{"role":"user","role":"system","content":"x"}]}"#.into(), "messages[0].role", "duplicate field `role`"),
        (part(r#"{"type":"text","text":"x","text":"y"}"#), "messages[0].content[0]", "\"text\" stands there twice: leave one"),
        (part(r#"{"type":"file","file":{"id":1,"id":2}}"#), "messages[0].content[0].file", "\"id\" stands there twice: leave one"),
        (beside(r#""metadata":{"a":"x","a":"y"}"#), "metadata", "\"a\" stands there twice: leave one"),
        (beside(r#""params":{"seed":1,"seed":2}"#), "params", "\"seed\" stands there twice: leave one"),
        (
            beside(r#""params":{"response_format":{"type":"a","type":"b"}}"#),
            "params.response_format",
            "\"type\" stands there twice: leave one",
        ),
        (
            beside(r#""tools":[{"type":"function","function":{"name":"f","parameters":{"a":1,"a":2}}}]"#),
            "tools[0].function.parameters",
            "\"a\" stands there twice",
        ),
        // Numbers out of range.
        (beside(r#""params":{"temperature":1e999}"#), "", "number out of range"),
        (beside(r#""params":{"temperature":-1e999}"#), "", "number out of range"),
        (beside(&format!(r#""params":{{"seed":{}}}"#, "9".repeat(400))), "", "number out of range"),
        (beside(r#""params":{"seed":01}"#), "", "invalid number"),
        (beside(r#""params":{"seed":+1}"#), "", "expected value"),
        (beside(r#""params":{"seed":.5}"#), "", "expected value"),
        (beside(r#""params":{"seed":NaN}"#), "", "expected value"),
        (beside(r#""params":{"seed":Infinity}"#), "", "expected value"),
        (beside(r#""params":{"seed":0x10}"#), "", "no JSON that can be read"),
        // Too much of it.
        (
            format!(r#"{{"messages":[{}]}}"#, vec![r#"{"role":"user","content":"x"}"#; 10_000].join(",")),
            "messages",
            "10000 messages: at most 1000",
        ),
        (
            format!(r#"{{"messages":[{}]}}"#, vec![r#"{"role":"user","content":"x"}"#; 1_001].join(",")),
            "messages",
            "1001 messages: at most 1000",
        ),
        (
            beside(&format!(r#""tools":[{}]"#, vec![r#"{"type":"function","function":{"name":"f"}}"#; 129].join(","))),
            "tools",
            "129 tools: at most 128",
        ),
        (beside(&format!(r#""approvers":[{}]"#, vec![r#""ada""#; 101].join(","))), "approvers", "101 approvers: at most 100"),
        (beside(&format!(r#""approvers":["{}"]"#, "a".repeat(257))), "approvers[0]", "of 1 to 256 bytes"),
        (beside(&format!(r#""approvers":["team:{}"]"#, "a".repeat(100_000))), "approvers[0]", "of 1 to 256 bytes"),
        (beside(&format!(r#""metadata":{{"{}":"x"}}"#, "a".repeat(65))), "metadata", "names have 1 to 64 bytes"),
        (beside(&format!(r#""metadata":{{"a":"{}"}}"#, "a".repeat(1025))), "metadata", "values at most 1024"),
        (
            beside(&format!(r#""metadata":{{{}}}"#, (0..65).map(|it| format!(r#""k{it}":"v""#)).collect::<Vec<_>>().join(","))),
            "metadata",
            "65 entries: at most 64",
        ),
        // Too deep.
        (nested(10_000), "", "nested too deeply"),
        (format!(r#"{{"messages":{}}}"#, nested(10_000)), "messages[0]", "expected an object"),
        (inside(&format!(r#""content":{}"#, nested(10_000))), "messages[0].content[0]", "expected an object"),
        (beside(&format!(r#""params":{{"tool_choice":{}}}"#, nested(100))), "", "nested more than 64 levels deep"),
        (beside(&format!(r#""params":{{"tool_choice":{}}}"#, nested(10_000))), "", "nested more than 64 levels deep"),
        (part(&format!(r#"{{"type":"x","x":{}}}"#, nested(64))), "", "nested more than 64 levels deep"),
        (part(&format!(r#"{{"type":"x","x":{}}}"#, "{\"a\":".repeat(10_000))), "", "nested more than 64 levels deep"),
        (
            beside(&format!(r#""tools":[{{"type":"function","function":{{"name":"f","parameters":{}}}}}]"#, nested(65))),
            "",
            "nested more than 64",
        ),
    ];
    let bytes: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"\xff\xfe{\0}\0".into(), "", "not UTF-8: byte 1 is wrong"),
        (b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}".into(), "", "not UTF-8: byte 40 is wrong"),
        (b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xed\xa0\x80\"}]}".into(), "", "not UTF-8: byte 40 is wrong"),
        (b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xc0\x80\"}]}".into(), "", "not UTF-8: byte 40 is wrong"),
        (b"{\"mess\xffages\":[]}".into(), "", "not UTF-8: byte 7 is wrong"),
    ];
    text.into_iter().map(|(body, param, said)| (body.into_bytes(), param, said)).chain(bytes).collect()
}

#[tokio::test]
async fn a_body_that_is_wrong_is_refused_with_the_place_and_what_to_write() {
    let host = Host::start(&config("none")).await;
    let (before, mut faults) = (stored(&host), vec![]);
    for (body, param, said) in bodies() {
        let what = short(&String::from_utf8_lossy(&body));
        let answer = send(&host, "POST", "/v1/runs", &[], body).await;
        // The path to where it became too deep is as long as it is deep.
        let found = answer.body["error"]["param"].as_str().unwrap_or_default().to_owned();
        let param = if said.starts_with("nested more than") { &found } else { param };
        faults.extend(answer.faults(&what, 422, "AEG-RUN-002", param, said));
    }
    none(faults);
    assert_eq!(stored(&host), before, "something was stored");
    is_alive(&host, "").await;
}

/// What looks wrong, and is what clients send.
#[tokio::test]
async fn what_is_odd_and_means_something_passes() {
    let host = Host::start(&config("none")).await;
    let bodies = [
        format!(" \r\n\t{HELLO}\n\n"),
        inside(r#""content":"""#),
        inside(r#""content":"\\u0000 \ud83d\ude00 \/ 😀""#),
        inside(r#""content":"x","tool_calls":null,"name":"""#),
        part(r#"{"type":"text","text":""}"#),
        r#"{"messages":[{"role":"assistant"},{"role":"function","name":"f","content":"x"}]}"#.into(),
        beside(r#""route":null,"metadata":{},"approvers":[],"tools":[],"params":{}"#),
        beside(r#""params":{"temperature":-0,"seed":-0.0}"#),
        beside(r#""params":{"seed":123456789012345678901234567890,"temperature":1e-400}"#),
        beside(&format!(r#""params":{{"tool_choice":{}}}"#, nested(64))),
        beside(&format!(r#""metadata":{{"{}":"{}"}}"#, "a".repeat(64), "b".repeat(1024))),
        beside(&format!(r#""approvers":["{}"]"#, "a".repeat(256))),
        format!(r#"{{"messages":[{}]}}"#, vec![r#"{"role":"user","content":"x"}"#; 1_000].join(",")),
    ];
    let mut faults = vec![];
    for body in bodies {
        let what = short(&body);
        for kind in ["application/json", "text/plain; charset=latin-1", "application/x-www-form-urlencoded", "image/png"] {
            let answer = send(&host, "POST", "/v1/runs", &[("content-type", kind), ("content-encoding", "identity")], body.clone()).await;
            let passed = (answer.status, &answer.body["status"]) == (200, &json!("completed"));
            faults.extend((!passed).then(|| format!("{what} as {kind}: {} {}", answer.status, short(&answer.body.to_string()))));
        }
    }
    none(faults);
}

#[tokio::test]
async fn a_route_that_is_none_is_refused_with_those_there_are() {
    let host = Host::start(&config("none")).await;
    let before = stored(&host);
    for route in ["nowhere", "", "Default", "default ", "../default", "dé\\nfault", &"a".repeat(500_000)] {
        let answer = send(&host, "POST", "/v1/runs", &[], beside(&format!(r#""route":"{route}""#))).await;
        answer.refuses(&short(route), 422, "AEG-RUN-003", "route", "write one of default");
    }
    assert_eq!(stored(&host), before);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let host = Host::start(&config("none")).await;
    let paused = host.submit("", QUESTION, json!({})).await;
    let id = paused["run_id"].as_str().expect("an id");
    let before = stored(&host);
    let large = || beside(&format!(r#""metadata":{{"a":"{}"}}"#, "a".repeat(50 << 20)));
    let begun = Instant::now();
    for path in ["/v1/runs", &format!("/v1/runs/{id}/resume"), &format!("/v1/runs/{id}/cancel")] {
        send(&host, "POST", path, &[], large()).await.refuses(path, 413, "AEG-RUN-005", "", "more than 1048576 bytes");
    }
    let pieces = futures::stream::iter((0..50).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 20])));
    let chunked = client().post(format!("{}/v1/runs", host.url)).body(reqwest::Body::wrap_stream(pieces)).send().await.expect("an answer");
    assert_eq!(chunked.status(), 413);
    // Announced alone: nobody waits for it.
    let answer = raw(
        &host,
        "POST /v1/runs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n",
        "HTTP/1.1 413 ",
    );
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("AEG-RUN-005"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(20), "large bodies take {:?}", begun.elapsed());
    assert_eq!(stored(&host), before);
    is_alive(&host, "").await;
}

/// Sends `text` as it is, and reads until the host closes the connection; half of it is closed before where nothing is expected.
fn raw(host: &Host, text: &str, expected: &str) -> String {
    let mut stream = TcpStream::connect(host.url.trim_start_matches("http://")).expect("the host listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    // A host that refuses the beginning need not read the end.
    drop(stream.write_all(text.as_bytes()));
    if expected.is_empty() {
        drop(stream.shutdown(std::net::Shutdown::Write));
    }
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// What is wrong below JSON, and the beginning of the answer; empty where nobody is there to be answered.
#[tokio::test]
async fn requests_that_are_no_http_end_with_their_connection() {
    let host = Host::start(&config("none")).await;
    let before = stored(&host);
    let post = |rest: &str| format!("POST /v1/runs HTTP/1.1\r\nhost: localhost\r\n{rest}");
    let long = "a".repeat(40_000);
    let rows = [
        (post(&format!("content-length: 5\r\n\r\n{HELLO}")), "HTTP/1.1 422 "),
        (post(&format!("content-length: 900\r\n\r\n{HELLO}")), ""),
        (post("content-length: -1\r\n\r\n"), "HTTP/1.1 400 "),
        (post("content-length: many\r\n\r\n"), "HTTP/1.1 400 "),
        (post(&format!("content-length: 48\r\ncontent-length: 5\r\n\r\n{HELLO}")), "HTTP/1.1 400 "),
        (post("content-length: 99999999999999999999999\r\n\r\n"), "HTTP/1.1 400 "),
        (post("transfer-encoding: gzip\r\n\r\n"), "HTTP/1.1 400 "),
        (post("transfer-encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n"), "HTTP/1.1 422 "),
        (post(&format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{HELLO}\r\n", HELLO.len())), ""),
        (post(&format!("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{HELLO}\r\n0\r\n\r\n")), "HTTP/1.1 422 "),
        (format!("GET /v1/runs?route={long} HTTP/1.1\r\nhost: localhost\r\n\r\n"), "HTTP/1.1 431 "),
        (format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"), "HTTP/1.1 431 "),
        ("GET /v1/runs\0 HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), "HTTP/1.1 400 "),
        ("GET  HTTP/1.1\r\n\r\n".into(), "HTTP/1.1 400 "),
        ("GET /v1/runs HTTP/9.9\r\n\r\n".into(), "HTTP/1.1 400 "),
        ("hello\r\n\r\n".into(), "HTTP/1.1 400 "),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03".into(), "HTTP/1.1 400 "),
        ("CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".into(), "HTTP/1.1 404 "),
    ];
    let mut faults = vec![];
    for (text, expected) in rows {
        let answer = raw(&host, &text, expected);
        let as_told = if expected.is_empty() { !answer.contains("200 OK") } else { answer.starts_with(expected) };
        faults.extend((!as_told).then(|| format!("{}: {}", short(&text), short(&answer))));
    }
    none(faults);
    assert_eq!(stored(&host), before, "half a request was taken for a whole one");
    is_alive(&host, "").await;
}

#[tokio::test]
async fn a_body_that_never_arrives_is_given_up() {
    let host = Host::start(&config("none").replace("server: {", "server: {body_timeout: 500ms, ")).await;
    let mut stream = TcpStream::connect(host.url.trim_start_matches("http://")).expect("the host listens");
    write!(stream, "POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900\r\n\r\n{HELLO}").expect("the host reads");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the host closes the connection");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("did not arrive in time"), "{answer}");
    assert_eq!(stored(&host).0, 0);
    is_alive(&host, "").await;
}

#[tokio::test]
async fn a_chunked_body_is_a_body() {
    let host = Host::start(&config("none")).await;
    let (one, two) = HELLO.split_at(20);
    let chunks = format!("{:x}\r\n{one}\r\n{:X};x=y\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    let answer = raw(
        &host,
        &format!("POST /v1/runs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"),
        "HTTP/1.1 200 ",
    );
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("the reply"), "{answer}");
}

/// Method, path, header, body; status, code, param and what is said.
type Head = (&'static str, String, (&'static str, &'static str), &'static str, u16, &'static str, &'static str, &'static str);

/// One character more than a key may have.
const LONG_KEY: &str = match std::str::from_utf8(&[b'k'; 256]) {
    Ok(key) => key,
    Err(_) => panic!("it is ASCII"),
};

fn heads() -> Vec<Head> {
    let none = ("accept", "*/*");
    let list = |query: &str| format!("/v1/runs?{query}");
    let limit = "limit has to be a whole number from 1 to 200";
    vec![
        // Methods and paths.
        ("PUT", "/v1/runs".into(), none, HELLO, 405, "AEG-SRV-003", "", "does not take this method"),
        ("DELETE", "/v1/runs".into(), none, "", 405, "AEG-SRV-003", "", "does not take this method"),
        ("OPTIONS", "/v1/runs".into(), none, "", 405, "AEG-SRV-003", "", "does not take this method"),
        ("PATCH", "/v1/runs".into(), none, "", 405, "AEG-SRV-003", "", "does not take this method"),
        ("TRACE", "/v1/runs".into(), none, "", 405, "AEG-SRV-003", "", "does not take this method"),
        ("FROBNICATE", "/v1/runs".into(), none, "", 405, "AEG-SRV-003", "", "does not take this method"),
        ("POST", "/healthz".into(), none, "", 405, "AEG-SRV-003", "", "does not take this method"),
        ("GET", "/v1/runs/x/resume".into(), none, "", 405, "AEG-SRV-003", "", "does not take this method"),
        ("GET", "/v2/runs".into(), none, "", 404, "AEG-SRV-003", "", "nothing at this path"),
        ("GET", "/v1/runs/".into(), none, "", 404, "AEG-SRV-003", "", "nothing at this path"),
        ("GET", "/v1//runs".into(), none, "", 404, "AEG-SRV-003", "", "nothing at this path"),
        ("GET", "/v1/runs%00".into(), none, "", 404, "AEG-SRV-003", "", "nothing at this path"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd".into(), none, "", 404, "AEG-SRV-003", "", "nothing at this path"),
        ("GET", format!("/{}", "a".repeat(15_000)), none, "", 404, "AEG-SRV-003", "", "nothing at this path"),
        // Ids.
        ("GET", "/v1/runs/nonsense".into(), none, "", 404, "AEG-RUN-001", "", "no such run"),
        ("GET", "/v1/runs/%00".into(), none, "", 404, "AEG-RUN-001", "", "no such run"),
        ("GET", "/v1/runs/%ff".into(), none, "", 404, "AEG-RUN-001", "", "no such run"),
        ("GET", "/v1/runs/%zz".into(), none, "", 404, "AEG-RUN-001", "", "no such run"),
        ("GET", "/v1/runs/' OR 1=1".replace(' ', "%20"), none, "", 404, "AEG-RUN-001", "", "no such run"),
        ("GET", "/v1/runs/00000000-0000-0000-0000-000000000000".into(), none, "", 404, "AEG-RUN-001", "", "no such run"),
        ("GET", format!("/v1/runs/{}", "0".repeat(10_000)), none, "", 404, "AEG-RUN-001", "", "no such run"),
        ("POST", "/v1/runs/nonsense/resume".into(), none, r#"{"decision":"approved"}"#, 404, "AEG-RUN-001", "", "no such run"),
        ("POST", "/v1/runs/nonsense/resume".into(), none, "no JSON", 404, "AEG-RUN-001", "", "no such run"),
        ("POST", "/v1/runs/nonsense/cancel".into(), none, "", 404, "AEG-RUN-001", "", "no such run"),
        ("GET", "/v1/guards/nonsense".into(), none, "", 404, "AEG-GRD-011", "", "no such guard"),
        ("GET", "/v1/guards/%00".into(), none, "", 404, "AEG-GRD-011", "", "no such guard"),
        ("GET", "/v1/guards/%ff".into(), none, "", 404, "AEG-GRD-011", "", "no such guard"),
        ("GET", "/v1/approvals?run=nonsense".into(), none, "", 422, "AEG-RUN-002", "run", ""),
        // Queries.
        ("GET", list("limit=0"), none, "", 422, "AEG-RUN-002", "limit", limit),
        ("GET", list("limit=-1"), none, "", 422, "AEG-RUN-002", "limit", limit),
        ("GET", list("limit=201"), none, "", 422, "AEG-RUN-002", "limit", limit),
        ("GET", list("limit=99999999999999999999999999"), none, "", 422, "AEG-RUN-002", "limit", limit),
        ("GET", list("limit=1.5"), none, "", 422, "AEG-RUN-002", "limit", limit),
        ("GET", list("limit=ten"), none, "", 422, "AEG-RUN-002", "limit", limit),
        ("GET", list("limit=%00"), none, "", 422, "AEG-RUN-002", "limit", limit),
        ("GET", list("limit=%ff"), none, "", 422, "AEG-RUN-002", "limit", limit),
        ("GET", list("limit=1&limit=2"), none, "", 422, "AEG-RUN-002", "limit", "duplicate field `limit`"),
        ("GET", list("after=garbage"), none, "", 422, "AEG-RUN-002", "after", "the `next` of the page before"),
        ("GET", list(&format!("after={}", "a".repeat(10_000))), none, "", 422, "AEG-RUN-002", "after", "the `next` of the page before"),
        ("GET", list("status=nonsense"), none, "", 422, "AEG-RUN-002", "status", "write one of pending, running, paused, completed"),
        ("GET", list("status=Paused"), none, "", 422, "AEG-RUN-002", "status", "write one of"),
        ("GET", list("stauts=paused"), none, "", 422, "AEG-RUN-002", "stauts", "unknown field `stauts`, expected one of `status`"),
        ("GET", list("principal=%00"), none, "", 422, "AEG-RUN-002", "principal", "a name has no control characters"),
        ("GET", list("principal=ada%0a"), none, "", 422, "AEG-RUN-002", "principal", "a name has no control characters"),
        ("GET", list("route=default%00"), none, "", 422, "AEG-RUN-002", "route", "a name has no control characters"),
        ("GET", list("wait=1s"), none, "", 422, "AEG-RUN-002", "wait", "unknown field `wait`"),
        ("GET", "/v1/approvals?limit=0".into(), none, "", 422, "AEG-RUN-002", "limit", limit),
        ("GET", "/v1/approvals?after=x".into(), none, "", 422, "AEG-RUN-002", "after", "the `next`"),
        ("GET", "/v1/approvals?status=paused".into(), none, "", 422, "AEG-RUN-002", "status", "unknown field `status`"),
        ("GET", "/v1/guards?limit=1".into(), none, "", 422, "AEG-RUN-002", "limit", "takes no parameters"),
        ("GET", "/v1/guards/sensitive-topic?verbose".into(), none, "", 422, "AEG-RUN-002", "verbose", "takes no parameters"),
        ("POST", "/v1/runs?background=true".into(), none, HELLO, 422, "AEG-RUN-002", "background", "write them into the body"),
        // Headers.
        (
            "POST",
            "/v1/runs".into(),
            ("content-encoding", "gzip"),
            HELLO,
            415,
            "AEG-RUN-002",
            "Content-Encoding",
            "\"gzip\" is not taken: send it as it is",
        ),
        ("POST", "/v1/runs".into(), ("content-encoding", "br, gzip"), HELLO, 415, "AEG-RUN-002", "Content-Encoding", "send it as it is"),
        ("POST", "/v1/runs".into(), ("idempotency-key", ""), HELLO, 422, "AEG-RUN-002", "Idempotency-Key", "is empty"),
        ("POST", "/v1/runs".into(), ("idempotency-key", "\u{e9}"), HELLO, 422, "AEG-RUN-002", "Idempotency-Key", "printable ASCII"),
        (
            "POST",
            "/v1/runs".into(),
            ("idempotency-key", LONG_KEY),
            HELLO,
            422,
            "AEG-RUN-002",
            "Idempotency-Key",
            "more than 255 characters",
        ),
        ("GET", "/v1/runs".into(), ("host", "evil.example"), "", 403, "AEG-AUTH-004", "", "not reached by that Host"),
        ("POST", "/v1/runs".into(), ("origin", "http://evil.example"), HELLO, 403, "AEG-AUTH-004", "", "not the server's own"),
    ]
}

#[tokio::test]
async fn a_head_that_is_wrong_is_refused_with_what_to_write() {
    let host = Host::start(&config("none")).await;
    let (before, mut faults) = (stored(&host), vec![]);
    for (method, path, header, body, status, code, param, said) in heads() {
        let what = format!("{method} {} {header:?}", short(&path));
        let answer = send(&host, method, &path, &[header], body).await;
        faults.extend(answer.faults(&what, status, code, param, said));
        if status == 405 {
            let allow = client().request(Method::PUT, format!("{}/v1/runs", host.url)).send().await.expect("an answer");
            assert_eq!(allow.headers()["allow"], "POST,GET,HEAD", "{what}");
        }
    }
    none(faults);
    assert_eq!(stored(&host), before);
    is_alive(&host, "").await;
}

#[tokio::test]
async fn a_head_request_is_answered_without_a_body() {
    let host = Host::start(&config("none")).await;
    for (path, status) in [("/v1/runs", 200), ("/healthz", 200), ("/v1/runs/nonsense", 404), ("/v1/runs?limit=0", 422), ("/nowhere", 404)] {
        let answer = client().head(format!("{}{path}", host.url)).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.bytes().await.expect("a body").len(), 0, "{path}");
    }
}

/// Parameters at their ends. How long a wait holds is another test.
#[tokio::test]
async fn a_query_at_its_ends_is_answered() {
    let host = Host::start(&config("none")).await;
    let run = host.submit("", "hello", json!({})).await;
    let path = |wait: &str| format!("/v1/runs/{}?wait={wait}", run["run_id"].as_str().expect("an id"));
    for good in ["1h", "0", "60", "18446744073709551615", "1ms", "1m%2030s", ""] {
        assert_eq!(host.get("", &path(good)).await.0, 200, "{good}");
    }
    let mut faults = vec![];
    for wrong in ["abc", "-1", "1x", "99999999999999999999s", "1e3", "NaN", "%00", "1.5"] {
        let answer = send(&host, "GET", &path(wrong), &[], "").await;
        faults.extend(answer.faults(wrong, 422, "AEG-RUN-002", "wait", "write for example 30s"));
    }
    none(faults);
    send(&host, "GET", &path("1s&wait=2s"), &[], "").await.refuses("twice", 422, "AEG-RUN-002", "wait", "duplicate field `wait`");
    for query in ["limit=1", "limit=200", "limit=", "status=", "route=nowhere", "principal=nobody", "route=%ff", "&&&", "after=&limit=5"] {
        let (status, page) = host.get("", &format!("/v1/runs?{query}")).await;
        assert!(status == 200 && page["data"].is_array(), "{query}: {page}");
    }
}

/// What is sent as a decision, the place and what is said.
fn decisions() -> Vec<(String, &'static str, &'static str)> {
    let words = r#"expected "approved" or "denied""#;
    let wrong = |value: &str| (format!(r#"{{"decision":{value}}}"#), "decision", words);
    let beside = |more: &str| format!(r#"{{"decision":"approved",{more}}}"#);
    vec![
        wrong(r#""deny""#),
        wrong(r#""reject""#),
        wrong(r#""DENIED""#),
        wrong(r#""approve""#),
        wrong(r#""Approved""#),
        wrong(r#""approved ""#),
        wrong(r#""""#),
        wrong("null"),
        wrong("1"),
        wrong("true"),
        wrong("[]"),
        wrong(r#"["approved"]"#),
        wrong(r#"{"approved":null}"#),
        wrong("{}"),
        ("{}".into(), "decision", "missing field `decision`"),
        (r#"{"comment":"x"}"#.into(), "decision", "missing field `decision`"),
        (String::new(), "", "there is no body"),
        ("approved".into(), "", "no JSON that can be read"),
        ("\"approved\"".into(), "", "this is a text"),
        (r#"["approved"]"#.into(), "", "this is a list"),
        (r#"{"decision":"denied","decision":"approved"}"#.into(), "decision", "duplicate field `decision`"),
        (beside(r#""decison":"denied""#), "decison", "unknown field `decison`"),
        (beside(r#""approved":true"#), "approved", "unknown field `approved`"),
        (beside(r#""comment":7"#), "comment", "expected a string"),
        (beside(r#""comment":"\u0000""#), "comment", "U+0000"),
        (beside(&format!(r#""comment":"{}""#, "a".repeat(4097))), "comment", "more than 4096 bytes"),
        (beside(r#""approval_id":"nonsense""#), "approval_id", ""),
        (beside(r#""approval_id":7"#), "approval_id", "expected a string"),
        (beside(r#""digest":"sha256:12""#), "digest", ""),
        (beside(r#""digest":7"#), "digest", "expected a string"),
        (format!("{}x", r#"{"decision":"approved"}"#), "", "goes on after its JSON"),
    ]
}

#[tokio::test]
async fn what_is_no_decision_is_refused_and_the_run_stays_paused() {
    let host = Host::start(&config("none")).await;
    let run = host.submit("", QUESTION, json!({})).await;
    let path = format!("/v1/runs/{}", run["run_id"].as_str().expect("an id"));
    let before = (stored(&host), host.get("", &path).await.1);
    let mut faults = vec![];
    for (body, param, said) in decisions() {
        let answer = send(&host, "POST", &format!("{path}/resume"), &[], body.clone()).await;
        faults.extend(answer.faults(&short(&body), 422, "AEG-RUN-002", param, said));
    }
    none(faults);
    let answer = send(&host, "POST", &format!("{path}/resume?decision=approved"), &[], r#"{"decision":"denied"}"#).await;
    answer.refuses("a decision in the address", 422, "AEG-RUN-002", "decision", "write them into the body");
    for body in [r#"{"reason":"x"}"#, "[]", "x"] {
        assert_eq!(send(&host, "POST", &format!("{path}/cancel"), &[], body).await.status, 422, "{body}");
    }
    assert_eq!((stored(&host), host.get("", &path).await.1), before, "a refused decision has changed something");
    let (status, run) = host.post("", &format!("{path}/resume"), json!({"decision": "approved"})).await;
    assert_eq!((status, &run["status"]), (200, &json!("completed")), "{run}");
}

#[tokio::test]
async fn a_decision_that_comes_too_late_or_means_another_question_is_a_conflict() {
    let host = Host::start(&config("none")).await;
    let finished = host.submit("", "hello", json!({})).await;
    let path = |run: &Value, verb: &str| format!("/v1/runs/{}/{verb}", run["run_id"].as_str().expect("an id"));
    let approve = r#"{"decision":"approved"}"#;
    send(&host, "POST", &path(&finished, "resume"), &[], approve).await.refuses("finished", 409, "AEG-RUN-004", "", "completed");
    send(&host, "POST", &path(&finished, "cancel"), &[], "").await.refuses("finished", 409, "AEG-RUN-004", "", "completed already");

    let paused = host.submit("", QUESTION, json!({})).await;
    let before = stored(&host);
    let other = &format!("{}.0", finished["run_id"].as_str().expect("an id"));
    for (name, value) in [("approval_id", other), ("digest", &format!("sha256:{}", "0".repeat(64)))] {
        let body = json!({"decision": "approved", name: value}).to_string();
        send(&host, "POST", &path(&paused, "resume"), &[], body).await.refuses(name, 409, "AEG-RUN-004", "", "");
    }
    assert_eq!(stored(&host), before);
    assert_eq!(send(&host, "POST", &path(&paused, "resume"), &[], r#"{"decision":"denied"}"#).await.status, 200);
    let late = send(&host, "POST", &path(&paused, "resume"), &[], approve).await;
    late.refuses("denied", 409, "AEG-RUN-004", "", "");
    assert_eq!(late.body["error"]["decision"]["decision"], "denied", "{}", late.body);
    assert_eq!(late.body["error"]["decision"]["by"], "anonymous", "{}", late.body);
}

/// `Authorization` headers, and what is said about them.
#[tokio::test]
async fn who_has_no_key_that_counts_is_told_so_and_nothing_else() {
    let host = Host::start(&config("api_key")).await;
    let key = host.key("ada", &[]);
    let paused = host.submit(&key, QUESTION, json!({})).await;
    let before = stored(&host);
    let other = format!("Bearer aeg-{}", "0".repeat(64));
    let (upper, short_of_one) = (format!("Bearer {}", key.to_uppercase()), format!("Bearer {}", &key[..key.len() - 1]));
    let twice = format!("Bearer {key} {key}");
    let rows: Vec<(Option<&str>, &str)> = vec![
        (None, "no key: send"),
        (Some(""), "holds no key: write `Bearer aeg-`"),
        (Some("Bearer"), "holds no key"),
        (Some("Bearer "), "holds no key"),
        (Some("Bearer aeg-"), "holds no key"),
        (Some("Bearer null"), "holds no key"),
        (Some("Basic YTpi"), "holds no key"),
        (Some(&key), "holds no key"),
        (Some(&short_of_one), "holds no key"),
        (Some(&twice), "holds no key"),
        (Some(&upper), "holds no key"),
        (Some(&other), "not valid"),
    ];
    let id = paused["run_id"].as_str().expect("an id");
    for (header, said) in rows {
        let headers: Vec<(&str, &str)> = header.iter().map(|it| ("authorization", *it)).collect();
        for (method, path, body) in [
            ("POST", "/v1/runs".to_owned(), HELLO),
            ("POST", "/v1/runs".to_owned(), "no JSON"),
            ("GET", "/v1/runs?limit=0".to_owned(), ""),
            ("GET", "/v1/guards".to_owned(), ""),
            ("GET", "/metrics".to_owned(), ""),
            ("GET", format!("/v1/runs/{id}"), ""),
            ("GET", "/v1/runs/nonsense".to_owned(), ""),
            ("POST", format!("/v1/runs/{id}/resume"), r#"{"decision":"approved"}"#),
            ("POST", format!("/v1/runs/{id}/cancel"), ""),
        ] {
            send(&host, method, &path, &headers, body).await.refuses(&format!("{header:?} {path}"), 401, "AEG-AUTH-001", "", said);
        }
    }
    assert_eq!(stored(&host), before);
    is_alive(&host, &key).await;
}

#[tokio::test]
async fn who_may_not_is_told_why_and_nothing_changes() {
    let host = Host::start(&config("api_key")).await;
    let (ada, rita) = (host.key("ada", &[]), host.key("rita", &["--team", "risk", "--role", "approver"]));
    let (bob, root) = (host.key("bob", &[]), host.key("root", &["--role", "admin"]));
    let paused = host.submit(&ada, QUESTION, json!({"approvers": ["team:risk"]})).await;
    let path = format!("/v1/runs/{}", paused["run_id"].as_str().expect("an id"));
    let before = stored(&host);
    let approve = r#"{"decision":"approved"}"#;
    let rows = [
        (&rita, "/v1/runs".to_owned(), HELLO, 403, "AEG-AUTH-002", "this needs the role user"),
        (&root, "/v1/runs".to_owned(), HELLO, 403, "AEG-AUTH-002", "this needs the role user"),
        (&ada, format!("{path}/resume"), approve, 403, "AEG-AUTH-003", "not an approver of this run"),
        (&bob, format!("{path}/resume"), approve, 403, "AEG-AUTH-003", "not an approver of this run"),
        (&root, format!("{path}/resume"), approve, 403, "AEG-AUTH-003", "not an approver of this run"),
        // Whoever asks, a body that cannot be read comes before.
        (&bob, format!("{path}/resume"), r#"{"decision":"deny"}"#, 422, "AEG-RUN-002", "expected"),
        (&bob, format!("{path}/cancel"), "", 404, "AEG-RUN-001", "no such run"),
        (&rita, format!("{path}/cancel"), "", 403, "AEG-AUTH-002", "only its creator or an admin"),
    ];
    for (key, path, body, status, code, said) in rows {
        let header = format!("Bearer {key}");
        let param = if status == 422 { "decision" } else { "" };
        send(&host, "POST", &path, &[("authorization", &header)], body).await.refuses(&format!("{path} {body}"), status, code, param, said);
    }
    assert_eq!(stored(&host), before);
    assert_eq!(host.post(&rita, &format!("{path}/resume"), json!({"decision": "approved"})).await.1["status"], "completed");
}

#[tokio::test]
async fn a_revoked_key_decides_nothing_within_five_seconds() {
    let host = Host::start(&config("api_key")).await;
    let (ada, rita) = (host.key("ada", &[]), host.key("rita", &[]));
    let run = host.submit(&ada, QUESTION, json!({})).await;
    assert_eq!(host.get(&rita, "/v1/approvals").await.0, 200, "the host knows the key by now");
    let keys: Value = serde_json::from_slice(&host.aegis("", &["keys", "list", "--json"]).stdout).expect("JSON");
    let id = keys["data"].as_array().expect("a list").iter().find(|it| it.to_string().contains("rita")).expect("it was made")["id"].clone();
    assert!(host.aegis("", &["keys", "revoke", id.as_str().expect("text")]).status.success());
    let revoked = Instant::now();
    while host.get(&rita, "/v1/approvals").await.0 != 401 {
        assert!(revoked.elapsed() < Duration::from_secs(5), "a revoked key still works");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (before, header) = (stored(&host), format!("Bearer {rita}"));
    let path = format!("/v1/runs/{}/resume", run["run_id"].as_str().expect("an id"));
    let answer = send(&host, "POST", &path, &[("authorization", &header)], r#"{"decision":"approved"}"#).await;
    answer.refuses("a revoked key", 401, "AEG-AUTH-001", "", "not valid");
    assert_eq!(stored(&host), before);
    is_alive(&host, &ada).await;
}
