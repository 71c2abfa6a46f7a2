//! The approvals page: with raw HTTP as a browser without JavaScript sends it, and in a real Chromium.

use crate::host::{Host, client, config, free_port};
use fantoccini::{Client, ClientBuilder, Locator};
use reqwest::header::{CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use serde_json::json;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Chromium, driven by WebDriver.
pub(crate) struct Browser {
    driver: Child,
    pub(crate) client: Client,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) async fn start(javascript: bool) -> Browser {
        let (port, profile) = (free_port(), tempfile::TempDir::new().expect("a temporary folder"));
        let driver = Command::new("chromedriver").arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut driver = driver.expect("chromedriver is there: scripts/setup.sh --tests installs it");
        let data = format!("--user-data-dir={}", profile.path().display());
        let mut args = vec![
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-component-update",
            "--disable-sync",
        ];
        args.extend(["--disable-background-networking", "--disable-dev-shm-usage", "--window-size=1100,900", &data]);
        let scripts = if javascript { 1 } else { 2 };
        let options = json!({"args": args, "prefs": {"profile.managed_default_content_settings.javascript": scripts}});
        let capabilities = json!({"goog:chromeOptions": options}).as_object().expect("an object").clone();
        for _ in 0..100 {
            let connected = ClientBuilder::new(hyper_util_connector())
                .capabilities(capabilities.clone())
                .connect(&format!("http://127.0.0.1:{port}"))
                .await;
            if let Ok(client) = connected {
                return Browser { driver, client, _profile: profile };
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let _ = driver.kill();
        let _ = driver.wait();
        panic!("chromedriver does not answer");
    }

    pub(crate) async fn close(self) {
        let _ = self.client.clone().close().await;
    }
}

/// A test that fails ends its browser, too: a driver that is told to end takes it along.
impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.driver.id().to_string()).status();
        let _ = self.driver.wait();
    }
}

fn hyper_util_connector() -> hyper_util::client::legacy::connect::HttpConnector {
    hyper_util::client::legacy::connect::HttpConnector::new()
}

pub(crate) async fn text(client: &Client, css: &str) -> String {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let found = client.wait().at_most(Duration::from_secs(10)).for_element(Locator::Css(css)).await;
        match found.unwrap_or_else(|error| panic!("{css}: {error}")).text().await {
            // The page that it stood on has just given way to the next one.
            Err(error) if error.is_stale_element_reference() && Instant::now() < until => {}
            text => return text.expect("it has a text"),
        }
    }
}

pub(crate) async fn click(client: &Client, css: &str) {
    let found = client.wait().at_most(Duration::from_secs(10)).for_element(Locator::Css(css)).await;
    found.unwrap_or_else(|error| panic!("{css}: {error}")).click().await.expect("it can be clicked");
}

#[tokio::test]
async fn a_person_approves_in_a_browser_without_javascript() {
    let host = Host::start(&config("api_key")).await;
    let (alice, bob) = (host.key("alice", &[]), host.key("bob", &[]));
    let run = host.submit(&alice, "I want <b>financial advice</b>.", json!({})).await;
    let id = run["run_id"].as_str().expect("an id").to_owned();

    let browser = Browser::start(false).await;
    let page = &browser.client;
    page.goto(&format!("{}/approvals", host.url)).await.expect("the page opens");
    page.find(Locator::Css("input[name=key]")).await.expect("one field").send_keys(&bob).await.expect("typing");
    click(page, "button[type=submit]").await;
    text(page, ".card").await; // Not before it has answered.
    let shown = text(page, "main").await;
    for part in
        ["I want <b>financial advice</b>.", "Financial advice requires human review", "sensitive-topic", "ingress", "alice", "default"]
    {
        assert!(shown.contains(part), "{part:?} is not on the page:\n{shown}");
    }
    assert_eq!(text(page, "mark").await, "financial advice");
    page.find(Locator::Css("[name=comment]")).await.expect("a comment").send_keys("fine by me").await.expect("typing");
    click(page, "button[name=decision][value=approved]").await;
    host.settled(&alice, &id, "completed").await;
    browser.close().await;
}

#[tokio::test]
async fn new_questions_appear_by_themselves_with_javascript() {
    let host = Host::start(&config("none")).await;
    let browser = Browser::start(true).await;
    let page = &browser.client;
    page.goto(&format!("{}/approvals", host.url)).await.expect("the page opens");
    assert!(!text(page, "main").await.contains("financial"));
    let run = host.submit("", "financial advice for <script>alert(1)</script>", json!({})).await;
    click(page, "button[name=decision][value=denied]").await;
    host.settled("", run["run_id"].as_str().expect("an id"), "denied").await;
    browser.close().await;
}

#[tokio::test]
async fn a_session_is_a_strict_cookie_and_a_decision_needs_its_token() {
    let host = Host::start(&config("api_key")).await;
    let bob = host.key("bob", &[]);
    let run = host.submit(&bob, "financial advice", json!({})).await;
    let (http, id) = (client(), run["run_id"].as_str().expect("an id"));

    let opened = http.get(format!("{}/approvals", host.url)).send().await.expect("an answer");
    let policy = opened.headers()[CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");

    let login = http
        .post(format!("{}/approvals/login", host.url))
        .header(ORIGIN, &host.url)
        .form(&[("key", &bob)])
        .send()
        .await
        .expect("an answer");
    assert_eq!((login.status(), &login.headers()[LOCATION]), (reqwest::StatusCode::SEE_OTHER, &"/approvals".parse().expect("a header")));
    let cookie = login.headers()[SET_COOKIE].to_str().expect("text").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let session = cookie.split(';').next().expect("a cookie").to_owned();

    let resume = format!("{}/v1/runs/{id}/resume", host.url);
    let without = http.post(&resume).header(COOKIE, &session).body(r#"{"decision":"approved"}"#).send().await.expect("an answer");
    assert!(without.status().is_client_error(), "{}", without.status());
    assert_eq!(host.get(&bob, &format!("/v1/runs/{id}")).await.1["status"], "paused");
}

#[tokio::test]
async fn no_other_web_page_can_act_through_a_browser() {
    let host = Host::start(&config("none")).await;
    let http = client();
    let body = r#"{"messages":[{"role":"user","content":"x"}]}"#;
    for (header, value) in [(ORIGIN, "https://evil.example"), (ORIGIN, "null"), (HOST, "evil.example")] {
        let answer = http.post(format!("{}/v1/runs", host.url)).header(&header, value).body(body).send().await.expect("an answer");
        assert_eq!(answer.status(), 403, "{header}: {value}");
    }
    let own = http.post(format!("{}/v1/runs", host.url)).header(ORIGIN, &host.url).body(body).send().await.expect("an answer");
    assert_eq!(own.status(), 200);
}
