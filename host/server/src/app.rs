//! The verbs that handlers and the page share: submit, resume, cancel, fetch, list. What a run does is the core's; who may see
//! it, and that nothing is told before it is durable, is settled here. Nothing here knows HTTP.

mod erasure;

pub use erasure::{Erasure, NewErasure};

use crate::archive::Archive;
use crate::auth::Auth;
use crate::clock;
use crate::config::{ServerSettings, Settings};
use crate::detached::Detached;
use crate::driver::{Driver, Until, Waited, Watch, rests};
use crate::metrics::Metrics;
use crate::open::HostedProvider;
use crate::retention::Retention;
use aegis_core::{
    ApprovalId, Choice, Decision, Digest, Event, Guard, Principal, PrincipalRole, Refused, Request, RequestKey, Rewrite, Run, RunId,
    SharedPlan, Status, Time,
};
use aegis_store::{ApprovalFilter, CommitError, Earlier, LedgerLine, Page, Paged, Position, RunFilter, Store, StoreError};
use aegis_wasm::{LoadedGuard, Sandbox};
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// No answer is held longer than this, whatever is asked.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a verb goes over a run that others keep moving.
const ATTEMPTS: usize = 8;
/// Whoever asks whether the server is ready is answered within this.
const READY: Duration = Duration::from_secs(2);

/// Why a verb was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppError {
    /// No run has this id, or the caller may not see it: which of them, nobody is told.
    #[error("there is no such run")]
    UnknownRun,
    /// No route of that name.
    #[error("there is no route {name:?}: write one of {known}")]
    UnknownRoute {
        /// As it was asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A value that cannot be used.
    #[error("{message}")]
    Request {
        /// Where it stands.
        param: String,
        /// What is wrong with it.
        message: String,
    },
    /// The lists of approvers can never be satisfied.
    #[error("{0}")]
    Approvers(String),
    /// The caller lacks a role.
    #[error("this needs the role {}", .0.name())]
    Role(PrincipalRole),
    /// The caller sees the run, but it is not theirs to end.
    #[error("only its creator or an admin may cancel a run")]
    NotYours,
    /// The run refuses it.
    #[error(transparent)]
    Refused(Refused),
    /// The run is over.
    #[error("the run is {} already", .0.name())]
    Finished(Status),
    /// The caller's key stands for another request.
    #[error("this Idempotency-Key came with another request before")]
    OtherRequest,
    /// Others move this run all the time.
    #[error("the run was moved by others at the same time: try again")]
    Contended,
    /// No place for a scan became free in time.
    #[error("the server is busy: try again")]
    Busy,
    /// The server is shutting down.
    #[error("the server is stopping: try again later, or elsewhere")]
    Stopping,
    /// The store failed; nothing was half done.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault in this program.
    #[error("something went wrong inside")]
    Broken,
}

/// A guard that is loaded, and what the configuration says of it.
#[derive(Clone)]
pub struct HostedGuard {
    /// Its name in the configuration.
    pub name: String,
    /// Where its component came from.
    pub source: String,
    /// The guard.
    pub loaded: Arc<LoadedGuard>,
}

impl HostedGuard {
    /// Which of `guards` is the one that a plan means: the one of that name before any other, for limits are not the same for all that share a
    /// component. None, where it was of another configuration.
    pub fn meant<'a>(guards: &'a [HostedGuard], planned: &Guard) -> Option<&'a HostedGuard> {
        let same = |it: &&HostedGuard| it.loaded.component() == planned.component && it.loaded.settings() == planned.settings;
        guards.iter().filter(same).max_by_key(|it| it.name == planned.name)
    }
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// A route's name.
    pub route: String,
    /// Whether the client does not wait for the model.
    pub background: bool,
    /// The rest.
    pub request: Request,
}

/// What makes a request the same one when its client sends it again.
#[derive(Clone, Debug)]
pub struct Named {
    /// The client's key for it.
    pub key: String,
    /// What it asks for. Equal bytes are the same request.
    pub body: Vec<u8>,
}

/// What a person has decided.
#[derive(Clone, Debug)]
pub struct NewDecision {
    /// Which way.
    pub choice: Choice,
    /// Why.
    pub comment: Option<String>,
    /// The question that was meant; none: whichever is open.
    pub approval: Option<ApprovalId>,
    /// The digest of what was shown; none: not checked.
    pub digest: Option<Digest>,
    /// What is changed before it goes on; only with an approval.
    pub rewrites: Vec<Rewrite>,
}

