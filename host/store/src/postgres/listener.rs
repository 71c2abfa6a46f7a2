//! Hears which runs have moved, on a connection of its own. Nobody relies on it: who waits for a run looks at it now and then in any case, and more
//! often where nothing can be heard, as behind a pooler in transaction mode.

use super::Lost;
use super::connect::{Connector, Line, PAUSE, Pool, within};
use crate::StoreError;
use aegis_core::RunId;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client};

/// Where hosts tell each other of a run, by its id.
pub(super) const CHANNEL: &str = "aegis_run";
/// What those have to look at who wait: one in so many runs.
const SHARDS: usize = 256;
/// How often a run is looked at, while moves are heard of and while they are not.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(250));
/// A word to oneself takes no longer, or does not come at all.
const ECHO: Duration = Duration::from_secs(2);
/// How often the connection is tried that hears nothing.
const TRY: Duration = Duration::from_secs(30);

/// Who waits for which runs.
pub(super) struct Moves {
    shards: Vec<Arc<Notify>>,
    hearing: AtomicBool,
}

impl Moves {
    pub(super) fn new() -> Moves {
        Moves { shards: (0..SHARDS).map(|_| Arc::default()).collect(), hearing: AtomicBool::new(false) }
    }

    /// See [`crate::Hosts::run_moved`].
    pub(super) fn of(&self, run: RunId) -> BoxFuture<'static, ()> {
        // From here on it is woken.
        let moved = self.shard(run).clone().notified_owned();
        let look = if self.hearing.load(Ordering::Relaxed) { LOOK.0 } else { LOOK.1 };
        tokio::time::timeout(look, moved).map(drop).boxed()
    }

    #[cfg(test)]
    pub(super) fn is_hearing(&self) -> bool {
        self.hearing.load(Ordering::Relaxed)
    }

    fn shard(&self, run: RunId) -> &Arc<Notify> {
        &self.shards[usize::from(run.as_bytes()[15])]
    }

    /// Listens for ever.
    pub(super) async fn hear(&self, connector: &Connector, pool: &Pool) {
        let (mut pause, mut lost) = (PAUSE.0, Lost::default());
        loop {
            match self.listen(connector, pool, &mut lost).await {
                Ok(Silent) => {
                    tracing::warn!(
                        "the database does not tell of runs that other hosts move (a pooler in transaction mode?): they are looked for four times a second"
                    );
                    tokio::time::sleep(TRY).await;
                }
                Err(error) => {
                    lost.missed("listener", &error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
            self.hearing.store(false, Ordering::Relaxed);
            // What moved meanwhile was not heard.
            self.shards.iter().for_each(|it| it.notify_waiters());
        }
    }

    /// Ends with an error when the connection does.
    async fn listen(&self, connector: &Connector, pool: &Pool, lost: &mut Lost) -> Result<Silent, StoreError> {
        let (client, connection) = connector.open().await?;
        let mut messages = std::pin::pin!(messages(connection));
        let asked = async {
            within(client.batch_execute(&format!("LISTEN {CHANNEL}"))).await?;
            pool.rows(&format!("SELECT pg_notify('{CHANNEL}'::text, ''::text)"), &[]).await
        };
        let mut asked = std::pin::pin!(asked.fuse());
        let (begun, mut hearing) = (Instant::now(), false);
        let mut look = tokio::time::interval(ECHO);
        loop {
            tokio::select! {
                sent = &mut asked => drop(sent?),
                heard = messages.next() => match heard {
                    Some(Ok(AsyncMessage::Notification(it))) if it.payload().is_empty() => {
                        lost.found("listener");
                        self.hearing.store(true, Ordering::Relaxed);
                        hearing = true;
                    }
                    Some(Ok(AsyncMessage::Notification(it))) => drop(RunId::from_str(it.payload()).map(|run| self.shard(run).notify_waiters())),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(super::failed(error)),
                    None => return Err(StoreError::Away("it has closed the connection".into())),
                },
                _ = look.tick() => {
                    if !hearing && begun.elapsed() > ECHO {
                        return Ok(Silent);
                    }
                }
            }
        }
    }
}

/// Nothing can be heard on this connection.
struct Silent;

fn messages(mut connection: Line) -> impl futures::Stream<Item = Result<AsyncMessage, tokio_postgres::Error>> {
    stream::poll_fn(move |context| connection.poll_message(context))
}

/// Tells the others that these have moved: of what is lost here they learn a moment later by themselves.
pub(super) async fn tell(db: &Client, runs: &[String]) {
    if !runs.is_empty() {
        let sql = format!("SELECT pg_notify('{CHANNEL}'::text, run) FROM pg_catalog.unnest($1::text[]) AS run");
        drop(within(db.execute_typed(&sql, &[(&runs, tokio_postgres::types::Type::TEXT_ARRAY)])).await);
    }
}
