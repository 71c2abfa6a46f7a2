//! What is counted, for Prometheus. No content, no principals and no ids in labels: their number would have no bound.

use aegis_core::{GuardFailure, Status};
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByStatus {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByGuard {
    guard: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByResult {
    name: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByWhat {
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByRequest {
    method: &'static str,
    path: String,
    status: u16,
}

/// Counters of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runs: Family<ByStatus, Counter>,
    scans: Family<ByResult, Counter>,
    scan_seconds: Family<ByGuard, Histogram>,
    calls: Family<ByResult, Counter>,
    commit_seconds: Histogram,
    transactions: Counter,
    requests: Family<ByRequest, Counter>,
    connections: Gauge,
    removed: Family<ByWhat, Counter>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut it = Metrics {
            registry: Registry::with_prefix("aegis"),
            runs: Family::default(),
            scans: Family::default(),
            scan_seconds: Family::<ByGuard, Histogram>::new_with_constructor(|| Histogram::new(exponential_buckets(10e-6, 4.0, 9))),
            calls: Family::default(),
            commit_seconds: Histogram::new(exponential_buckets(100e-6, 4.0, 9)),
            transactions: Counter::default(),
            requests: Family::default(),
            connections: Gauge::default(),
            removed: Family::default(),
        };
        it.registry.register("runs", "Runs that came to this status and were committed", it.runs.clone());
        it.registry.register("guard_scans", "Scans by guard and by what came of them", it.scans.clone());
        it.registry.register("guard_scan_seconds", "How long guards take, waiting for a place included", it.scan_seconds.clone());
        it.registry.register("provider_calls", "Provider calls by provider and by what came of them", it.calls.clone());
        it.registry.register("store_commit_seconds", "How long a commit takes until it is durable", it.commit_seconds.clone());
        it.registry.register(
            "store_transactions",
            "Transactions with the disk; commits that come together share one",
            it.transactions.clone(),
        );
        it.registry.register("http_requests", "HTTP requests by method, path and status", it.requests.clone());
        it.registry.register("http_connections", "Open connections", it.connections.clone());
        it.registry.register(
            "removed",
            "What retention and erasures have removed: content and runs by run, the ledger by line",
            it.removed.clone(),
        );
        it
    }
}

impl Metrics {
    /// In OpenMetrics' text format. The store counts its transactions itself, and says here how many there were.
    pub fn encode(&self, transactions: u64) -> String {
        self.transactions.inner().store(transactions, Ordering::Relaxed);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("a string takes whatever is written");
        text
    }

    pub(crate) fn committed(&self, status: Status, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.runs.get_or_create(&ByStatus { status: status.name() }).inc();
    }

    pub(crate) fn scanned(&self, guard: &str, failure: Option<&GuardFailure>, took: Duration) {
        let result = failure.map_or("judged", |failure| failure.kind().name());
        self.scans.get_or_create(&ByResult { name: guard.into(), result }).inc();
        self.scan_seconds.get_or_create(&ByGuard { guard: guard.into() }).observe(took.as_secs_f64());
    }

    pub(crate) fn called(&self, provider: &str, result: &'static str) {
        self.calls.get_or_create(&ByResult { name: provider.into(), result }).inc();
    }

    /// `path` is the pattern of a route, never what a client wrote.
    pub(crate) fn answered(&self, method: &Method, path: &str, status: StatusCode) {
        let known = [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE, Method::PATCH];
        let names = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"];
        let method = known.iter().position(|it| it == method).map_or("other", |index| names[index]);
        self.requests.get_or_create(&ByRequest { method, path: path.into(), status: status.as_u16() }).inc();
    }

    /// `what` is `content`, `erased`, `runs` or `lines`.
    pub(crate) fn removed(&self, what: &'static str, count: usize) {
        self.removed.get_or_create(&ByWhat { what }).inc_by(count as u64);
    }

    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }
}