impl NewDecision {
    /// The proof that it counts on `run` as it stands. Whoever may not decide is told so, and not what is wrong with the edits.
    fn on(self, run: &Run, who: &Principal, now: Time) -> Result<Decision, Refused> {
        let NewDecision { choice, comment, approval, digest, rewrites } = self;
        let rewritten = !rewrites.is_empty();
        let (edits, wrong) = run.amend(&rewrites).map_or_else(|error| (vec![], Some(error)), |edits| (edits, None));
        let decision = match (run.decide(who, choice, approval, digest, comment, edits, now), run.approval()) {
            // An approval with edits ends its question: what was counted on an open one had none.
            (Err(Refused::Repeated), Some(open)) if rewritten && approval == Some(open.id) => {
                let mine = open.decisions.iter().find(|it| it.by == who.id);
                return Err(mine.map_or(Refused::Repeated, |it| Refused::AlreadyDecided(it.clone())));
            }
            (decided, _) => decided?,
        };
        wrong.map_or(Ok(decision), |error| Err(Refused::Edits(error)))
    }
}

/// A server without its sockets.
pub struct App {
    driver: Arc<Driver>,
    store: Arc<dyn Store>,
    plans: RwLock<Arc<BTreeMap<String, SharedPlan>>>,
    auth: Auth,
    metrics: Arc<Metrics>,
    settings: ServerSettings,
    retention: Retention,
}

impl App {
    /// From parts that are ready. Everything that is slow or may fail comes before this: see [`App::open`].
    pub fn assemble(
        settings: &Settings,
        plans: BTreeMap<String, SharedPlan>,
        store: Arc<dyn Store>,
        sandbox: Sandbox,
        guards: Vec<HostedGuard>,
        providers: BTreeMap<String, HostedProvider>,
    ) -> Arc<App> {
        let metrics = Arc::new(Metrics::default());
        let server = settings.server.clone();
        let archive = Archive::new(settings, store.clone(), sandbox);
        let driver = Driver::new(store.clone(), guards, archive, providers, metrics.clone(), server.request_timeout);
        let required = matches!(settings.auth, crate::config::AuthSettings::ApiKey);
        let auth = Auth::new(store.clone(), required);
        let retention = Retention::new(store.clone(), metrics.clone(), settings.retention);
        Arc::new(App { driver: Arc::new(driver), store, plans: RwLock::new(Arc::new(plans)), auth, metrics, settings: server, retention })
    }

    /// Who is calling.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The same as text, for Prometheus.
    pub fn counted(&self) -> String {
        self.metrics.encode(self.store.transactions())
    }

    /// How it is reached, and its limits.
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// The guards there are now.
    pub fn guards(&self) -> Arc<Vec<HostedGuard>> {
        self.driver.guards()
    }

    /// The plan of every route, by the route's name, for runs that begin now.
    pub fn plans(&self) -> Arc<BTreeMap<String, SharedPlan>> {
        self.plans.read().expect("nothing panics while it holds this lock").clone()
    }

    /// Other guards for runs that begin from now on; `plans` are of these. Earlier runs keep theirs, which the store has kept.
    pub(crate) fn replace(&self, guards: Vec<HostedGuard>, plans: BTreeMap<String, SharedPlan>) {
        self.driver.replace_guards(guards);
        *self.plans.write().expect("nothing panics while it holds this lock") = Arc::new(plans);
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        self.driver.archive().sandbox()
    }

    /// Takes up what an earlier process left behind, ends questions that nobody answers and removes what was kept long enough, for ever. To
    /// be called once.
    pub async fn tend(&self) {
        tokio::join!(self.driver.clone().tend(), self.retention.tend());
    }

    /// Takes nothing new, and lets what runs finish within [`ServerSettings::drain`]; what is cut off goes on at the next start.
    pub async fn stop(&self) {
        self.driver.stop(self.settings.drain).await;
    }

