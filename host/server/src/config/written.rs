//! The configuration as it is written. Its JSON Schema is what `aegis config schema` prints and what every file is checked
//! against; no name is looked up and no file opened here.

use super::format;
use aegis_core::{Approver, Digest, Mode, OnFailure, OnUnknown};
use aegis_provider::{FakeSettings, OpenAiCompatibleSettings};
use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The configuration of Aegis, `aegis.yaml`. Every part may be left out. An environment variable overrides what it names:
/// `AEGIS__SERVER__LISTEN=0.0.0.0:8000`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "aegis.yaml")]
pub(super) struct Written {
    /// Where models are, by name.
    pub(super) providers: BTreeMap<String, Provider>,
    /// The guards there are, by name. A guard judges only where a pipeline names it.
    pub(super) guardrails: BTreeMap<String, Guardrail>,
    /// Which guards judge at which stage, in this order: for every route that does not say otherwise.
    pub(super) pipeline: Pipeline,
    /// Named ways from a request to an answer. A request that names none takes `default`, which is there by itself when there is one provider.
    pub(super) routes: BTreeMap<String, Route>,
    /// Who decides what guards ask, where neither the guard nor the route says so.
    pub(super) approval: Approval,
    /// Where runs are kept.
    pub(super) persistence: Option<Persistence>,
    /// How long what is over is kept. Left out: for ever.
    #[serde(skip_serializing_if = "Retention::is_for_ever")]
    pub(super) retention: Retention,
    /// What proves that nobody has changed the ledger.
    pub(super) ledger: Ledger,
    /// How callers are known.
    pub(super) auth: Option<Auth>,
    /// The HTTP server.
    pub(super) server: Server,
}

/// Where a model is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[schemars(transform = format::of_providers)]
pub(super) enum Provider {
    /// No model: says a fixed text, or the user's own back. For development and tests.
    Fake(FakeSettings),
    /// Chat completions as OpenAI and many others serve them.
    OpenaiCompatible(OpenAiCompatibleSettings),
}

/// A WebAssembly component that judges.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Guardrail {
    /// Its file, relative to the folder of this configuration; or `builtin:sensitive-topic` or `builtin:patterns`, which come with Aegis.
    #[schemars(schema_with = "format::component")]
    pub(super) component: String,
    /// SHA-256 of the file: any other refuses to load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::sha256")]
    pub(super) sha256: Option<Digest>,
    /// Handed to the guard as JSON; what it takes is up to the guard.
    #[serde(default = "nothing")]
    pub(super) settings: serde_json::Value,
    /// What it may reach beyond its sandbox: nothing, in this version.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub(super) capabilities: serde_json::Map<String, serde_json::Value>,
    /// What it may use up; a guard that wants more has failed.
    #[serde(default)]
    pub(super) limits: Limits,
    /// What follows when it fails: `block`, or `allow`, which is recorded every time.
    #[serde(default)]
    #[schemars(schema_with = "format::on_failure")]
    pub(super) on_failure: OnFailure,
    /// `enforce`, or `monitor`: judged and recorded, never acted on.
    #[serde(default)]
    #[schemars(schema_with = "format::mode")]
    pub(super) mode: Mode,
    /// Who decides what it asks; what is left out is taken from the route, then from the top.
    #[serde(default)]
    pub(super) approval: Approval,
}

fn nothing() -> serde_json::Value {
    serde_json::json!({})
}

/// Limits of a guard. What is left out has a default; `GET /v1/guards` shows what is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// For one scan, of the time in which the guard itself runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<Period>,
    /// For `describe` and `configure` at load, each, of the time in which the guard itself runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load: Option<Period>,
    /// Of its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::size")]
    pub(super) memory: Option<ByteSize>,
    /// Of what it is handed in one scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::size")]
    pub(super) input: Option<ByteSize>,
    /// Of what it hands back from one scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::size")]
    pub(super) output: Option<ByteSize>,
    /// Of what it logs in one scan; the rest is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::size")]
    pub(super) log: Option<ByteSize>,
}

/// Guards by stage, in the order in which they judge. In a route, a stage that is left out is as at the top; `[]` is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Pipeline {
    /// What goes to the model: the whole conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub(super) ingress: Option<Vec<String>>,
    /// What tools gave back, before the model sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub(super) tool_result: Option<Vec<String>>,
    /// What the model wants to do, before anyone gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub(super) tool_call: Option<Vec<String>>,
    /// What the model said, before anyone reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub(super) egress: Option<Vec<String>>,
}

/// A named way from a request to an answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Route {
    /// A name from `providers`; may be left out when there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider: Option<String>,
    /// In place of the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    /// In place of the one at the top, stage by stage.
    pub(super) pipeline: Pipeline,
    /// Who decides what guards ask on this route, where the guard does not say so.
    pub(super) approval: Approval,
    /// How often the provider is asked at most.
    #[schemars(range(min = 1, max = 100))]
    pub(super) attempts: u32,
    /// How long to wait between attempts.
    pub(super) backoff: Backoff,
    /// When a crash has swallowed the outcome of a call: `retry`, or `error`, for providers that act.
    #[schemars(schema_with = "format::on_unknown")]
    pub(super) on_unknown: OnUnknown,
}

