//! Drives runs: asks whoever a run wants asked, hands it what happened, commits where the core says so. No rule about runs
//! is made here. A driver may be cut off at any await: that is a crash, and the run goes on from its last commit.

use crate::app::{AppError, HostedGuard};
use crate::archive::Archive;
use crate::clock;
use crate::detached::Detached;
use crate::metrics::Metrics;
use crate::open::HostedProvider;
use aegis_core::{Call, Commit, Event, Input, Missing, Phase, ProviderFailure, RequestKey, Run, RunId, Time, Want};
use aegis_provider::{ProviderError, ProviderRequest};
use aegis_store::{CommitError, Earlier, Store, StoreError};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::future::{AbortHandle, Aborted, Either, abortable, select};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How often expired questions are looked for.
const SWEEP: Duration = Duration::from_secs(1);
const EXPIRE_AT_ONCE: usize = 100;
/// How often guards that no run needs any more are forgotten.
const FORGET: Duration = Duration::from_secs(3600);
/// How often requests are forgotten whose time is over, and how many in one transaction.
const FORGET_REQUESTS: Duration = Duration::from_secs(60);
const FORGET_AT_ONCE: usize = 500;
/// How many runs of a dead host go on at once: its backlog must not starve new requests, nor take long to be begun. Each waits for the disk
/// several times, and the more wait together, the more share a transaction (`make bench`: 10 000 runs).
const RECOVER_AT_ONCE: usize = 128;
/// Between attempts at what a store failed at: first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// After a commit that the store did not take, so long it is believed that it takes no other.
const UNWRITTEN: Duration = Duration::from_secs(10);

/// What drives runs, and knows which are being driven.
pub(crate) struct Driver {
    store: Arc<dyn Store>,
    guards: RwLock<Arc<Vec<HostedGuard>>>,
    archive: Archive,
    providers: BTreeMap<String, HostedProvider>,
    metrics: Arc<Metrics>,
    /// How long a scan may wait for a place.
    patience: Duration,
    live: Mutex<HashMap<RunId, Slot>>,
    slots: AtomicU64,
    stopping: AtomicBool,
    recovering: Arc<Semaphore>,
    /// Runs that were handed to this host and are not going on yet, each with whether it was handed out once more meanwhile.
    handed: Mutex<HashMap<RunId, bool>>,
    /// Why the last commit was not taken, and when.
    unwritten: Mutex<Option<(Instant, StoreError)>>,
}

/// A run that is being driven.
struct Slot {
    number: u64,
    stand: watch::Receiver<Stand>,
    abort: AbortHandle,
    unborn: Arc<Unborn>,
}

/// Whether the first commit of a new run is still to begin. Its driver and a caller who will not wait any longer both ask for this, and one of them
/// gets it: a run of which a client was told that it was not begun must not go on behind its back.
struct Unborn(AtomicBool);

impl Unborn {
    /// Whether it is the caller's to decide that the run begins, or that it never existed.
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// What those who wait for a run are told.
#[derive(Clone, Debug)]
enum Stand {
    /// It is not in the store yet.
    Unborn,
    /// It is durable, and goes on.
    Going,
    /// It is paused or over.
    Rests(Arc<Run>),
    /// It could not go on, and is not tried again here.
    Failed(Trouble),
}

/// Why a driver had to let go of a run.
#[derive(Clone, Debug, thiserror::Error)]
enum Trouble {
    /// Someone else moved the run.
    #[error("someone else moved the run")]
    Overtaken,
    /// The same request came before, and made a run.
    #[error("a request with this key came before")]
    Earlier(Earlier),
    /// No place for a scan became free in time.
    #[error("no place for a scan became free in time")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault in this program.
    #[error("the run refused what the driver told it")]
    Broken,
}

impl From<CommitError> for Trouble {
    fn from(error: CommitError) -> Trouble {
        match error {
            CommitError::Conflict => Trouble::Overtaken,
            CommitError::Earlier(earlier) => Trouble::Earlier(earlier),
            CommitError::Store(error) => Trouble::Store(error),
        }
    }
}

/// What a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The run is in the store.
    Durable,
    /// It is paused or over.
    Rest,
}

/// A place from which to watch a run. Whoever started it also drives it for as long as it waits here.
pub(crate) struct Watch {
    stand: watch::Receiver<Stand>,
    work: Option<Detached<Result<(), Aborted>>>,
}

