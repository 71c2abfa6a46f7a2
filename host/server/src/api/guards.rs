//! `/v1/guards`: which components judge here, what they may use, and how they are doing.

use super::error::ErrorBody;
use super::read::{Caller, NoQuery};
use super::{ApiError, Shared};
use crate::app::{App, HostedGuard};
use aegis_core::{Code, Stage};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A guard.
#[derive(Serialize, ToSchema)]
pub(crate) struct GuardView {
    /// In the configuration.
    name: String,
    /// Where its component came from.
    source: String,
    /// Of the component's bytes as they were received.
    sha256: String,
    /// Of its settings.
    settings_sha256: String,
    /// As the component says.
    component: ComponentView,
    /// What it imports; everything is answered by an empty sandbox.
    imports: Vec<String>,
    /// What it was granted beyond its sandbox: nothing, in this version.
    grants: Vec<String>,
    limits: LimitsView,
    /// Where it can judge.
    stages: Vec<&'static str>,
    /// Where it does, by route.
    routes: BTreeMap<String, Vec<&'static str>>,
    /// Whether every scan starts from a snapshot of the configured guard; if not, each scan configures anew.
    snapshot: bool,
    /// Why there is no snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_snapshot: Option<String>,
    load: LoadView,
    health: HealthView,
}

/// What a component says of itself.
#[derive(Serialize, ToSchema)]
struct ComponentView {
    name: String,
    version: String,
    description: String,
}

/// What a guard may use; one that wants more has failed.
#[derive(Serialize, ToSchema)]
struct LimitsView {
    /// Milliseconds of its own running, for one scan.
    time_ms: u64,
    /// Milliseconds of its own running, for `describe` and `configure` at load.
    load_ms: u64,
    /// Bytes of memory.
    memory: u64,
    /// Bytes that it is handed in one scan.
    input: u64,
    /// Bytes that it hands back from one scan.
    output: u64,
    /// Bytes that are kept of what it prints.
    log: u64,
}

/// What it cost to load it.
#[derive(Serialize, ToSchema)]
struct LoadView {
    /// Milliseconds, all of it.
    took_ms: u64,
    /// Whether it had been compiled before, and was taken from `server.cache_dir`.
    cached: bool,
    /// Bytes of memory that an instance has before it is asked anything.
    memory: u64,
}

/// Counted since the server started.
#[derive(Serialize, ToSchema)]
struct HealthView {
    scans: u64,
    /// By kind.
    failures: BTreeMap<&'static str, u64>,
}

/// One page; there is no other.
#[derive(Serialize, ToSchema)]
pub(crate) struct GuardList {
    data: Vec<GuardView>,
    next: Option<String>,
}

/// The guards there are.
#[utoipa::path(get, path = "/v1/guards", tag = "guards", responses(
    (status = 200, description = "All of them, by name", body = GuardList),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 422, description = "A parameter: there are none", body = ErrorBody)))]
pub(super) async fn list(State(app): State<Shared>, _: Caller, _: NoQuery) -> Json<GuardList> {
    Json(GuardList { data: app.guards().iter().map(|it| view(&app, it)).collect(), next: None })
}

/// One guard.
#[utoipa::path(get, path = "/v1/guards/{name}", tag = "guards", params(("name" = String, Path, description = "In the configuration")), responses(
    (status = 200, description = "The guard", body = GuardView),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is no such guard", body = ErrorBody),
    (status = 422, description = "A parameter: there are none", body = ErrorBody)))]
pub(super) async fn fetch(
    State(app): State<Shared>,
    _: Caller,
    // What is no text in there names no guard either.
    name: Result<Path<String>, PathRejection>,
    _: NoQuery,
) -> Result<Json<GuardView>, ApiError> {
    let guards = app.guards();
    let found = guards.iter().find(|it| name.as_ref().is_ok_and(|Path(name)| it.name == *name));
    let found = found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, Code::GRD_UNKNOWN, "there is no such guard"))?;
    Ok(Json(view(&app, found)))
}

fn view(app: &App, guard: &HostedGuard) -> GuardView {
    let (loaded, limits) = (&guard.loaded, guard.loaded.limits());
    let (manifest, health) = (loaded.manifest(), loaded.health());
    let ms = |it: std::time::Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    GuardView {
        name: guard.name.clone(),
        source: guard.source.clone(),
        sha256: loaded.component().to_string(),
        settings_sha256: loaded.settings().to_string(),
        component: ComponentView {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            description: manifest.description.clone(),
        },
        imports: loaded.imports().to_vec(),
        grants: vec![],
        limits: LimitsView {
            time_ms: ms(limits.time),
            load_ms: ms(limits.load_time),
            memory: limits.memory as u64,
            input: limits.input as u64,
            output: limits.output as u64,
            log: limits.log as u64,
        },
        stages: manifest.stages.iter().map(|it| it.name()).collect(),
        routes: routes(app, &guard.name),
        snapshot: loaded.snapshot().is_ok(),
        no_snapshot: loaded.snapshot().err().map(String::from),
        load: LoadView { took_ms: ms(loaded.load().took), cached: loaded.load().cached, memory: loaded.load().memory as u64 },
        health: HealthView { scans: health.scans, failures: health.failures },
    }
}

fn routes(app: &App, guard: &str) -> BTreeMap<String, Vec<&'static str>> {
    let stages = |plan: &aegis_core::Plan| {
        let stands = |stage: &Stage| plan.pipeline.at(*stage).iter().any(|it| it.name == guard);
        Stage::ALL.into_iter().filter(stands).map(Stage::name).collect::<Vec<_>>()
    };
    app.plans().iter().map(|(name, plan)| (name.clone(), stages(plan))).filter(|(_, stages)| !stages.is_empty()).collect()
}