    /// Whether it can do its work: it is not stopping, and the store can be read and has taken what was last written to it.
    ///
    /// # Errors
    /// Why not.
    pub async fn ready(&self) -> Result<(), AppError> {
        if self.driver.is_stopping() {
            return Err(AppError::Stopping);
        }
        self.store.in_touch()?;
        self.driver.writes()?;
        // A store that is tried again for long has no answer yet, and whoever asks this has little time.
        match tokio::time::timeout(READY, self.store.run_due(Time(0), 1)).await {
            Ok(due) => Ok(due.map(drop)?),
            Err(_) => Err(AppError::Store(StoreError::Away(format!("it has not answered for {} seconds", READY.as_secs())))),
        }
    }
}

/// Runs.
impl App {
    /// A new run. Comes back when it rests, or with `background` as soon as it waits for the model: every ingress guard has judged by then.
    /// One that is `named` makes one run, however often and at however many moments it is sent, and each time the answer is that run.
    ///
    /// # Errors
    /// When it cannot begin; then there is no such run.
    pub async fn submit(&self, who: &Principal, new: NewRun, named: Option<Named>) -> Result<Arc<Run>, AppError> {
        if !who.is(PrincipalRole::User) {
            return Err(AppError::Role(PrincipalRole::User));
        }
        if self.driver.is_stopping() {
            return Err(AppError::Stopping);
        }
        let until = if new.background { Until::Durable } else { Until::Rest };
        let request = named.map(|it| self.request(who, &it, &[b"submit"]));
        if let Some(earlier) = self.earlier(request.as_ref()).await? {
            return self.again(earlier, until, self.settings.request_timeout).await;
        }
        let run = self.begin(who, new)?;
        let id = run.id();
        let watch = self.driver.start_for(run, request);
        self.attend(id, watch, until, self.settings.request_timeout).await
    }

    /// `place` is where it was sent: the same words at another place ask for something else.
    fn request(&self, who: &Principal, named: &Named, place: &[&[u8]]) -> RequestKey {
        let kept = u64::try_from(self.settings.idempotency.as_millis()).unwrap_or(u64::MAX);
        RequestKey::new(&who.id, &named.key, &[place, &[&named.body]].concat(), clock::now(), kept)
    }

    async fn earlier(&self, request: Option<&RequestKey>) -> Result<Option<Earlier>, AppError> {
        match request {
            Some(request) => Ok(self.store.request_find(request).await?),
            None => Ok(None),
        }
    }

    /// The answer to a request that came before.
    async fn again(&self, earlier: Earlier, until: Until, limit: Duration) -> Result<Arc<Run>, AppError> {
        let wait = if until == Until::Rest { limit } else { Duration::ZERO };
        if earlier.same { self.held(earlier.run, wait, |_| true).await } else { Err(AppError::OtherRequest) }
    }

    fn begin(&self, who: &Principal, new: NewRun) -> Result<Run, AppError> {
        let plan = self.plans().get(&new.route).ok_or_else(|| self.no_route(&new.route))?.clone();
        if new.request.params.values().any(aegis_core::too_deep) {
            let message = format!("nested more than {} levels deep", aegis_core::MAX_DEPTH);
            return Err(AppError::Request { param: "params".into(), message });
        }
        aegis_provider::check_params(&new.request.params)
            .map_err(|error| AppError::Request { param: "params".into(), message: error.to_string() })?;
        let (now, id_bytes, salt) = (clock::now(), clock::random(), clock::random());
        Run::new(RunId::new(now, id_bytes), plan, new.request, who.clone(), new.background, salt, now).map_err(AppError::Approvers)
    }

    fn no_route(&self, name: &str) -> AppError {
        let plans = self.plans();
        let known: Vec<&str> = plans.keys().map(String::as_str).collect();
        AppError::UnknownRoute { name: name.chars().take(64).collect(), known: known.join(", ") }
    }

    /// A decision on the open question; goes on to the end of the run or its next question, and holds for `wait` at most.
    /// The same decision sent again changes nothing.
    ///
    /// # Errors
    /// When it does not count; then nothing has changed.
    pub async fn resume(
        self: &Arc<Self>,
        who: &Principal,
        id: RunId,
        decision: NewDecision,
        named: Option<Named>,
        wait: Duration,
    ) -> Result<Arc<Run>, AppError> {
        let request = named.map(|it| self.request(who, &it, &[b"resume", &id.as_bytes()[..]]));
        let (app, who, wait) = (self.clone(), who.clone(), self.settings.request_timeout.min(wait));
        // What has begun to change a run is finished, whether the client still waits or not.
        let counted = Detached::new(async move { app.decide(&who, id, decision, request).await }).await?;
        match counted {
            Counted::Before(run) => Ok(run),
            Counted::Now(watch) => self.attend(id, watch, Until::Rest, wait).await,
            Counted::Earlier(earlier) => self.again(earlier, Until::Rest, wait).await,
        }
    }