/// What became of waiting.
pub(crate) enum Waited {
    /// The run as it rests now.
    Rests(Arc<Run>),
    /// It is in the store, and perhaps not driven any more.
    Stored,
    /// There is no such run: the same request came before.
    Earlier(Earlier),
}

impl Watch {
    /// Waits.
    pub(crate) async fn wait(self, until: Until) -> Result<Waited, AppError> {
        let enough = |stand: &Stand| match stand {
            Stand::Unborn => false,
            Stand::Going => until == Until::Durable,
            Stand::Rests(_) | Stand::Failed(_) => true,
        };
        let Watch { mut stand, work } = self;
        let mut told = pin!(stand.wait_for(enough).map(|it| it.map(|it| it.clone())));
        let early = match work {
            None => None,
            Some(work) => match select(work, &mut told).await {
                Either::Left(_) => None,
                Either::Right((told, _)) => Some(told),
            },
        };
        let stand = match early {
            Some(stand) => stand,
            None => told.await,
        };
        match stand {
            Ok(Stand::Rests(run)) => Ok(Waited::Rests(run)),
            Ok(Stand::Failed(Trouble::Earlier(earlier))) => Ok(Waited::Earlier(earlier)),
            Ok(Stand::Failed(Trouble::Store(error))) => Err(AppError::Store(error)),
            Ok(Stand::Failed(Trouble::Busy)) => Err(AppError::Busy),
            Ok(Stand::Failed(Trouble::Broken)) => Err(AppError::Broken),
            Ok(Stand::Failed(Trouble::Overtaken) | Stand::Going | Stand::Unborn) | Err(_) => Ok(Waited::Stored),
        }
    }
}

