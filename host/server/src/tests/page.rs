//! The approvals page as browsers without a script see it, and as those who mean no good send its forms.

use super::*;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, ETAG, IF_NONE_MATCH, LOCATION, ORIGIN, SET_COOKIE};

/// Somebody's browser.
struct Browser {
    router: axum::Router,
    cookie: String,
}

struct Page {
    status: u16,
    headers: HeaderMap,
    html: String,
}

impl Page {
    /// The value of the first field of this name.
    fn field(&self, name: &str) -> String {
        let (_, rest) = self.html.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("no {name}: {}", self.html));
        rest.split('"').next().unwrap_or_default().to_string()
    }

    fn says(&self, text: &str) -> bool {
        self.html.contains(text)
    }

    fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }
}

impl Browser {
    fn new(world: &World) -> Browser {
        Browser { router: router(world.app.clone()), cookie: String::new() }
    }

    async fn logged_in(world: &World, key: &str) -> Browser {
        let mut browser = Browser::new(world);
        let page = browser.post("/approvals/login", &[("key", key)]).await;
        assert_eq!((page.status, page.location()), (303, "/approvals"));
        browser.cookie = page.headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_string();
        browser
    }

    async fn send(&self, request: axum::http::request::Builder, body: String) -> Page {
        let request = request.header("host", "localhost").header(COOKIE, &self.cookie).body(Body::from(body)).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        Page { status, headers, html: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Page {
        self.send(Request::get(path), String::new()).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path).header(ORIGIN, "http://localhost").header("content-type", "application/x-www-form-urlencoded");
        self.send(request, body).await
    }

    /// Decides on the first question of `page`, with some fields in other words.
    async fn decide(&self, page: &Page, decision: &str, other: &[(&str, &str)]) -> Page {
        let mut fields: Vec<(String, String)> =
            ["token", "approval_id", "digest"].map(|it| (it.to_string(), page.field(it))).into_iter().collect();
        let run = fields[1].1.split('.').next().unwrap().to_string();
        fields.extend([("comment".into(), "as\r\nI said".into()), ("decision".into(), decision.into())]);
        for (name, value) in other {
            fields.iter_mut().find(|it| it.0 == *name).unwrap().1 = value.to_string();
        }
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.post(&format!("/approvals/{run}"), &fields).await
    }
}

#[tokio::test]
async fn a_person_sees_everything_and_decides_without_a_script() {
    let world = World::new(true);
    let (ada, bob) = (world.key("ada", &[], &[User]).await, world.key("bob", &[], &[Approver]).await);
    let more = json!({
        "metadata": {"ticket": "T-<1>"},
        "params": {"temperature": 0.25},
        "tools": [{"type": "function", "function": {"name": "pay", "description": "Pays money", "parameters": {"type": "object"}}}],
    });
    let run = world.submit(&ada, "I want <b>financial advice</b>\u{202E}.", more).await;

    let browser = Browser::logged_in(&world, &bob).await;
    let page = browser.get("/approvals").await;
    assert_eq!(page.status, 200);
    let content = "I want &#60;b&#62;<mark id=";
    let hidden = "financial advice</mark>&#60;/b&#62;<i>⟦U+202E⟧</i>.";
    let asked = run["approval"]["expires_at"].as_str().unwrap();
    for part in [content, hidden, "Financial advice requires human review", "careful", "ingress", "ada", "default", "0 of 1", asked] {
        assert!(page.says(part), "{part}: {}", page.html);
    }
    for part in ["T-&#60;1&#62;", "temperature", "0.25", "pay", "Pays money", "&#34;object&#34;"] {
        assert!(page.says(part), "what the digest covers is shown: {part}: {}", page.html);
    }

    let done = browser.decide(&page, "approved", &[]).await;
    assert_eq!((done.status, done.location()), (303, "/approvals?done=approved"));
    let settled = world.get(&ada, &format!("/v1/runs/{}?wait=10s", id(&run))).await.1;
    assert_eq!((&settled["status"], &settled["events"][2]["by"]), (&json!("completed"), &json!("bob")));
    assert_eq!(settled["events"][2]["comment"], "as\nI said");
    let after = browser.get(done.location()).await;
    assert!(after.says("Your approval was counted.") && after.says("Nothing waits for you."), "{}", after.html);
}

#[tokio::test]
async fn nobody_sees_a_question_without_logging_in_or_one_that_is_not_theirs() {
    let world = World::new(true);
    let (ada, eve) = (world.key("ada", &[], &[User, Approver]).await, world.key("eve", &[], &[User]).await);
    world.submit(&ada, QUESTION, json!({})).await;
    let stranger = Browser::new(&world).get("/approvals").await;
    assert!(stranger.status == 200 && stranger.says("name=\"key\"") && !stranger.says("Advice"), "{}", stranger.html);
    assert_eq!(Browser::new(&world).get("/approvals/list").await.status, 401);
    let eve = Browser::logged_in(&world, &eve).await.get("/approvals").await;
    assert!(eve.says("Nothing waits for you.") && !eve.says("Advice"), "{}", eve.html);
    assert!(Browser::logged_in(&world, &ada).await.get("/approvals").await.says("Financial Advice"));
}

#[tokio::test]
async fn a_decision_counts_only_with_the_token_and_for_what_was_shown() {
    let world = World::new(true);
    let ada = world.key("ada", &[], &[User, Approver]).await;
    let run = world.submit(&ada, QUESTION, json!({})).await;
    let browser = Browser::logged_in(&world, &ada).await;
    let page = browser.get("/approvals").await;
    let zeros = "0".repeat(64);
    let long = "x".repeat(4097);
    let cases: [(&str, &str, u16); 9] = [
        ("token", "", 403),
        ("token", &zeros, 403),
        ("digest", &zeros, 409),
        ("digest", "", 422),
        ("approval_id", "x", 422),
        ("decision", "APPROVED", 422),
        ("decision", "", 422),
        ("comment", &long, 422),
        ("comment", "a\0b", 422),
    ];
    for (name, value, status) in cases {
        let refused = browser.decide(&page, "approved", &[(name, value)]).await;
        assert_eq!(refused.status, status, "{name}: {}", refused.html);
        assert!(refused.says("This was not done") && refused.says("href=\"/approvals\"") && refused.says("AEG-"), "{}", refused.html);
        assert_eq!(world.get(&ada, &format!("/v1/runs/{}", id(&run))).await.1["status"], "paused");
    }
    let stranger = Browser::new(&world).decide(&page, "approved", &[]).await;
    assert!(stranger.status == 401 && stranger.says("name=\"key\""), "{}", stranger.html);
    let elsewhere = Request::post(format!("/approvals/{}", id(&run))).header(ORIGIN, "http://evil.example");
    assert_eq!(browser.send(elsewhere, String::new()).await.status, 403);
    assert_eq!(browser.decide(&page, "denied", &[]).await.status, 303);
    let late = browser.decide(&page, "approved", &[]).await;
    assert!(late.status == 409 && late.says("already denied by ada"), "{}", late.html);
}

#[tokio::test]
async fn without_authentication_a_form_of_another_page_is_refused_too() {
    let world = World::new(false);
    world.submit("", QUESTION, json!({})).await;
    let browser = Browser::new(&world);
    let send = |request: axum::http::request::Builder, body: String| {
        browser.send(request.header("content-type", "application/x-www-form-urlencoded"), body)
    };
    let page = browser.get("/approvals").await;
    assert!(page.says("Without log-in") && page.says("curl http://localhost/v1/runs"), "{}", page.html);
    let (approval, digest, token) = (page.field("approval_id"), page.field("digest"), page.field("token"));
    let form = |token: &str| format!("token={token}&approval_id={approval}&digest={digest}&comment=&decision=denied");
    let path = format!("/approvals/{}", approval.split('.').next().unwrap());
    assert_eq!(send(Request::post(&path), form("")).await.status, 403, "an old browser sends no Origin");
    assert_eq!(send(Request::post(&path).header(ORIGIN, "null"), form(&token)).await.status, 403);
    assert_eq!(send(Request::post(&path), form(&token)).await.status, 303);
}

#[tokio::test]
async fn a_session_is_new_at_every_log_in_and_ends_at_log_out() {
    let world = World::new(true);
    let ada = world.key("ada", &[], &[User, Approver]).await;
    let mut planted = Browser { cookie: format!("aegis_session={}", "a".repeat(64)), ..Browser::new(&world) };
    let page = planted.post("/approvals/login", &[("key", &format!(" {ada}\n"))]).await;
    let cookie = page.headers[SET_COOKIE].to_str().unwrap().to_string();
    assert!(!cookie.contains("aaaa") && cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    let first = cookie.split(';').next().unwrap().to_string();
    planted.cookie = first.clone();
    let again = planted.post("/approvals/login", &[("key", &ada)]).await;
    planted.cookie = again.headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_string();
    assert_ne!(planted.cookie, first);
    assert_eq!(Browser { cookie: first, ..Browser::new(&world) }.get("/approvals/list").await.status, 401, "the one before is over");

    let page = planted.get("/approvals").await;
    assert_eq!(planted.post("/approvals/logout", &[("token", "x")]).await.status, 403);
    let out = planted.post("/approvals/logout", &[("token", &page.field("token"))]).await;
    assert_eq!((out.status, out.location()), (303, "/approvals"));
    assert!(out.headers[SET_COOKIE].to_str().unwrap().contains("aegis_session=; Path=/; Max-Age=0"));
    assert_eq!(planted.get("/approvals/list").await.status, 401);
}

#[tokio::test]
async fn a_wrong_key_logs_nobody_in_and_a_link_cannot_send_people_elsewhere() {
    let world = World::new(true);
    let ada = world.key("ada", &[], &[User]).await;
    for wrong in ["", "x", &format!("aeg-{}", "0".repeat(64))] {
        let page = Browser::new(&world).post("/approvals/login", &[("key", wrong)]).await;
        assert!(page.status == 401 && !page.headers.contains_key(SET_COOKIE), "{wrong}");
        assert!(page.says("AEG-AUTH-001") && page.says("name=\"key\"") && (wrong.len() < 2 || !page.says(wrong)), "{}", page.html);
    }
    let page = Browser::new(&world).post("/approvals/login?next=//evil.example", &[("key", &ada)]).await;
    assert_eq!(page.location(), "/approvals");
    let page = Browser::new(&world).post("/approvals/login", &[("key", &ada), ("next", "//evil.example")]).await;
    assert_eq!(page.status, 422);
}

#[tokio::test]
async fn the_path_of_a_form_loaded_again_leads_back_to_the_page() {
    let world = World::new(true);
    for path in ["/approvals/login", "/approvals/logout", "/approvals/01a212da-ed2e-71ae-9c13-295d2ce949be"] {
        let page = Browser::new(&world).get(path).await;
        assert_eq!((page.status, page.location()), (303, "/approvals"), "{path}");
    }
}

#[tokio::test]
async fn no_answer_of_the_page_may_be_kept_framed_or_run_foreign_code() {
    let world = World::new(true);
    let browser = Browser::new(&world);
    for path in ["/approvals", "/approvals/list", "/approvals/assets/page.js", "/approvals/assets/none", "/approvals?after=x"] {
        let page = browser.get(path).await;
        let policy = page.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        assert!(page.headers["x-frame-options"] == "DENY" && page.headers["x-content-type-options"] == "nosniff");
        assert_eq!(page.headers[CACHE_CONTROL] == "no-store", !path.ends_with(".js"), "{path}");
    }
    let html = browser.get("/approvals").await.html;
    assert!(!html.contains(" style=") && !html.contains("<style") && !html.contains("<script>") && !html.contains(" onclick"));
    for asset in html.split('"').filter(|it| it.starts_with("/approvals/assets/")) {
        assert_eq!(browser.get(asset).await.status, 200, "{asset}");
    }
}

#[tokio::test]
async fn the_list_is_sent_again_only_when_it_has_changed() {
    let world = World::new(true);
    let ada = world.key("ada", &[], &[User, Approver]).await;
    world.submit(&ada, QUESTION, json!({"metadata": {"n": "first"}})).await;
    let browser = Browser::logged_in(&world, &ada).await;
    let list = browser.get("/approvals/list").await;
    assert!(list.says("first") && !list.says("<html"), "{}", list.html);
    let tag = list.headers[ETAG].clone();
    assert!(browser.get("/approvals").await.says(&format!("data-version={}", tag.to_str().unwrap())));
    let known = || Request::get("/approvals/list").header(IF_NONE_MATCH, tag.clone());
    assert_eq!(browser.send(known(), String::new()).await.status, 304);
    world.submit(&ada, QUESTION, json!({"metadata": {"n": "second"}})).await;
    let list = browser.send(known(), String::new()).await;
    assert!(list.status == 200 && list.says("first") && list.says("second"), "{}", list.html);
}

#[tokio::test]
async fn a_long_list_has_pages() {
    let world = World::new(false);
    let browser = Browser::new(&world);
    let cards = |page: &Page| page.html.matches("<article").count();
    for _ in 0..22 {
        world.submit("", QUESTION, json!({})).await;
    }
    let first = browser.get("/approvals").await;
    assert_eq!(cards(&first), 20);
    let next = first.html.split_once("/approvals?after=").map(|it| it.1.split('"').next().unwrap()).expect("a link to the next page");
    let second = browser.get(&format!("/approvals?after={next}")).await;
    assert_eq!(cards(&second), 2);
    assert!(second.says(&format!("data-from=\"/approvals/list?after={next}\"")));
    assert_eq!(browser.get("/approvals?after=%22%3E%3Cscript%3E").await.status, 422);
    for odd in ["/approvals?done=x", "/approvals?after=a&after=b", "/approvals?%ff", "/approvals?next=//evil.example"] {
        let page = browser.get(odd).await;
        assert!(page.status == 200 && page.says("<article") && !page.says("was counted") && !page.says("evil"), "{odd}: {}", page.html);
    }
    assert_eq!(browser.get("/approvals/assets/%ff").await.status, 404);
}

#[tokio::test]
async fn a_page_holds_only_so_much_content_of_whatever_kind() {
    let world = World::with(Arc::new(Memory::new()), |settings| settings.server.body_limit = 1 << 20);
    let large = "x".repeat(700 << 10);
    for _ in 0..4 {
        let parts = json!([{"type": "text", "text": QUESTION}, {"type": "file", "file": {"data": large}}]);
        let (status, run) = world.post("", "/v1/runs", json!({"messages": [{"role": "user", "content": parts}]})).await;
        assert_eq!((status, &run["status"]), (200, &json!("paused")), "{}", run["error"]);
    }
    let page = Browser::new(&world).get("/approvals").await;
    assert_eq!(page.html.matches("<article").count(), 2, "three of them are more than two MiB");
    assert!(page.says("/approvals?after="));
}

#[tokio::test]
async fn forms_are_small() {
    let world = World::new(true);
    let browser = Browser::new(&world);
    assert_eq!(browser.post("/approvals/login", &[("key", &"x".repeat(31 << 10))]).await.status, 401);
    assert_eq!(browser.post("/approvals/login", &[("key", &"x".repeat(33 << 10))]).await.status, 413);
}

#[tokio::test]
async fn a_person_edits_and_approves_without_a_script() {
    let world = World::new(true);
    let (ada, bob) = (world.key("ada", &[], &[User]).await, world.key("bob", &[], &[Approver]).await);
    let run = world.submit(&ada, "\nI want\r\n</textarea><b>financial advice</b>.", json!({})).await;
    let browser = Browser::logged_in(&world, &bob).await;
    let path = format!("/approvals/{}/edit", id(&run));
    assert!(browser.get("/approvals").await.says(&format!("href=\"{path}\"")));
    let page = browser.get(&path).await;
    // The parser drops the first line break of a field.
    let shown = "name=\"text-m0p0\" rows=\"3\" dir=\"auto\" autocomplete=\"off\">\n\nI want\r\n&#60;/textarea&#62;&#60;b&#62;";
    assert!(page.status == 200 && page.says(shown) && page.says(&page.field("digest")[..19]), "{}", page.html);

    let named = ["token", "approval_id", "digest"].map(|it| (it, page.field(it)));
    let send = async |more: &[(&str, &str)]| {
        let mut fields: Vec<(&str, &str)> = named.iter().map(|(name, value)| (*name, value.as_str())).collect();
        fields.push(("comment", "softer"));
        fields.extend(more);
        browser.post(&path, &fields).await
    };
    let wrong = send(&[("text-m7p0", "x")]).await;
    assert!(wrong.status == 422 && wrong.says("there is no such text to edit"), "{}", wrong.html);
    let forged = browser.post(&path, &[("token", "x"), ("text-m0p0", "x")]).await;
    assert_eq!(forged.status, 403, "another page's form");
    let asked = send(&[("text-m0p0", "A little\r\nfinancial advice?")]).await;
    assert_eq!((asked.status, asked.location()), (303, "/approvals?done=approved"));
    let again = world.get(&ada, &format!("/v1/runs/{}?wait=10s", id(&run))).await.1;
    assert_eq!((&again["status"], &again["events"][2]["comment"]), (&json!("paused"), &json!("softer")), "{again}");
    assert!(again["events"][2]["edited"].is_string() && again["approval"]["id"] != run["approval"]["id"], "{again}");
    let stored = world.store.run_fetch(id(&run).parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(stored.request().messages[0].joined(), "A little\nfinancial advice?");
    let late = send(&[("text-m0p0", "x")]).await;
    assert_eq!(late.status, 303, "the same decision sent again is no other one");
    assert_eq!(world.get(&ada, &format!("/v1/runs/{}", id(&run))).await.1["approval"], again["approval"]);
}

#[tokio::test]
async fn a_form_that_comes_back_as_it_was_edits_nothing() {
    let world = World::new(false);
    let run = world.submit("", "\nfinancial advice\rnow\r\n", json!({})).await;
    let browser = Browser::new(&world);
    let path = format!("/approvals/{}/edit", id(&run));
    let page = browser.get(&path).await;
    let (token, asked, digest) = (page.field("token"), page.field("approval_id"), page.field("digest"));
    let fields = [("token", token.as_str()), ("approval_id", &asked), ("digest", &digest), ("comment", "")];
    // Browsers send every line break as Windows writes it.
    let done = browser.post(&path, &[&fields[..], &[("text-m0p0", "\r\nfinancial advice\r\nnow\r\n")]].concat()).await;
    assert_eq!(done.status, 303, "{}", done.html);
    let run = world.get("", &format!("/v1/runs/{}?wait=10s", id(&run))).await.1;
    assert_eq!((&run["status"], &run["events"][2]["edited"]), (&json!("completed"), &json!(null)), "{run}");
    assert_eq!(browser.get(&path).await.location(), "/approvals", "nothing is asked any more");
}

#[tokio::test]
async fn nobody_edits_what_is_not_theirs_to_decide() {
    let world = World::new(true);
    let (ada, eve) = (world.key("ada", &[], &[User, Approver]).await, world.key("eve", &[], &[User]).await);
    let run = world.submit(&ada, QUESTION, json!({})).await;
    let path = format!("/approvals/{}/edit", id(&run));
    let stranger = Browser::new(&world).get(&path).await;
    assert!(stranger.status == 303 && stranger.location() == "/approvals", "{}", stranger.html);
    let browser = Browser::logged_in(&world, &eve).await;
    let page = browser.get(&path).await;
    assert!(page.status == 303 && !page.says("Advice"), "{}", page.html);
    let token = browser.get("/approvals").await.field("token");
    let asked = run["approval"]["id"].as_str().unwrap();
    let fields =
        [("token", token.as_str()), ("approval_id", asked), ("digest", run["approval"]["digest"].as_str().unwrap()), ("comment", "")];
    let refused = browser.post(&path, &[&fields[..], &[("text-m0p0", "x")]].concat()).await;
    assert_eq!(refused.status, 404, "{}", refused.html);
}
