//! The approvals page: what waits for a person, whole, and two buttons. It works without its script. Who is calling is known to
//! `auth`, and who may decide what to the core: nothing of that is settled here.

mod assets;
mod card;
mod dress;
mod editor;
mod forms;
mod moment;
mod text;
mod visitor;

use crate::api::{ApiError, InPath, Shared, cookie, page_of, peer, session_cookie};
use crate::app::{App, NewDecision};
use crate::clock;
use crate::config::ServerSettings;
use aegis_core::{Code, Digest, Run, RunId};
use aegis_store::Paged;
use askama::Template;
use assets::Assets;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, State};
use axum::http::header::{ETAG, HOST, HeaderMap, HeaderValue, IF_NONE_MATCH, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode};
use axum::middleware::from_fn;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use card::Card;
use dress::{LogInPage, dress, page};
use editor::{Editor, EditsForm};
use forms::{DecisionForm, LogInForm, LogOutForm, Sent, SentTexts};
use serde::Deserialize;
use std::convert::Infallible;
use std::time::Duration;
use text::Text;
use visitor::{CommonToken, Visitor};

/// Questions on one page, at most.
const CARDS: &str = "20";
/// Bytes of content on one page; the first question is shown whatever its size.
const CONTENT: usize = 2 * 1024 * 1024;

/// The page's own paths.
pub(crate) fn router() -> Router<Shared> {
    Router::new()
        .route("/", get(back))
        .route("/approvals", get(show))
        .route("/approvals/list", get(list))
        .route("/approvals/login", post(log_in).get(back))
        .route("/approvals/logout", post(log_out).get(back))
        .route("/approvals/{run}", post(decide).get(back))
        // What is read has its own limit, that of every request.
        .route("/approvals/{run}/edit", get(edit).post(decide_edited).layer(DefaultBodyLimit::disable()))
        .route("/approvals/assets/{name}", get(assets::serve))
        .route_layer(from_fn(dress))
        .route_layer(Extension(CommonToken::new()))
}

/// What a link may say; whatever else it says is ignored.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// Where the page begins.
    after: Option<String>,
    /// What has just been done: `approved` or `denied`.
    done: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked, Infallible> {
        Ok(Query::try_from_uri(&parts.uri).map_or_else(|_| Asked::default(), |Query(it)| it))
    }
}

impl Asked {
    fn notice(&self) -> Option<&'static str> {
        match self.done.as_deref()? {
            "approved" => Some("Your approval was counted."),
            "denied" => Some("Your denial was counted."),
            _ => None,
        }
    }
}

#[derive(Template)]
#[template(path = "approvals/page.html")]
struct ApprovalsPage<'a> {
    assets: Assets,
    who: Text<'a>,
    logged_in: bool,
    notice: Option<&'static str>,
    /// The server's address, where there is something to try.
    try_at: Option<&'a str>,
    list: List<'a>,
}

#[derive(Template)]
#[template(path = "approvals/list.html")]
struct ListOnly<'a> {
    list: List<'a>,
}

/// A form was older than what its run asks.
#[derive(Template)]
#[template(path = "approvals/stale.html")]
struct StalePage<'a> {
    assets: Assets,
    message: &'a str,
    code: Code,
    list: List<'a>,
}

struct List<'a> {
    cards: Vec<Card<'a>>,
    /// Why what is not here is not.
    unreadable: Vec<String>,
    /// Where the next page begins.
    next: Option<String>,
    /// Changes whenever the list does.
    version: String,
    token: &'a str,
    /// Where the script finds this list.
    from: String,
}

async fn show(
    State(app): State<Shared>,
    visitor: Result<Visitor, ApiError>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Html<String>, ApiError> {
    let visitor = match visitor {
        Err(nobody) if nobody.status() == StatusCode::UNAUTHORIZED => return page(&LogInPage { assets: Assets, problem: None }),
        other => other?,
    };
    let runs = pending(&app, &visitor, &asked).await?;
    page(&ApprovalsPage {
        assets: Assets,
        who: Text::plain(&visitor.who.id),
        logged_in: visitor.logged_in,
        notice: asked.notice(),
        try_at: headers.get(HOST).and_then(|it| it.to_str().ok()).filter(|_| is_for_trying(&app)),
        list: List::of(&runs, &visitor, &asked),
    })
}

#[derive(Template)]
#[template(path = "approvals/edit.html")]
struct EditPage<'a> {
    assets: Assets,
    editor: Editor<'a>,
    token: &'a str,
}

/// Where a person rewrites what one question is about; a question that is not open any more leads back to the others.
async fn edit(State(app): State<Shared>, visitor: Result<Visitor, ApiError>, InPath(run): InPath) -> Result<Response, ApiError> {
    let visitor = match visitor {
        Err(nobody) if nobody.status() == StatusCode::UNAUTHORIZED => return Ok(Redirect::to("/approvals").into_response()),
        other => other?,
    };
    let run = app.approval(&visitor.who, run).await?;
    match run.as_ref().and_then(|run| Editor::of(run, clock::now(), app.settings().body_limit)) {
        Some(editor) => Ok(page(&EditPage { assets: Assets, editor, token: &visitor.token })?.into_response()),
        None => Ok(Redirect::to("/approvals").into_response()),
    }
}

/// A form that failed leaves its path in the address bar; whoever loads that again wants the page.
async fn back() -> Redirect {
    Redirect::to("/approvals")
}

/// The list alone, for the script; 304 when nothing has changed.
async fn list(State(app): State<Shared>, visitor: Visitor, asked: Asked, headers: HeaderMap) -> Result<Response, ApiError> {
    let runs = pending(&app, &visitor, &asked).await?;
    let tag = format!("\"{}\"", version(&runs, &visitor));
    if headers.get(IF_NONE_MATCH).is_some_and(|it| it.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], page(&ListOnly { list: List::of(&runs, &visitor, &asked) })?).into_response())
}