impl Driver {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        guards: Vec<HostedGuard>,
        archive: Archive,
        providers: BTreeMap<String, HostedProvider>,
        metrics: Arc<Metrics>,
        patience: Duration,
    ) -> Driver {
        clock::follow(store.clock_offset());
        Driver {
            store,
            guards: RwLock::new(Arc::new(guards)),
            archive,
            providers,
            metrics,
            patience,
            live: Mutex::default(),
            slots: AtomicU64::default(),
            stopping: AtomicBool::new(false),
            recovering: Arc::new(Semaphore::new(RECOVER_AT_ONCE)),
            handed: Mutex::default(),
            unwritten: Mutex::default(),
        }
    }

    /// Those of now: they may be replaced at any time.
    pub(crate) fn guards(&self) -> Arc<Vec<HostedGuard>> {
        self.guards.read().expect("nothing panics while it holds this lock").clone()
    }

    /// From now on these judge; runs that began with others get theirs from the archive.
    pub(crate) fn replace_guards(&self, guards: Vec<HostedGuard>) {
        *self.guards.write().expect("nothing panics while it holds this lock") = Arc::new(guards);
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Drives `run` until it rests, whether anybody waits for it or not.
    pub(crate) fn start(self: &Arc<Self>, run: Run) -> Watch {
        self.start_for(run, None)
    }

    /// The same for a new run, whose first commit also keeps the request that asked for it.
    pub(crate) fn start_for(self: &Arc<Self>, run: Run, request: Option<RequestKey>) -> Watch {
        let (id, number) = (run.id(), self.slots.fetch_add(1, Ordering::Relaxed));
        let (tell, stand) = watch::channel(if run.version() == 0 { Stand::Unborn } else { Stand::Going });
        let mut live = self.live();
        let unborn = Arc::new(Unborn(AtomicBool::new(run.version() == 0)));
        let leave = Leave { driver: self.clone(), id, number };
        let (driver, birth) = (self.clone(), unborn.clone());
        let (work, abort) = abortable(async move {
            let _leave = leave;
            driver.drive_to_rest(run, request, &tell, &birth).await;
        });
        // A driver that has just come to rest may still be in here: this one follows it.
        live.insert(id, Slot { number, stand: stand.clone(), abort, unborn });
        Watch { stand, work: Some(Detached::new(work)) }
    }

    /// A run that is being driven here.
    pub(crate) fn watch(&self, id: RunId) -> Option<Watch> {
        self.live().get(&id).map(|slot| Watch { stand: slot.stand.clone(), work: None })
    }

    /// Lets go of a run that was moved elsewhere, so that nobody is asked for nothing.
    pub(crate) fn let_go(&self, id: RunId) {
        let slot = self.live().remove(&id);
        if let Some(slot) = slot {
            slot.abort.abort();
        }
    }

    /// Whether there will never be such a run: it was new, and its first commit had not begun.
    pub(crate) fn give_up(&self, id: RunId) -> bool {
        let given_up = self.live().get(&id).is_some_and(|slot| slot.unborn.take());
        if given_up {
            self.let_go(id);
        }
        given_up
    }

    /// Commits what has happened to `run`.
    pub(crate) async fn commit(&self, run: &mut Run) -> Result<(), CommitError> {
        self.commit_for(run, None).await
    }

    /// The same, and keeps the request that led to it.
    pub(crate) async fn commit_for(&self, run: &mut Run, request: Option<RequestKey>) -> Result<(), CommitError> {
        let commit = Commit { request, ..run.commit() };
        self.write(run, commit).await
    }

    async fn write(&self, run: &Run, commit: Commit) -> Result<(), CommitError> {
        let begun = Instant::now();
        let end = match commit.checkpoint.version {
            1 => self.store.run_create(commit).await,
            _ => self.store.run_commit(commit).await,
        };
        self.note_write(&end);
        end?;
        self.metrics.committed(run.status(), begun.elapsed());
        Ok(())
    }

    fn note_write(&self, end: &Result<(), CommitError>) {
        let failure = match end {
            // That one says nothing about others.
            Err(CommitError::Store(StoreError::Refused(_)) | CommitError::Conflict | CommitError::Earlier(_)) => return,
            Err(CommitError::Store(error)) => Some((Instant::now(), error.clone())),
            Ok(()) => None,
        };
        *self.unwritten.lock().expect("nothing panics while it holds this lock") = failure;
    }

    /// Whether the store takes what is written to it. After a while it may be asked again: where nobody sends anything, nobody finds out.
    pub(crate) fn writes(&self) -> Result<(), StoreError> {
        let failure = self.unwritten.lock().expect("nothing panics while it holds this lock");
        match &*failure {
            Some((when, error)) if when.elapsed() < UNWRITTEN => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// The same, as often as it takes: what a run that has begun has learned (what the model said, which costs money) is thrown away
    /// for no full disk.
    async fn keep(&self, run: &mut Run) -> Result<(), Trouble> {
        let (mut pause, mut end) = (RETRY.0, self.commit(run).await);
        while let Err(CommitError::Store(error)) = end {
            tracing::warn!(run = %run.id(), %error, "what happened to a run could not be kept; tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
            end = match self.write(run, run.commit_again()).await {
                Err(CommitError::Conflict) => self.is_kept(run).await,
                other => other,
            };
        }
        Ok(end?)
    }

    /// Whether a commit whose end nobody knows was written after all.
    async fn is_kept(&self, run: &Run) -> Result<(), CommitError> {
        let stored = self.store.run_fetch(run.id()).await?;
        if stored.as_ref() == Some(run) { Ok(()) } else { Err(CommitError::Conflict) }
    }

    /// Takes no new runs, lets those that are driven finish for `drain`, and cuts off the rest: they go on at the next start.
    pub(crate) async fn stop(&self, drain: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        let until = Instant::now() + drain;
        while !self.live().is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left: Vec<Slot> = self.live().drain().map(|(_, slot)| slot).collect();
        left.iter().for_each(|slot| slot.abort.abort());
        if !left.is_empty() {
            tracing::warn!(runs = left.len(), "stopped while runs were going on; they go on at the next start, or on another host");
        }
        // Commits of what was cut off may still be waiting: those are refused once this host has left, as if it had crashed.
        if let Err(error) = self.store.leave().await {
            tracing::warn!(%error, "the other hosts could not be told that this one stops; they take over when they miss it");
        }
    }

    /// Takes up what a dead host left behind, ends questions that nobody has answered in time, and forgets guards that no run needs, for ever.
    pub(crate) async fn tend(self: Arc<Self>) {
        // Side by side: what is taken up may wait for its model for hours.
        tokio::join!(self.recover(), self.end_expired(), self.forget_guards(), self.forget_requests(), self.follow_clock());
    }

    /// Goes by the clock that all hosts of the store share.
    async fn follow_clock(&self) {
        loop {
            clock::follow(self.store.clock_offset());
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// See [`aegis_store::Hosts::run_moved`].
    pub(crate) fn moved(&self, id: RunId) -> BoxFuture<'static, ()> {
        self.store.run_moved(id)
    }

    fn live(&self) -> MutexGuard<'_, HashMap<RunId, Slot>> {
        self.live.lock().expect("nothing panics while it holds this lock")
    }
}

/// Takes a run out of the list when its driver ends, also when it was cut off.
struct Leave {
    driver: Arc<Driver>,
    id: RunId,
    number: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut live = self.driver.live();
        if live.get(&self.id).is_some_and(|slot| slot.number == self.number) {
            live.remove(&self.id);
        }
    }
}

/// One run.
impl Driver {
    async fn drive_to_rest(&self, run: Run, request: Option<RequestKey>, tell: &watch::Sender<Stand>, unborn: &Unborn) {
        let id = run.id();
        let end = match self.drive(run, request, tell, unborn).await {
            Ok(run) => Stand::Rests(Arc::new(run)),
            Err(trouble) => {
                if !matches!(trouble, Trouble::Overtaken | Trouble::Earlier(_)) {
                    tracing::warn!(run = %id, error = %trouble, "a run could not go on");
                }
                Stand::Failed(trouble)
            }
        };
        tell.send_replace(end);
    }

    /// One loop for a new run, for one that goes on after an approval, and for one that was taken up.
    async fn drive(
        &self,
        mut run: Run,
        mut request: Option<RequestKey>,
        tell: &watch::Sender<Stand>,
        unborn: &Unborn,
    ) -> Result<Run, Trouble> {
        loop {
            if run.must_be_durable() {
                match run.version() {
                    0 if !unborn.take() => return Err(Trouble::Overtaken),
                    0 => self.commit_for(&mut run, request.take()).await?,
                    _ => self.keep(&mut run).await?,
                }
            }
            if run.version() > 0 {
                tell.send_if_modified(|stand| !matches!(std::mem::replace(stand, Stand::Going), Stand::Going));
            }
            let want = run.wants();
            let earliest = if let Want::Wait(until) = want { until } else { Time(0) };
            let event = match self.perform(want).await {
                // Taken up again from its last commit it would have lost what the model said since.
                Err(Trouble::Busy) if run.version() > 0 => continue,
                Err(Trouble::Store(error)) if run.version() > 0 => {
                    tracing::warn!(run = %run.id(), %error, "a guard that a run needs could not be read; tried again");
                    tokio::time::sleep(RETRY.0).await;
                    continue;
                }
                other => other?,
            };
            let Some(event) = event else { return Ok(run) };
            // A wait that is over is over, wherever the clock was set meanwhile.
            if run.handle(event, clock::now().max(earliest)).is_err() {
                return Err(Trouble::Broken);
            }
        }
    }

    /// What came of what the run wants; nothing when it rests.
    async fn perform(&self, want: Want<'_>) -> Result<Option<Event>, Trouble> {
        match want {
            Want::Guard(input) => self.ask_guard(input).await.map(Some),
            Want::Provider(call) => Ok(Some(self.ask_provider(call).await)),
            Want::Wait(until) => Ok(Some(wait(until, clock::now).await)),
            Want::Approval(_) | Want::Nothing(_) => Ok(None),
        }
    }

    async fn ask_guard(&self, input: Input<'_>) -> Result<Event, Trouble> {
        let current = HostedGuard::meant(&self.guards(), input.guard).map(|it| it.loaded.clone());
        let earlier = if current.is_none() { self.archive.find(input.guard).await? } else { None };
        let Some(guard) = current.or(earlier) else {
            return Ok(Event::Lost(Missing::Guard(input.guard.name.clone())));
        };
        let begun = Instant::now();
        let patience = self.patience.saturating_add(guard.limits().scan_ceiling());
        let result = tokio::time::timeout(patience, guard.scan(&input)).await.map_err(|_| Trouble::Busy)?;
        self.metrics.scanned(&input.guard.name, result.as_ref().err(), begun.elapsed());
        if let Err(failure) = &result {
            tracing::warn!(run = %input.run, guard = input.guard.name, stage = input.stage.name(), kind = failure.kind().name(), "a guard failed");
        }
        Ok(Event::Judged { step: input.step, result })
    }

    async fn ask_provider(&self, call: Call<'_>) -> Event {
        let Some(provider) = self.providers.get(call.provider) else {
            return Event::Lost(Missing::Provider(call.provider.into()));
        };
        if call.provider_is.is_some_and(|planned| planned != provider.identity) {
            return Event::Lost(Missing::OtherProvider(call.provider.into()));
        }
        let key = call.idempotency_key.to_string();
        let request =
            ProviderRequest { model: call.model, messages: call.messages, tools: call.tools, params: call.params, idempotency_key: &key };
        let result = provider.provider.complete(&request).await.map_err(|error| failure(error, call.idempotency_key, call.attempt));
        let word = match &result {
            Ok(_) => "answered",
            Err(ProviderFailure::Transient { .. }) => "transient",
            Err(ProviderFailure::Permanent { .. }) => "permanent",
        };
        self.metrics.called(call.provider, word);
        Event::Answered { step: call.step, result }
    }
}

/// What nobody asked for.
impl Driver {
    async fn recover(self: &Arc<Self>) {
        loop {
            match self.store.run_claim(RECOVER_AT_ONCE).await {
                // Where hosts share the store, another one may die at any time.
                Ok(ids) if ids.is_empty() => self.store.orphaned().await,
                Ok(ids) => {
                    tracing::info!(runs = ids.len(), "taking up runs that no host is at work on");
                    self.recover_these(ids).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "runs that no host is at work on could not be taken up; tried again");
                    tokio::time::sleep(RETRY.0).await;
                }
            }
        }
    }

    async fn recover_these(self: &Arc<Self>, ids: Vec<RunId>) {
        for id in ids {
            if self.is_handed_again(id) {
                continue;
            }
            let driven = self.watch(id).is_some();
            let permit = if driven { None } else { Some(self.recovering.clone().acquire_owned().await.expect("nobody closes it")) };
            tokio::spawn(self.clone().recover_handed(id, permit));
        }
    }

    /// Whether it was handed out before, and is still being looked after.
    fn is_handed_again(&self, id: RunId) -> bool {
        let mut handed = self.handed.lock().expect("nothing panics while it holds this lock");
        match handed.entry(id) {
            Entry::Occupied(mut before) => {
                before.insert(true);
                true
            }
            Entry::Vacant(first) => *first.insert(false),
        }
    }

    /// Whether that has ended: it was not handed out once more meanwhile.
    fn is_done_with(&self, id: RunId) -> bool {
        let mut handed = self.handed.lock().expect("nothing panics while it holds this lock");
        match handed.remove(&id) {
            Some(true) => handed.insert(id, false).is_some(),
            _ => true,
        }
    }

    /// One at a time for each run, or it would be driven twice at once.
    async fn recover_handed(self: Arc<Self>, id: RunId, mut permit: Option<OwnedSemaphorePermit>) {
        loop {
            if !self.rests_where_it_is_driven(id).await && !self.is_stopping() {
                let held = match permit.take() {
                    Some(it) => it,
                    None => self.recovering.clone().acquire_owned().await.expect("nobody closes it"),
                };
                self.recover_one(id).await;
                drop(held);
            }
            if self.is_done_with(id) {
                return;
            }
        }
    }

    /// What this host drives it drives on, whoever was told that it was dead. But a commit that began before it took its next seat may still be
    /// refused; then nobody drives the run any more, and nobody else will be told of it.
    async fn rests_where_it_is_driven(&self, id: RunId) -> bool {
        let Some(watch) = self.watch(id) else { return false };
        matches!(watch.wait(Until::Rest).await, Ok(Waited::Rests(_)))
    }

    async fn recover_one(self: &Arc<Self>, id: RunId) {
        let mut pause = RETRY.0;
        let run = loop {
            match self.take_up(id).await {
                Ok(run) => break run,
                // What cannot be read will not become readable: it stays for whoever mends the store.
                Err(error @ (StoreError::Damaged(_) | StoreError::Newer { .. })) => {
                    tracing::error!(run = %id, %error, "a run cannot be taken up");
                    break None;
                }
                Err(error) => tracing::warn!(run = %id, %error, "a run could not be taken up; tried again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        };
        if let Some(run) = run {
            let _ = self.start(run).wait(Until::Rest).await;
        }
    }

    /// An unfinished run as it was committed last, ready to be driven. Whether a call was made that it has no answer for,
    /// nobody knows; the core decides what follows.
    async fn take_up(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let Some(mut run) = self.store.run_fetch_mine(id).await? else { return Ok(None) };
        if matches!(run.phase(), Phase::Calling { .. }) && run.handle(Event::Interrupted, clock::now()).is_err() {
            return Ok(None);
        }
        Ok(Some(run).filter(|run| run.must_be_durable() || !rests(run)))
    }

    async fn forget_guards(&self) {
        loop {
            if let Err(error) = self.archive.sweep(&self.guards()).await {
                tracing::warn!(%error, "guards that no run needs could not be forgotten; tried again");
            }
            tokio::time::sleep(FORGET).await;
        }
    }

    async fn end_expired(&self) {
        let mut unreadable = BTreeSet::new();
        loop {
            if let Err(error) = self.expire(&mut unreadable).await {
                tracing::warn!(%error, "expired questions could not be ended; tried again");
            }
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// In small steps: a backlog must not keep runs from the disk.
    async fn forget_requests(&self) {
        loop {
            match self.store.request_forget(clock::now(), FORGET_AT_ONCE).await {
                Ok(FORGET_AT_ONCE..) => tokio::time::sleep(SWEEP).await,
                Ok(_) => tokio::time::sleep(FORGET_REQUESTS).await,
                Err(error) => {
                    tracing::warn!(%error, "requests whose time is over could not be forgotten; tried again");
                    tokio::time::sleep(FORGET_REQUESTS).await;
                }
            }
        }
    }

    /// `unreadable` are those that were found to be damaged before: however many they are, they keep no other open.
    async fn expire(&self, unreadable: &mut BTreeSet<RunId>) -> Result<(), StoreError> {
        for id in self.store.run_due(clock::now(), EXPIRE_AT_ONCE + unreadable.len()).await? {
            if unreadable.contains(&id) {
                continue;
            }
            let mut run = match self.store.run_fetch(id).await {
                Ok(Some(run)) => run,
                Ok(None) => continue,
                // What cannot be read will not become readable: it stays for whoever mends the store.
                Err(error @ (StoreError::Damaged(_) | StoreError::Newer { .. })) => {
                    tracing::error!(run = %id, %error, "an expired question cannot be ended");
                    unreadable.insert(id);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(run = %id, %error, "an expired question could not be ended; tried again");
                    continue;
                }
            };
            if run.handle(Event::TimePassed, clock::now()).is_err() {
                continue; // Somebody has decided meanwhile.
            }
            match self.commit(&mut run).await {
                Ok(()) | Err(CommitError::Conflict | CommitError::Earlier(_)) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether it is paused or over.
pub(crate) fn rests(run: &Run) -> bool {
    matches!(run.wants(), Want::Approval(_) | Want::Nothing(_))
}

/// Until the clock on the wall says so. Somebody may set that meanwhile: what was left at first is waited for by the machine's own clock, and no longer.
async fn wait(until: Time, now: impl Fn() -> Time) -> Event {
    let left = || Duration::from_millis(until.0.saturating_sub(now().0));
    let latest = Instant::now().checked_add(left());
    loop {
        let by_machine = latest.map(|it| it.saturating_duration_since(Instant::now()));
        let pause = left().min(by_machine.unwrap_or(Duration::MAX));
        if pause.is_zero() {
            return Event::TimePassed;
        }
        tokio::time::sleep(pause.min(Duration::from_secs(1))).await;
    }
}

fn failure(error: ProviderError, run: RunId, attempt: u32) -> ProviderFailure {
    tracing::warn!(%run, attempt, %error, "the provider failed");
    match error {
        ProviderError::Permanent { message } => ProviderFailure::Permanent { message },
        ProviderError::Transient { message, retry_after } => {
            let retry_after = retry_after.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
            let jitter = u16::from_le_bytes(clock::random()) % 501;
            ProviderFailure::Transient { message, retry_after, jitter }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// What the clock says at first, then at every later look; how long is waited until 1 000 000.
    async fn waited(first: u64, then: u64) -> Duration {
        let (begun, said) = (Instant::now(), Cell::new(first));
        wait(Time(1_000_000), || Time(said.replace(then))).await;
        begun.elapsed()
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_prolongs_no_pause_and_one_that_is_set_forward_ends_it() {
        let back = waited(999_600, 5).await;
        assert!((Duration::from_millis(390)..Duration::from_secs(5)).contains(&back), "{back:?}");
        let forward = waited(5, 2_000_000).await;
        assert!(forward < Duration::from_millis(300), "{forward:?}");
        assert!(waited(2_000_000, 2_000_000).await < Duration::from_millis(300), "it was over before");
    }
}
