//! Work that is finished whether anybody waits for it or not.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// Whoever waits for it does it, so that no other thread has to be woken; once nobody waits any longer, it goes on in a task of its own.
/// A process that ends ends it, too.
pub(crate) struct Detached<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> Detached<T> {
    /// Begins when it is polled or dropped.
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Detached<T> {
        Detached(Some(work.boxed()))
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out: work that panics is not begun again when this is dropped.
        let mut work = self.0.take().expect("it is not polled after its end");
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_longer_is_finished_once() {
        for patience in [None, Some(Duration::ZERO), Some(Duration::from_millis(5))] {
            let (begun, go, done) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()), Arc::new(Notify::new()));
            let work = Detached::new({
                let (begun, go, done) = (begun.clone(), go.clone(), done.clone());
                async move {
                    begun.fetch_add(1, Ordering::Relaxed);
                    go.notified().await;
                    done.notify_one();
                }
            });
            match patience {
                None => drop(work),
                Some(patience) => assert!(tokio::time::timeout(patience, work).await.is_err()),
            }
            go.notify_one();
            tokio::time::timeout(Duration::from_secs(10), done.notified()).await.expect("it goes on by itself");
            assert_eq!(begun.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test]
    async fn work_that_panicked_is_not_begun_again() {
        let runs = Arc::new(AtomicU32::new(0));
        let work = Detached::new({
            let runs = runs.clone();
            async move {
                runs.fetch_add(1, Ordering::Relaxed);
                panic!("on purpose")
            }
        });
        let end: Result<(), _> = std::panic::AssertUnwindSafe(work).catch_unwind().await;
        assert!(end.is_err());
        tokio::task::yield_now().await;
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }
}