    async fn decide(&self, who: &Principal, id: RunId, decision: NewDecision, request: Option<RequestKey>) -> Result<Counted, AppError> {
        for _ in 0..ATTEMPTS {
            let mut run = self.stored(id).await?;
            if let Some(earlier) = self.earlier(request.as_ref()).await? {
                return Ok(Counted::Earlier(earlier));
            }
            let now = clock::now();
            let proof = match decision.clone().on(&run, who, now) {
                Ok(_) if self.driver.is_stopping() => return Err(AppError::Stopping),
                Ok(proof) => proof,
                Err(Refused::Repeated) => return Ok(Counted::Before(Arc::new(run))),
                Err(refused) => return Err(AppError::Refused(refused)),
            };
            run.handle(Event::Decided(proof), now).map_err(AppError::Refused)?;
            match self.driver.commit_for(&mut run, request.clone()).await {
                Ok(()) => return Ok(Counted::Now(self.driver.start(run))),
                Err(CommitError::Conflict) => continue,
                Err(CommitError::Earlier(earlier)) => return Ok(Counted::Earlier(earlier)),
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(AppError::Contended)
    }

    /// Ends a run. Ending it twice is no mistake.
    ///
    /// # Errors
    /// When it is over already, or not the caller's to end.
    pub async fn cancel(self: &Arc<Self>, who: &Principal, id: RunId) -> Result<Arc<Run>, AppError> {
        let (app, who) = (self.clone(), who.clone());
        Detached::new(async move { app.end(&who, id).await }).await
    }

    async fn end(&self, who: &Principal, id: RunId) -> Result<Arc<Run>, AppError> {
        for _ in 0..ATTEMPTS {
            let mut run = self.seen(who, id).await?;
            match run.status() {
                _ if run.principal().id != who.id && !who.is(PrincipalRole::Admin) => return Err(AppError::NotYours),
                Status::Cancelled => return Ok(Arc::new(run)),
                status if status.is_final() => return Err(AppError::Finished(status)),
                _ => {}
            }
            run.handle(Event::Cancelled { by: who.clone() }, clock::now()).map_err(AppError::Refused)?;
            match self.driver.commit(&mut run).await {
                Ok(()) => {
                    self.driver.let_go(id);
                    return Ok(Arc::new(run));
                }
                Err(CommitError::Conflict | CommitError::Earlier(_)) => continue,
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(AppError::Contended)
    }

    /// A run that `who` may see. With `wait`, holds until it rests, a minute at most.
    ///
    /// # Errors
    /// When there is none that `who` may see.
    pub async fn fetch(&self, who: &Principal, id: RunId, wait: Duration) -> Result<Arc<Run>, AppError> {
        self.held(id, wait, |run| visible(run, who)).await
    }

    async fn held(&self, id: RunId, wait: Duration, may_see: impl Fn(&Run) -> bool) -> Result<Arc<Run>, AppError> {
        let until = Instant::now() + wait.min(LONGEST_WAIT);
        loop {
            // In this order: a driver that ends in between has committed before.
            let (watch, moved) = (self.driver.watch(id), self.driver.moved(id));
            let run = self.stored(id).await?;
            if !may_see(&run) {
                return Err(AppError::UnknownRun);
            }
            if rests(&run) || Instant::now() >= until || self.driver.is_stopping() {
                return Ok(Arc::new(run));
            }
            match watch {
                Some(watch) => drop(tokio::time::timeout_at(until, watch.wait(Until::Rest)).await),
                None => drop(tokio::time::timeout_at(until, moved).await),
            }
        }
    }

    /// A page of the runs that `who` may see.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, who: &Principal, filter: RunFilter, page: &Page) -> Result<Paged<Run>, AppError> {
        let filter = RunFilter { visible_to: Some(who.clone()), ..filter };
        Ok(self.store.run_list(&filter, page).await?)
    }

    /// A page of the runs that wait for a decision which `who` may make.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn approvals(&self, who: &Principal, page: &Page) -> Result<Paged<Run>, AppError> {
        Ok(self.store.approval_list(&ApprovalFilter { decidable_by: who.clone() }, page).await?)
    }

    /// One run, if it asks something that `who` may decide.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn approval(&self, who: &Principal, id: RunId) -> Result<Option<Run>, AppError> {
        let asks = |run: &Run| run.approval().is_some_and(|it| it.awaits(who));
        Ok(self.store.run_fetch(id).await?.filter(asks))
    }

    /// The lines of the ledger after `after`, for admins.
    ///
    /// # Errors
    /// When `who` is none, or the store fails.
    pub async fn ledger(&self, who: &Principal, after: &Position, limit: usize) -> Result<Vec<LedgerLine>, AppError> {
        if !who.is(PrincipalRole::Admin) {
            return Err(AppError::Role(PrincipalRole::Admin));
        }
        Ok(self.store.ledger_list(after, limit).await?)
    }

    /// A run with all that came in, what no guard let pass too, for admins.
    ///
    /// # Errors
    /// When `who` is none, or there is no such run.
    pub async fn content(&self, who: &Principal, id: RunId) -> Result<Run, AppError> {
        if !who.is(PrincipalRole::Admin) {
            return Err(AppError::Role(PrincipalRole::Admin));
        }
        self.stored(id).await
    }

    /// Whether there is such a run, whoever asks.
    ///
    /// # Errors
    /// When there is none.
    pub async fn exists(&self, id: RunId) -> Result<(), AppError> {
        self.stored(id).await.map(drop)
    }

    async fn stored(&self, id: RunId) -> Result<Run, AppError> {
        self.store.run_fetch(id).await?.ok_or(AppError::UnknownRun)
    }

    async fn seen(&self, who: &Principal, id: RunId) -> Result<Run, AppError> {
        let run = self.stored(id).await?;
        if visible(&run, who) { Ok(run) } else { Err(AppError::UnknownRun) }
    }

    /// What a client is told that has waited for `limit` at most. An error says that nothing was begun or changed, so a run that is in the
    /// store is an answer, whatever its driver met since.
    async fn attend(&self, id: RunId, watch: Watch, until: Until, limit: Duration) -> Result<Arc<Run>, AppError> {
        let met = match tokio::time::timeout(limit, watch.wait(until)).await {
            Ok(met) => met,
            Err(_) if self.driver.give_up(id) => return Err(AppError::Busy),
            Err(_) => self.begun(id).await,
        };
        match met {
            Ok(Waited::Rests(run)) => return Ok(run),
            Ok(Waited::Earlier(earlier)) => return self.again(earlier, until, limit).await,
            Ok(Waited::Stored) | Err(_) => {}
        }
        let stored = match &met {
            // Whoever has waited for the store to come back has waited long enough: that error says that the run may have begun.
            Err(AppError::Store(StoreError::Away(_))) => match tokio::time::timeout(READY, self.store.run_fetch(id)).await {
                Ok(Ok(stored)) => stored,
                Ok(Err(_)) | Err(_) => None,
            },
            _ => self.store.run_fetch(id).await?,
        };
        match stored {
            Some(run) => Ok(Arc::new(run)),
            None if self.driver.is_stopping() => Err(AppError::Stopping),
            None => Err(met.err().unwrap_or(AppError::Busy)),
        }
    }

    /// Holds until a first commit that has begun is over.
    async fn begun(&self, id: RunId) -> Result<Waited, AppError> {
        match self.driver.watch(id) {
            Some(watch) => watch.wait(Until::Durable).await,
            None => Ok(Waited::Stored),
        }
    }
}

enum Counted {
    /// By this request: the run goes on.
    Now(Watch),
    /// By an earlier one.
    Before(Arc<Run>),
    /// This request came before.
    Earlier(Earlier),
}

/// Its creator, whoever it has asked, and admins.
pub(crate) fn visible(run: &Run, who: &Principal) -> bool {
    run.principal().id == who.id || who.is(PrincipalRole::Admin) || run.approvals().iter().any(|it| it.entitles(who))
}
