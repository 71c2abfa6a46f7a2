//! Removes what has been kept long enough: the content of runs, then runs, then their lines in the ledger. In small steps, so that nobody
//! waits for it; what goes and what stays is the core's and the store's business.

use crate::clock;
use crate::config::RetentionSettings;
use crate::metrics::Metrics;
use aegis_core::Time;
use aegis_store::{Doomed, Store, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs and lines that one transaction removes, at most.
const RUNS: usize = 100;
const LINES: usize = 500;
/// Between two of them: the disk belongs to those who wait for it.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two rounds: at least, and at most.
const ROUND: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// So much further than it has run itself, the clock on the wall may have moved on.
const SET_FORWARD: Duration = Duration::from_secs(3600);

/// What keeps a store from growing for ever.
pub(crate) struct Retention {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    settings: RetentionSettings,
    begun: (Time, Instant),
}

impl Retention {
    pub(crate) fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, settings: RetentionSettings) -> Retention {
        Retention { store, metrics, settings, begun: (clock::now(), Instant::now()) }
    }

    /// Does so for ever; comes back at once when everything is kept.
    pub(crate) async fn tend(&self) {
        let RetentionSettings { content, completed, ledger } = self.settings;
        let Some(shortest) = [content, completed, ledger].into_iter().flatten().min() else { return };
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "what has been kept long enough could not be removed; tried again");
            }
            tokio::time::sleep((shortest / 20).clamp(ROUND.0, ROUND.1)).await;
        }
    }

    async fn round(&self) -> Result<(), StoreError> {
        let now = self.now();
        let before = |kept: Duration| Time(now.0.saturating_sub(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX)));
        // Runs first: what goes as a whole need not be emptied before.
        if let Some(ended_before) = self.settings.completed.map(before) {
            self.all(&Doomed::Runs { ended_before }, RUNS, "runs").await?;
        }
        if let Some(ended_before) = self.settings.content.map(before) {
            self.all(&Doomed::Content { ended_before }, RUNS, "content").await?;
        }
        if let Some(written_before) = self.settings.ledger.map(before) {
            self.all(&Doomed::Lines { written_before }, LINES, "lines").await?;
        }
        while self.store.shrink().await? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn all(&self, doomed: &Doomed, limit: usize, what: &'static str) -> Result<(), StoreError> {
        let mut count = 0;
        loop {
            let gone = self.store.remove(doomed, clock::now(), limit).await?.count;
            if gone == 0 {
                break;
            }
            self.metrics.removed(what, gone);
            count += gone;
            tokio::time::sleep(PAUSE).await;
        }
        if count > 0 {
            tracing::info!(what, count, "removed what has been kept long enough");
        }
        Ok(())
    }

    /// A clock that is set forward by mistake must not take everything with it.
    fn now(&self) -> Time {
        let (then, begun) = self.begun;
        let most = begun.elapsed().saturating_add(SET_FORWARD);
        clock::now().min(then.after(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::{Backoff, Event, OnUnknown, Plan, Principal, Request, Run, RunId, Stages};
    use aegis_store::{Memory, Runs as _, Upkeep as _};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A run that was over so long ago.
    async fn over(store: &Memory, ago: Duration) -> RunId {
        let plan = Plan {
            route: "default".into(),
            provider: "fake".into(),
            provider_is: None,
            model: String::new(),
            pipeline: Stages::default(),
            attempts: 1,
            backoff: Backoff::default(),
            on_unknown: OnUnknown::Retry,
        };
        let then = Time(clock::now().0 - ago.as_millis() as u64);
        let (id, who) = (RunId::new(then, clock::random()), Principal::anonymous());
        let mut run = Run::new(id, plan, Request::default(), who.clone(), false, [1; 32], then).expect("nobody has to approve");
        run.handle(Event::Cancelled { by: who }, then).expect("it is open");
        store.run_create(run.commit()).await.expect("a new run");
        id
    }

    fn retention(store: &Arc<Memory>) -> Retention {
        let settings = RetentionSettings { content: Some(7 * DAY), completed: Some(30 * DAY), ledger: Some(400 * DAY) };
        Retention::new(store.clone(), Arc::default(), settings)
    }

    #[tokio::test]
    async fn each_thing_goes_after_its_own_time() {
        let store = Arc::new(Memory::new());
        let (ancient, old) = (over(&store, 401 * DAY).await, over(&store, 31 * DAY).await);
        let (recent, new) = (over(&store, 8 * DAY).await, over(&store, 6 * DAY).await);
        let retention = retention(&store);
        retention.round().await.expect("memory does not fail");
        for (id, there) in [(ancient, None), (old, None), (recent, Some(false)), (new, Some(true))] {
            let run = store.run_fetch(id).await.expect("an answer");
            assert_eq!(run.map(|it| it.erased().is_none()), there, "{id}");
        }
        let lines = store.ledger_list(&Default::default(), 99).await.expect("lines");
        assert!(
            lines[0].n == 3 && String::from_utf8_lossy(&lines[0].entry).contains(&old.to_string()),
            "the first two were the ancient run's"
        );
        assert_eq!(store.check().await.expect("a report").faults, Vec::<String>::new());
        let counted = retention.metrics.encode(0);
        for it in ["{what=\"runs\"} 2", "{what=\"content\"} 1", "{what=\"lines\"} 2"] {
            assert!(counted.contains(&format!("aegis_removed_total{it}")), "{counted}");
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_set_forward_takes_nothing_with_it() {
        let store = Arc::new(Memory::new());
        let id = over(&store, 60 * DAY).await;
        let mut retention = retention(&store);
        // When this process began, that run was new; since then an hour has not passed, whatever the clock says.
        retention.begun.0 = Time(clock::now().0 - 60 * DAY.as_millis() as u64);
        retention.round().await.expect("memory does not fail");
        assert!(store.run_fetch(id).await.expect("an answer").is_some_and(|it| it.erased().is_none()));
        retention.begun.0 = clock::now();
        retention.round().await.expect("memory does not fail");
        assert_eq!(store.run_fetch(id).await, Ok(None));
    }

    #[tokio::test]
    async fn where_everything_is_kept_nothing_is_looked_for() {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let retention = Retention::new(store, Arc::default(), RetentionSettings::default());
        tokio::time::timeout(Duration::from_secs(10), retention.tend()).await.expect("it comes back at once");
    }
}