async fn pending(app: &App, visitor: &Visitor, asked: &Asked) -> Result<Paged<Run>, ApiError> {
    let mut runs = app.approvals(&visitor.who, &page_of(Some(CARDS), asked.after.as_deref())?).await?;
    let mut room = CONTENT;
    let fitting = runs.data.iter().take_while(|run| room.checked_sub(Card::size(run)).map(|left| room = left).is_some()).count().max(1);
    if fitting < runs.data.len() {
        runs.data.truncate(fitting);
        runs.next = runs.data.last().map(Run::id);
        // Those behind it come again on the next page.
        runs.unreadable.retain(|it| Some(it.run) > runs.next);
    }
    Ok(runs)
}

impl<'a> List<'a> {
    fn of(runs: &'a Paged<Run>, visitor: &'a Visitor, asked: &Asked) -> List<'a> {
        let now = clock::now();
        // It was read as an id on the way here.
        let from = asked.after.as_deref().filter(|it| !it.is_empty()).map_or(String::new(), |it| format!("?after={it}"));
        List {
            cards: runs.data.iter().filter_map(|run| Card::of(run, now)).collect(),
            unreadable: runs.unreadable.iter().map(|it| it.why.to_string()).collect(),
            next: runs.next.map(|it| it.to_string()),
            version: version(runs, visitor),
            token: &visitor.token,
            from: format!("/approvals/list{from}"),
        }
    }
}

fn version(runs: &Paged<Run>, visitor: &Visitor) -> String {
    let lines = runs.data.iter().map(|run| format!("{} {}\n", run.id(), run.version()));
    let damaged = runs.unreadable.iter().map(|it| format!("{}\n", it.run));
    let all = format!("{}{:?}{}", lines.chain(damaged).collect::<String>(), runs.next, visitor.token);
    Digest::of(all.as_bytes()).hex()[..16].to_string()
}

/// Whether this is a server on which the guard that comes with it can be tried without a key.
fn is_for_trying(app: &App) -> bool {
    !app.auth().required() && app.guards().iter().any(|it| it.source == "builtin:sensitive-topic")
}

/// The session is new, whatever cookie came along, and leads to this page alone.
async fn log_in(
    State(app): State<Shared>,
    headers: HeaderMap,
    extensions: Extensions,
    Sent(form): Sent<LogInForm>,
) -> Result<Response, ApiError> {
    if !app.auth().required() {
        return Ok(Redirect::to("/approvals").into_response());
    }
    let opened = app.auth().log_in(form.key.trim(), peer(&extensions)).await?;
    if let Some(before) = cookie(&headers, session_cookie(app.settings())) {
        app.auth().log_out(before).await?;
    }
    Ok(with_cookie(&opened.cookie, opened.max_age, app.settings()))
}

async fn log_out(
    State(app): State<Shared>,
    visitor: Visitor,
    headers: HeaderMap,
    Sent(form): Sent<LogOutForm>,
) -> Result<Response, ApiError> {
    visitor.check(&form.token)?;
    if let Some(cookie) = cookie(&headers, session_cookie(app.settings())) {
        app.auth().log_out(cookie).await?;
    }
    Ok(with_cookie("", 0, app.settings()))
}

fn with_cookie(value: &str, max_age: u64, settings: &ServerSettings) -> Response {
    let (name, secure) = (session_cookie(settings), if settings.is_https() { "; Secure" } else { "" });
    let cookie = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}");
    let cookie = HeaderValue::from_str(&cookie).expect("hex digits and words fit into a header");
    ([(SET_COOKIE, cookie)], Redirect::to("/approvals")).into_response()
}

/// Counts for exactly what the form's page has shown. Nobody waits here for what the run does next.
async fn decide(
    State(app): State<Shared>,
    visitor: Visitor,
    InPath(run): InPath,
    Sent(form): Sent<DecisionForm>,
) -> Result<Response, ApiError> {
    visitor.check(&form.token)?;
    settle(&app, &visitor, run, form.read()?).await
}

/// The same, with what the person has rewritten.
async fn decide_edited(
    State(app): State<Shared>,
    visitor: Visitor,
    InPath(id): InPath,
    SentTexts(form): SentTexts<EditsForm>,
) -> Result<Response, ApiError> {
    visitor.check(form.token())?;
    let run = app.fetch(&visitor.who, id, Duration::ZERO).await?;
    settle(&app, &visitor, id, form.read(&run)?).await
}

async fn settle(app: &Shared, visitor: &Visitor, run: RunId, decision: NewDecision) -> Result<Response, ApiError> {
    let choice = decision.choice;
    match app.resume(&visitor.who, run, decision, None, Duration::ZERO).await {
        Ok(_) => Ok(Redirect::to(&format!("/approvals?done={}", choice.name())).into_response()),
        Err(error) => refused(app, visitor, run, error.into()).await,
    }
}

/// Nothing was decided. Where the run asks something else by now, that is shown, to be read before it is decided.
async fn refused(app: &App, visitor: &Visitor, run: RunId, error: ApiError) -> Result<Response, ApiError> {
    let asked = if error.status() == StatusCode::CONFLICT { app.approval(&visitor.who, run).await? } else { None };
    let Some(asked) = asked else { return Err(error) };
    let runs = Paged { data: vec![asked], unreadable: vec![], next: None };
    let list = List::of(&runs, visitor, &Asked::default());
    let shown = page(&StalePage { assets: Assets, message: error.message(), code: error.code(), list })?;
    Ok((error.status(), shown).into_response())
}
