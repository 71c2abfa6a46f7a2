//! The approvals page and the keys under attack: by what people are shown, by other web pages, by those who guess.

use crate::host::{Host, client, config, free_port, root, target};
use crate::page::{Browser, click, text};
use axum::{Router, response::Html, routing::get};
use fantoccini::{Client, Locator};
use reqwest::header::{AUTHORIZATION, COOKIE, HOST, LOCATION, ORIGIN, RETRY_AFTER, SET_COOKIE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Would change the page's title, open a dialog, or leave an element behind.
const EVIL: &str = concat!(
    r#"</textarea></title></script><script>document.title='taken'</script>"#,
    r#"<img src=x onerror="alert(1)"><svg onload="document.title='taken'"><iframe srcdoc="<script>parent.alert(1)</script>"></iframe>"#,
    r#"<a href="javascript:alert(1)">x</a><style>*{display:none}</style>"'`{{7*7}}&lt;b&gt;"#
);

/// Two guards that ask, one after the other; the first with a hostile question.
fn chain(auth: &str) -> String {
    let (guards, evil) = (root().join("guards"), serde_json::to_string(EVIL).expect("text"));
    let guard = |phrase: &str, prompt: &str| {
        let component = guards.join("sensitive_topic.wasm");
        format!("{{component: {}, settings: {{phrases: [{phrase}], prompt: {prompt}}}}}", component.display())
    };
    format!(
        "providers: {{fake: {{type: fake, response: \"the reply\"}}}}\nguardrails:\n  first: {}\n  second: {}\npipeline: {{ingress: [first, second]}}\nroutes: {{default: {{provider: fake}}}}\npersistence: {{type: sqlite, path: aegis.db}}\nauth: {{type: {auth}}}\nserver: {{cache_dir: {}}}\n",
        guard("financial advice", &evil),
        guard("second opinion", "The second question"),
        target().join("test-cache").display()
    )
}

/// Somebody's browser without a window.
struct Visitor<'a> {
    host: &'a Host,
    cookie: String,
}

impl Visitor<'_> {
    async fn log_in<'a>(host: &'a Host, key: &str) -> Visitor<'a> {
        let login = client().post(format!("{}/approvals/login", host.url)).header(ORIGIN, &host.url).form(&[("key", key)]);
        let answer = login.send().await.expect("an answer");
        let cookie = answer.headers()[SET_COOKIE].to_str().expect("text").split(';').next().expect("a cookie").to_owned();
        Visitor { host, cookie }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        client().request(method, format!("{}{path}", self.host.url)).header(COOKIE, &self.cookie)
    }

    async fn page(&self) -> (u16, String) {
        let answer = self.request(Method::GET, "/approvals").send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }
}

/// The value of the first field of this name.
fn field<'a>(html: &'a str, name: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("no {name}: {html}"));
    rest.split('"').next().expect("a value")
}