impl Default for Route {
    fn default() -> Route {
        Route {
            provider: None,
            model: None,
            pipeline: Pipeline::default(),
            approval: Approval::default(),
            attempts: 3,
            backoff: Backoff::default(),
            on_unknown: OnUnknown::default(),
        }
    }
}

/// Waiting between attempts: twice as long each time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Backoff {
    /// Before the second attempt.
    pub(super) first: Period,
    /// At most; a provider that asks for a longer pause is not asked again.
    pub(super) longest: Period,
}

impl Default for Backoff {
    fn default() -> Backoff {
        let core = aegis_core::Backoff::default();
        Backoff { first: Period(Duration::from_millis(core.first)), longest: Period(Duration::from_millis(core.longest)) }
    }
}

/// Who decides, how many of them, and until when.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Approval {
    /// Principals, `team:NAME` or `role:NAME`; with `[]` the role `approver` decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::approvers")]
    pub(super) approvers: Option<Vec<Approver>>,
    /// So many different people have to approve; one denial decides. 1 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub(super) required: Option<u32>,
    /// How long a question stands; then it counts as denied. 24h when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_after: Option<Period>,
    /// Whether whoever sent the request may decide. True when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) self_approval: Option<bool>,
}

/// Where runs are kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Persistence {
    /// One file, one server.
    Sqlite {
        /// The file, relative to the folder of this configuration.
        #[serde(default = "database")]
        path: String,
    },
    /// A database, for any number of servers.
    Postgres {
        /// `secret://env/NAME` or `secret://file/PATH` of its URL: `postgres://USER:PASSWORD@HOST:PORT/NAME`. Several hosts stand with commas
        /// between them, and `?target_session_attrs=read-write` finds the one that takes writes.
        #[schemars(schema_with = "format::secret")]
        url: String,
    },
}

/// The file of a configuration that names none.
pub(super) const DATABASE: &str = "aegis.db";

fn database() -> String {
    DATABASE.into()
}

/// How long what is over is kept, counted from the end of a run. What is left out is kept for ever; a run that is not over is always
/// kept. What is removed is written into the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Retention {
    /// What was asked and answered, and what guards said: the run and its digests stay. No shorter than `server.idempotency`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Period>,
    /// Runs: what the ledger says of them stays. No shorter than `content` and `server.idempotency`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completed: Option<Period>,
    /// The ledger, counted from when a line was written; lines of a run that is still there stay with it, and all that follow them. Needs
    /// `completed`, and is no shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ledger: Option<Period>,
}

impl Retention {
    fn is_for_ever(&self) -> bool {
        *self == Retention::default()
    }
}

/// What proves that nobody has changed the ledger.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ledger {
    /// What `aegis ledger export` signs with: `secret://file/PATH` of a file that `aegis keys ledger` made. The server itself never reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::secret")]
    pub(super) key: Option<String>,
}

/// How callers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Auth {
    /// By keys that `aegis keys create` makes.
    ApiKey {},
    /// Not at all: everyone may do everything.
    None {},
}

/// The HTTP server.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    /// IP address and port.
    #[schemars(schema_with = "format::address")]
    pub(super) listen: SocketAddr,
    /// Names under which it is reached besides its address, without port; asked for only without authentication.
    #[schemars(schema_with = "format::hosts")]
    pub(super) hosts: Vec<String>,
    /// Its address as browsers see it, where that is another one.
    #[schemars(schema_with = "format::origin")]
    pub(super) public_url: Option<String>,
    /// Folder for compiled guards; `none` keeps nothing on disk. Left out or null: `aegis` in the user's own cache folder.
    pub(super) cache_dir: Option<String>,
    /// The largest request.
    #[schemars(schema_with = "format::size")]
    pub(super) body_limit: ByteSize,
    /// Connections at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_connections: usize,
    /// How long a client may take to send the head of a request.
    pub(super) header_timeout: Period,
    /// How long a client may take to send the body of a request, and to take 16 KiB of an answer that waits for it.
    pub(super) body_timeout: Period,
    /// How long a request is held before it is answered with what is there so far.
    pub(super) request_timeout: Period,
    /// How long a request with an `Idempotency-Key` is remembered.
    pub(super) idempotency: Period,
    /// How long a server that was told to stop may take to finish.
    pub(super) drain: Period,
}

impl Default for Server {
    fn default() -> Server {
        let seconds = |it| Period(Duration::from_secs(it));
        Server {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000),
            hosts: vec![],
            public_url: None,
            cache_dir: None,
            body_limit: ByteSize::mib(1),
            max_connections: 10_000,
            header_timeout: seconds(10),
            body_timeout: seconds(30),
            request_timeout: seconds(60),
            idempotency: seconds(24 * 3600),
            drain: seconds(30),
        }
    }
}

/// A length of time, such as `50ms`, `30s` or `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Period(pub(super) Duration);

impl From<Period> for String {
    fn from(it: Period) -> String {
        humantime::format_duration(it.0).to_string()
    }
}

impl TryFrom<String> for Period {
    type Error = humantime::DurationError;

    fn try_from(text: String) -> Result<Period, humantime::DurationError> {
        humantime::parse_duration(&text).map(Period)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(schemas: &mut schemars::SchemaGenerator) -> schemars::Schema {
        format::duration(schemas)
    }
}