/// A web page of somebody else, on a port of its own: for browsers the same site, so that even strict cookies go along.
async fn elsewhere(html: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new()
        .route("/", get(|| async { Html(html) }))
        .route("/control", get(|| async { Html("<p>a page that may be framed</p>") }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn in_a_browser_nothing_that_is_shown_runs_and_nothing_that_is_hidden_stays_so() {
    let host = Host::start(&chain("api_key")).await;
    let (mallory, bob) = (host.key("<img src=x onerror=alert(1)>", &[]), host.key("bob", &[]));
    let hidden = "a\u{200B}b\u{202E}c\u{2066}d\u{E0041}e\u{AD}f\u{7}g\u{2028}h";
    let call = json!({"id": EVIL, "type": "function", "function": {"name": "pay", "arguments": EVIL}});
    let body = json!({
        "messages": [
            {"role": "user", "content": format!("financial advice, second opinion {EVIL} {hidden}"), "name": EVIL},
            {"role": "assistant", "content": [{"type": "text", "text": EVIL}, {"type": "image_url", "image_url": {"url": EVIL}}], "tool_calls": [call]},
            {"role": "tool", "tool_call_id": EVIL, "content": EVIL},
        ],
        "tools": [{"type": "function", "function": {"name": "pay", "description": EVIL, "parameters": {"title": EVIL}}}],
        "params": {"user": EVIL}, "metadata": {"<img src=x onerror=alert(1)>": EVIL},
    });
    let (status, run) = host.post(&mallory, "/v1/runs", body).await;
    assert_eq!((status, &run["status"]), (200, &json!("paused")), "{run}");
    let id = run["run_id"].as_str().expect("an id").to_owned();

    let browser = Browser::start(true).await;
    let page = &browser.client;
    page.goto(&format!("{}/approvals?next=//evil.example&done=<script>", host.url)).await.expect("the page opens");
    page.find(Locator::Css("input[name=key]")).await.expect("one field").send_keys(&bob).await.expect("typing");
    click(page, "button[type=submit]").await;
    let shown = text(page, ".card").await;
    assert_eq!(page.current_url().await.expect("an address").as_str(), format!("{}/approvals", host.url), "log-in leads here alone");
    for part in
        ["a⟦U+200B⟧b⟦U+202E⟧c⟦U+2066⟧d⟦U+E0041⟧e⟦U+00AD⟧f⟦U+0007⟧g⟦U+2028⟧h", "<img src=x onerror=\"alert(1)\">", "{{7*7}}&lt;b&gt;"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.matches("document.title='taken'").count() >= 2 * 12, "every text stands there: {shown}");
    let nothing_ran = async |when: &str| {
        assert!(page.get_alert_text().await.is_err(), "a dialog is open {when}");
        assert_eq!(page.title().await.expect("a title"), "Approvals · Aegis", "{when}");
    };
    nothing_ran("after the page was opened").await;
    let foreign = "return document.querySelectorAll('main script, main img, main svg, main iframe, main style, .card a:not([href^=\"#\"]):not([href^=\"/approvals/\"]), [onerror], [onload], [onclick], [style]').length";
    assert_eq!(page.execute(foreign, vec![]).await.expect("it counts"), json!(0));

    // What would happen if a text became markup nevertheless.
    let inject = r#"
        const [evil, done] = arguments, blocked = [];
        document.addEventListener("securitypolicyviolation", (it) => blocked.push(it.effectiveDirective));
        const add = (name, values) => document.body.append(Object.assign(document.createElement(name), values));
        add("script", { textContent: "document.title = 'taken'" });
        add("script", { src: evil + "/x.js" });
        add("div", { innerHTML: "<img src=x onerror=\"document.title = 'taken'\"><p style='display:none'>" });
        add("img", { src: evil + "/x.png" });
        add("iframe", { src: evil });
        fetch(evil).catch(() => 0);
        setTimeout(() => done(blocked.sort()), 500);
    "#;
    let evil = format!("http://127.0.0.1:{}", free_port());
    let blocked = page.execute_async(inject, vec![json!(evil)]).await.expect("it runs").to_string();
    for directive in ["script-src-elem", "script-src-attr", "style-src-attr", "img-src", "frame-src", "connect-src"] {
        assert!(blocked.contains(directive), "{directive} is not blocked: {blocked}");
    }
    nothing_ran("after markup was put into the page").await;

    // Somebody else answers the question while it is read: the click decides nothing, and the next question is shown.
    let form = "return document.querySelector('form.decide').outerHTML";
    let stale = page.execute(form, vec![]).await.expect("a form");
    let first = run["approval"]["id"].clone();
    let (status, _) = host.post(&mallory, &format!("/v1/runs/{id}/resume"), json!({"decision": "approved", "approval_id": first})).await;
    assert_eq!(status, 200);
    let send = r#"
        document.querySelector("main").innerHTML = arguments[0];
        document.querySelector("main button[value=approved]").click();
    "#;
    page.execute(send, vec![stale]).await.expect("it is sent");
    let refused = text(page, "main [role=alert]").await;
    assert!(refused.contains("AEG-RUN-004"), "{refused}");
    assert_eq!(page.title().await.expect("a title"), "Not done · Aegis");
    assert!(text(page, ".card h2").await.contains("The second question"));
    let paused = host.get(&mallory, &format!("/v1/runs/{id}")).await.1;
    assert_eq!((&paused["status"], &paused["approval"]["approved_by"]), (&json!("paused"), &json!([])), "{paused}");
    page.find(Locator::Css("[name=comment]")).await.expect("a comment").send_keys("</textarea><b>").await.expect("typing");
    click(page, "button[name=decision][value=approved]").await;
    host.settled(&mallory, &id, "completed").await;

    other_pages(&host, &browser, &mallory).await;
    browser.close().await;
}

/// Waits for a page that says this: until then, the one before may still be there.
async fn shows(page: &Client, words: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let source = page.source().await.unwrap_or_default();
        if source.contains(words) {
            return;
        }
        assert!(Instant::now() < until, "{words}: {source}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// With `browser` logged in at `host`, another web page tries what it can.
async fn other_pages(host: &Host, browser: &Browser, mallory: &str) {
    let (page, url) = (&browser.client, &host.url);
    let run = host.submit(mallory, "financial advice", json!({})).await;
    let (id, approval) = (run["run_id"].as_str().expect("an id"), &run["approval"]);
    let (asked, digest) = (approval["id"].as_str().expect("an id"), approval["digest"].as_str().expect("a digest"));
    let html = format!(
        r#"<title>elsewhere</title><iframe id=control src="/control"></iframe><iframe id=page src="{url}/approvals"></iframe>
        <form id=decide method=post action="{url}/approvals/{id}"><input name=token value=""><input name=approval_id value="{asked}">
        <input name=digest value="{digest}"><input name=comment value=""><input name=decision value=approved></form>
        <form id=login method=post action="{url}/approvals/login"><input name=key value="{mallory}"></form>
        <form id=logout method=post action="{url}/approvals/logout"><input name=token value=""></form>
        <form id=resume method=post enctype="text/plain" action="{url}/v1/runs/{id}/resume"><input name='{{"decision":"approved","comment":"' value='"}}'></form>"#
    );
    let evil = elsewhere(html).await;
    page.goto(&evil).await.expect("it opens");
    for (frame, framed) in [("#control", true), ("#page", false)] {
        let element = page.wait().for_element(Locator::Css(frame)).await.expect("a frame");
        element.enter_frame().await.expect("a frame can be entered");
        let inside = page.find(Locator::Css("body")).await.expect("a body").text().await.expect("text");
        assert_eq!(inside.contains("may be framed"), framed, "{frame}: {inside}");
        assert!(!inside.contains("Approvals") && !inside.contains("financial"), "{frame}: {inside}");
        page.enter_parent_frame().await.expect("the page itself");
    }
    let send = "document.getElementById(arguments[0]).submit()";
    for form in ["decide", "login", "logout", "resume"] {
        page.goto(&evil).await.expect("it opens");
        page.execute(send, vec![json!(form)]).await.expect("it is sent");
        shows(page, "AEG-AUTH-004").await;
    }
    let fetch = r#"
        const [url, done] = arguments, body = JSON.stringify({ decision: "approved" });
        const tries = [{ mode: "no-cors" }, { mode: "cors" }, { mode: "cors", headers: { "x-aegis-token": "x" } }];
        Promise.all(tries.map((it) => fetch(url, { method: "POST", credentials: "include", body, ...it }).then((it) => it.type, () => "refused"))).then(done);
    "#;
    page.goto(&evil).await.expect("it opens");
    let got = page.execute_async(fetch, vec![json!(format!("{url}/v1/runs/{id}/resume"))]).await.expect("it runs");
    assert_eq!(got, json!(["opaque", "refused", "refused"]), "nothing of an answer may be read");
    assert_eq!(host.get(mallory, &format!("/v1/runs/{id}")).await.1["status"], "paused");
    page.goto(&format!("{url}/approvals")).await.expect("the page opens");
    assert!(text(page, ".who").await.contains("bob"), "nobody was logged out, or logged in as somebody else");
}

#[tokio::test]
async fn a_question_of_a_mebibyte_is_shown_whole_and_can_be_decided() {
    let host = Host::start(&config("none").replace("server: {", "server: {body_limit: 2MiB, ")).await;
    let filler = "<lorem>\u{200B} ipsum ".repeat(60);
    let message = |at: usize| json!({"role": "user", "content": format!("message {at}: {}{filler}", "financial advice ".repeat(10))});
    let body = json!({"messages": (0..1000).map(message).collect::<Vec<Value>>()});
    assert!(body.to_string().len() > 1 << 20);
    let (status, run) = host.post("", "/v1/runs", body).await;
    assert_eq!((status, &run["status"]), (200, &json!("paused")), "{run}");

    let (begun, before) = (Instant::now(), host.resident());
    let html = client().get(format!("{}/approvals", host.url)).send().await.expect("an answer").text().await.expect("text");
    let (served, grown) = (begun.elapsed(), host.resident().saturating_sub(before));
    let marks = html.matches("<mark").count();
    let browser = Browser::start(true).await;
    let page = &browser.client;
    let begun = Instant::now();
    page.goto(&format!("{}/approvals", host.url)).await.expect("the page opens");
    let there = page.execute("return [document.querySelectorAll('.message').length, document.querySelectorAll('mark').length, document.querySelector('.card .scroll').textContent]", vec![]);
    let there = there.await.expect("it counts");
    let opened = begun.elapsed();
    println!(
        "1000 messages, {marks} findings: {} KiB of HTML in {served:?}, {grown} KiB more resident, in a browser after {opened:?}",
        html.len() / 1024
    );
    assert_eq!((&there[0], &there[1]), (&json!(1000), &json!(marks)));
    let shown = there[2].as_str().expect("text");
    assert!((0..1000).all(|at| shown.contains(&format!("message {at}: "))) && shown.matches("ipsum").count() == 60_000);
    assert!(html.len() < 10 << 20 && opened < Duration::from_secs(30), "{} bytes, {opened:?}", html.len());
    assert!(text(page, ".found").await.contains(&format!("{} more, all of them marked below", marks - 50)));
    // Not the text of the card: drivers take a minute to put so much together.
    let heads =
        page.execute("return [...document.querySelectorAll('.card h3')].map((it) => it.textContent)", vec![]).await.expect("it runs");
    assert!(heads.to_string().contains("1000 messages, all of them here"), "{heads}");
    click(page, "button[name=decision][value=denied]").await;
    host.settled("", run["run_id"].as_str().expect("an id"), "denied").await;
    browser.close().await;
}

#[tokio::test]
async fn nothing_changes_without_the_pages_own_token_and_origin() {
    let host = Host::start(&config("api_key")).await;
    let bob = host.key("bob", &[]);
    let run = host.submit(&bob, "financial advice", json!({})).await;
    let id = run["run_id"].as_str().expect("an id");
    let visitor = Visitor::log_in(&host, &bob).await;
    let (_, html) = visitor.page().await;
    let (token, approval, digest) = (field(&html, "token"), field(&html, "approval_id"), field(&html, "digest"));
    let decide = |token: &str, decision: &str| {
        let form = [("token", token), ("approval_id", approval), ("digest", digest), ("comment", ""), ("decision", decision)];
        visitor.request(Method::POST, &format!("/approvals/{id}")).form(&form)
    };
    let log_out = |token: &str| visitor.request(Method::POST, "/approvals/logout").form(&[("token", token)]);
    let api = |path: &str, body: &'static str| visitor.request(Method::POST, path).body(body);
    let (resume, cancel) = (format!("/v1/runs/{id}/resume"), format!("/v1/runs/{id}/cancel"));
    let decision = r#"{"decision":"approved"}"#;
    let foreign = |it: RequestBuilder| it.header(ORIGIN, "http://evil.example");
    let no_token: [(&str, RequestBuilder); 8] = [
        ("approve", decide("", "approved")),
        ("deny", decide(&token[1..], "denied")),
        ("log out", log_out("")),
        ("resume", api(&resume, decision)),
        ("resume with a wrong token", api(&resume, decision).header("x-aegis-token", "0".repeat(64))),
        ("cancel", api(&cancel, "")),
        ("submit", api("/v1/runs", r#"{"messages":[{"role":"user","content":"x"}]}"#)),
        ("read", visitor.request(Method::GET, "/v1/runs")),
    ];
    let other_origin: [(&str, RequestBuilder); 7] = [
        ("approve", foreign(decide(token, "approved"))),
        ("deny", foreign(decide(token, "denied"))),
        ("log out", foreign(log_out(token))),
        ("log in", foreign(visitor.request(Method::POST, "/approvals/login")).form(&[("key", &bob)])),
        ("resume", foreign(api(&resume, decision)).header("x-aegis-token", token)),
        ("cancel", api(&cancel, "").header(ORIGIN, "null").header("x-aegis-token", token)),
        (
            "its own address with another scheme",
            api(&cancel, "").header(ORIGIN, host.url.replace("http", "ftp")).header("x-aegis-token", token),
        ),
    ];
    for (what, request) in no_token.into_iter().chain(other_origin) {
        let answer = request.send().await.expect("an answer");
        let (status, cookies) = (answer.status().as_u16(), answer.headers().contains_key(SET_COOKIE));
        let body = answer.text().await.expect("text");
        assert!(status == 403 && !cookies && body.contains("AEG-AUTH-004"), "{what}: {status} {body}");
    }
    assert_eq!(host.get(&bob, &format!("/v1/runs/{id}")).await.1["status"], "paused");
    for path in [format!("/approvals/{id}?decision=approved&token={token}"), "/approvals/logout".into(), "/approvals/login".into(), resume]
    {
        let read = visitor.request(Method::GET, &path).send().await.expect("an answer");
        let (status, to) = (read.status().as_u16(), read.headers().get(LOCATION).map_or("", |it| it.to_str().expect("text")));
        assert!(status == 405 || (status, to) == (303, "/approvals"), "a link changes nothing: {path}: {status} {to}");
    }
    let (_, html) = visitor.page().await;
    assert!(html.contains("Logged in as") && html.contains("financial advice"), "the session goes on, and the question waits: {html}");
    assert_eq!(decide(token, "denied").header(ORIGIN, &host.url).send().await.expect("an answer").status(), 303);
}

#[tokio::test]
async fn a_session_ends_at_once_when_its_key_is_revoked_or_somebody_logs_out_and_none_can_be_planted() {
    let host = Host::start(&config("api_key")).await;
    let (ada, bob) = (host.key("ada", &[]), host.key("bob", &[]));
    host.submit(&ada, "financial advice", json!({})).await;
    let planted = client().post(format!("{}/approvals/login", host.url)).header(COOKIE, "aegis_session=mine").form(&[("key", &bob)]);
    let given = planted.send().await.expect("an answer").headers()[SET_COOKIE].to_str().expect("text").to_owned();
    assert!(!given.contains("mine") && given.contains("; Path=/; ") && !given.contains("Domain"), "{given}");

    let (here, there) = (Visitor::log_in(&host, &bob).await, Visitor::log_in(&host, &bob).await);
    let (_, html) = here.page().await;
    let left = here.request(Method::POST, "/approvals/logout").form(&[("token", field(&html, "token"))]).send().await.expect("an answer");
    assert_eq!((left.status().as_u16(), &left.headers()[LOCATION]), (303, &"/approvals".parse().expect("a header")));
    assert!(here.page().await.1.contains("name=\"key\""), "the cookie that was kept is worth nothing");
    assert!(there.page().await.1.contains("financial advice"), "another session is another session");

    let listed = host.aegis("", &["keys", "list", "--json"]);
    let keys: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let keys = keys.as_array().or(keys["data"].as_array()).expect("a list");
    let id = keys.iter().find(|it| it.to_string().contains("\"bob\"")).and_then(|it| it["id"].as_str()).expect("bob's key");
    assert!(host.aegis("", &["keys", "revoke", id]).status.success());
    assert!(there.page().await.1.contains("name=\"key\""), "its key was revoked");

    let secure = Host::start(&config("api_key").replace("server: {", "server: {public_url: \"https://aegis.example\", ")).await;
    let key = secure.key("ada", &[]);
    let login = client().post(format!("{}/approvals/login", secure.url)).header(ORIGIN, "https://aegis.example").form(&[("key", &key)]);
    let cookie = login.send().await.expect("an answer").headers()[SET_COOKIE].to_str().expect("text").to_owned();
    assert!(
        cookie.starts_with("__Host-aegis_session=") && cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
    let visitor = Visitor { host: &secure, cookie: cookie.split(';').next().expect("a cookie").into() };
    assert!(visitor.page().await.1.contains("Nothing waits for you."));
    let plain = Visitor { host: &secure, cookie: visitor.cookie.replace("__Host-", "") };
    assert!(plain.page().await.1.contains("name=\"key\""), "a cookie that another host may have planted is not looked at");
}

#[tokio::test]
async fn after_many_wrong_keys_an_address_has_to_wait_and_others_do_not() {
    let host = Host::start(&config("api_key")).await;
    let (ada, bob) = (host.key("ada", &[]), host.key("bob", &[]));
    let session = Visitor::log_in(&host, &ada).await;
    let wrong = |at: usize| format!("aeg-{at:064x}");
    let log_in = |key: String| client().post(format!("{}/approvals/login", host.url)).form(&[("key", key)]);
    for at in 0..10 {
        assert_eq!(host.get(&wrong(at), "/v1/runs").await.0, 401);
        assert_eq!(log_in(wrong(100 + at)).send().await.expect("an answer").status(), 401);
    }
    let refused = host.request(&bob, Method::GET, "/v1/runs", None).await;
    let retry: u64 = refused.headers()[RETRY_AFTER].to_str().expect("text").parse().expect("a number");
    assert!(refused.status() == 429 && (1..=3).contains(&retry), "{refused:?}");
    let body: Value = refused.json().await.expect("JSON");
    assert_eq!((&body["error"]["code"], &body["error"]["type"]), (&json!("AEG-AUTH-006"), &json!("rate_limit_error")), "{body}");
    let page = log_in(bob.clone()).send().await.expect("an answer");
    assert!(page.status() == 429 && page.headers().contains_key(RETRY_AFTER) && !page.headers().contains_key(SET_COOKIE));
    let html = page.text().await.expect("text");
    assert!(html.contains("AEG-AUTH-006") && html.contains("name=\"key\""), "{html}");
    let claims = client().get(format!("{}/v1/runs", host.url)).bearer_auth(&bob).header("x-forwarded-for", "192.0.2.1");
    assert_eq!(claims.send().await.expect("an answer").status(), 429, "anybody can write that header");

    assert_eq!(host.get(&ada, "/v1/runs").await.0, 200, "a key that was right before is not locked out");
    assert_eq!(session.page().await.0, 200);
    let other =
        reqwest::Client::builder().local_address("127.0.0.2".parse::<IpAddr>().expect("loopback")).no_proxy().build().expect("a client");
    let elsewhere = other.get(format!("{}/v1/runs", host.url)).bearer_auth(&bob).send().await.expect("an answer");
    assert_eq!(elsewhere.status(), 200, "another address is not concerned");
    assert_eq!(host.get(&bob, "/v1/runs").await.0, 200, "and the key is known from now on");
}

#[tokio::test]
async fn no_answer_may_be_kept_or_taken_for_something_else() {
    let host = Host::start(&config("api_key")).await;
    let ada = host.key("ada", &[]);
    let run = host.submit(&ada, "financial advice", json!({})).await;
    let id = run["run_id"].as_str().expect("an id");
    let visitor = Visitor::log_in(&host, &ada).await;
    let paths =
        ["/approvals", "/approvals/list", "/approvals?after=x", "/approvals/none/none", "/v1/runs", "/v1/approvals", "/v1/guards", "/none"];
    for path in
        paths.into_iter().map(String::from).chain([format!("/v1/runs/{id}"), "/healthz".into(), "/metrics".into(), "/openapi.json".into()])
    {
        for key in [Some(&ada), None] {
            let mut request = visitor.request(Method::GET, &path);
            if let Some(key) = key {
                request = request.header(AUTHORIZATION, format!("Bearer {key}"));
            }
            let answer = request.send().await.expect("an answer");
            let header = |name: &str| answer.headers().get(name).map_or("", |it| it.to_str().expect("text"));
            assert_eq!((header("cache-control"), header("x-content-type-options")), ("no-store", "nosniff"), "{path}");
            let is_page = header("content-type").starts_with("text/html");
            let framed = header("content-security-policy").contains("frame-ancestors 'none'") && header("x-frame-options") == "DENY";
            assert!(
                !is_page || framed && header("referrer-policy") == "same-origin" && header("permissions-policy").contains("camera=()"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn dev_answers_no_other_name_and_no_other_page() {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    let host = Host::start_as(dir, &["dev"], &[]).await;
    let port = host.address().port();
    let body = r#"{"messages":[{"role":"user","content":"financial advice"}]}"#;
    let ask = |path: &str, header: reqwest::header::HeaderName, value: String| {
        let (method, body) = if path == "/v1/runs" { (Method::POST, body) } else { (Method::GET, "") };
        client().request(method, format!("{}{path}", host.url)).header(header, value).body(body)
    };
    for path in ["/v1/runs", "/v1/approvals", "/approvals", "/approvals/list", "/metrics", "/openapi.json"] {
        for name in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1", "[::2]", "127.0.0.1@evil.example"] {
            for name in [name.to_string(), format!("{name}:{port}")] {
                let answer = ask(path, HOST, name.clone()).send().await.expect("an answer");
                let (status, text) = (answer.status().as_u16(), answer.text().await.expect("text"));
                assert!(
                    status == 403 && text.contains("AEG-AUTH-004") && !text.contains("Approvals ·"),
                    "{path} as {name}: {status} {text}"
                );
            }
        }
    }
    for origin in ["http://evil.example", "null", "http://localhost", "file://", "http://127.0.0.1:1"] {
        assert_eq!(ask("/v1/runs", ORIGIN, origin.into()).send().await.expect("an answer").status(), 403, "{origin}");
    }
    assert_eq!(host.get("", "/v1/runs").await.1["data"], json!([]), "no run was begun");
    for own in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        assert_eq!(ask("/v1/runs", HOST, own).send().await.expect("an answer").status(), 200);
    }
}

#[tokio::test]
async fn logs_hold_no_content_and_no_secret_however_much_is_logged() {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    std::fs::write(dir.path().join("aegis.yaml"), config("api_key")).expect("writable");
    let host = Host::start_as(dir, &["serve"], &[("AEGIS_LOG", "trace")]).await;
    let (key, marker) = (host.key("ada", &[]), "quokka");
    let more = json!({"metadata": {"quokka": "quokka"}, "params": {"user": "quokka"}});
    let paused = host.submit(&key, &format!("financial advice for a {marker}"), more).await;
    host.submit(&key, marker, json!({})).await;
    let id = paused["run_id"].as_str().expect("an id");
    let visitor = Visitor::log_in(&host, &key).await;
    let (_, html) = visitor.page().await;
    let token = field(&html, "token").to_owned();
    let form = |digest: &'static str| {
        [
            ("token", token.clone()),
            ("approval_id", field(&html, "approval_id").into()),
            ("digest", digest.into()),
            ("comment", marker.into()),
            ("decision", "approved".into()),
        ]
    };
    for (path, body) in [
        ("/v1/runs", r#"{"messages": "quokka"}"#),
        ("/v1/runs", r#"{"quokka": 1}"#),
        ("/v1/runs/quokka/resume", "quokka"),
        ("/quokka?quokka=quokka", "quokka"),
    ] {
        let answer = host.request(&key, Method::POST, path, None).await;
        let refused = client().post(format!("{}{path}", host.url)).bearer_auth(&key).body(body).send().await.expect("an answer");
        assert!(answer.status().is_client_error() && refused.status().is_client_error());
    }
    for digest in ["quokka", "sha256:0000000000000000000000000000000000000000000000000000000000000000"] {
        let refused = visitor.request(Method::POST, &format!("/approvals/{id}")).form(&form(digest)).send().await.expect("an answer");
        assert!(refused.status().is_client_error());
    }
    let (status, _) = host.post(&key, &format!("/v1/runs/{id}/resume"), json!({"decision": "approved", "comment": marker})).await;
    assert_eq!(status, 200);
    let wrong = format!("aeg-{}", "5".repeat(64));
    assert_eq!(host.get(&wrong, "/v1/runs").await.0, 401);
    let log = host.log();
    assert!(log.contains("TRACE") && log.contains("listening"), "everything is logged: {log}");
    for secret in [marker, &key, &key[4..], &wrong, &token, visitor.cookie.split('=').nth(1).expect("a cookie"), "the reply"] {
        let line = log.lines().find(|it| it.contains(secret));
        assert!(line.is_none(), "{secret}: {line:?}");
    }
}
