//! The places that connections take. Whoever makes the server wait keeps a place only until somebody else needs it, and an answer that
//! nobody reads is not kept for ever. No HTTP in this file.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// One place in so many is cleared when none is left, so that looking for them costs each newcomer little.
const SHARE: usize = 64;
/// How soon the places are looked over again when all of them are at work.
const AGAIN: Duration = Duration::from_millis(20);
/// Bytes that a client has to take within `server.body_timeout`.
const LEAST: usize = 16 * 1024;
/// How often a shortage is worth a line in the log.
const TOLD: Duration = Duration::from_secs(10);

/// All places of a server.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    clock: Clock,
    share: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    seats: HashMap<u64, Arc<Seat>>,
    next: u64,
    told: Option<Instant>,
}

/// Milliseconds since the server began to listen, from 1.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX - 2) + 1
    }
}

/// One connection's place. It comes along with every request, so that whoever waits for the client can say so.
pub(crate) struct Seat {
    peer: IpAddr,
    clock: Clock,
    /// Since when the server waits for the client; [`AT_WORK`] or [`CLEARED`].
    waits: AtomicU64,
    cleared: Notify,
}

/// The client waits for the server.
const AT_WORK: u64 = 0;
/// Somebody else gets the place.
const CLEARED: u64 = u64::MAX;

/// Gives the place back when it is dropped.
pub(crate) struct Taking {
    places: Arc<Places>,
    number: u64,
    seat: Arc<Seat>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(count: usize) -> Arc<Places> {
        let free = Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Arc::new(Places { free, clock: Clock(Instant::now()), share: count.div_ceil(SHARE), taken: Mutex::default() })
    }

    /// A place for `peer`. When there is none, those whom the server has waited for longest lose theirs; when it waits for nobody, this
    /// waits.
    pub(crate) async fn take(self: &Arc<Self>, peer: SocketAddr) -> Taking {
        loop {
            if let Ok(permit) = self.free.clone().try_acquire_owned() {
                return self.seat(peer.ip(), permit);
            }
            self.clear();
            let permit = tokio::time::timeout(AGAIN, self.free.clone().acquire_owned()).await;
            if let Ok(permit) = permit {
                return self.seat(peer.ip(), permit.expect("nobody closes it"));
            }
        }
    }

    fn seat(self: &Arc<Self>, peer: IpAddr, permit: OwnedSemaphorePermit) -> Taking {
        let seat = Arc::new(Seat { peer, clock: self.clock, waits: AtomicU64::new(self.clock.now()), cleared: Notify::new() });
        let mut taken = self.taken();
        taken.next += 1;
        let number = taken.next;
        taken.seats.insert(number, seat.clone());
        Taking { places: self.clone(), number, seat, _permit: permit }
    }

    /// Takes the places of those whom the server has waited for longest.
    pub(crate) fn clear(&self) {
        let mut taken = self.taken();
        let mut waiting: Vec<(u64, &Arc<Seat>)> = taken.seats.values().filter_map(|seat| Some((seat.waits_since()?, seat))).collect();
        let share = self.share.min(waiting.len());
        if share == 0 {
            return;
        }
        waiting.select_nth_unstable_by_key(share - 1, |it| it.0);
        let cleared = waiting[..share].iter().filter(|(since, seat)| seat.clear(*since)).count();
        if taken.told.is_none_or(|it| it.elapsed() >= TOLD) {
            taken.told = Some(Instant::now());
            tracing::warn!(cleared, "no place was left for a connection: those that wait longest are closed");
        }
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().expect("nothing panics while it holds this lock")
    }
}

impl Taking {
    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.places.taken().seats.remove(&self.number);
    }
}

impl Seat {
    /// The address at the other end: that of a proxy, where there is one.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The client waits for the server from now on.
    pub(crate) fn works(&self) {
        self.waits.store(AT_WORK, Ordering::Relaxed);
    }

    /// The server waits for the client from now on.
    pub(crate) fn waits(&self) {
        self.waits.store(self.clock.now(), Ordering::Relaxed);
    }

    /// Comes back when somebody else gets this place. To be asked by the task that also calls [`Seat::works`]: a request that came in the
    /// same moment is answered.
    pub(crate) async fn lost(&self) {
        loop {
            self.cleared.notified().await;
            if self.waits.load(Ordering::Relaxed) == CLEARED {
                return;
            }
        }
    }

    fn waits_since(&self) -> Option<u64> {
        Some(self.waits.load(Ordering::Relaxed)).filter(|it| ![AT_WORK, CLEARED].contains(it))
    }

    fn clear(&self, since: u64) -> bool {
        let cleared = self.waits.compare_exchange(since, CLEARED, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if cleared {
            self.cleared.notify_one();
        }
        cleared
    }
}

/// A stream whose reader may be slow, but not for ever.
pub(crate) struct Patient<S> {
    inner: S,
    limit: Duration,
    /// While the reader is behind: when it has to have taken [`LEAST`], and how much it has taken.
    behind: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Patient<S> {
    pub(crate) fn new(inner: S, limit: Duration) -> Patient<S> {
        Patient { inner, limit, behind: None }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(bytes)), Some((_, taken))) = (&written, &mut self.behind) {
            *taken += bytes;
        }
        if written.is_ready() {
            return written;
        }
        loop {
            let (deadline, taken) = self.behind.get_or_insert_with(|| (Box::pin(tokio::time::sleep(self.limit)), 0));
            ready!(deadline.as_mut().poll(cx));
            if *taken < LEAST {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")));
            }
            self.behind = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(written, cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.wrote(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// Asked for when all of an answer is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.behind = None;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn peer() -> SocketAddr {
        "127.0.0.1:1".parse().unwrap()
    }

    #[tokio::test]
    async fn whoever_the_server_waits_for_longest_loses_its_place_to_a_newcomer() {
        let places = Places::new(3);
        let (at_work, first, second) = (places.take(peer()).await, places.take(peer()).await, places.take(peer()).await);
        at_work.seat().works();
        tokio::time::sleep(Duration::from_millis(5)).await;
        second.seat().waits();
        let (newcomer, ()) = tokio::join!(places.take(peer()), async {
            first.seat().lost().await;
            drop(first);
        });
        assert!(second.seat().waits_since().is_some() && at_work.seat().waits.load(Ordering::Relaxed) == AT_WORK);
        assert_eq!(places.taken().seats.len(), 3);
        drop((at_work, second, newcomer));
        assert_eq!((places.taken().seats.len(), places.free.available_permits()), (0, 3));
    }

    #[tokio::test]
    async fn a_request_that_comes_when_its_place_is_taken_is_answered() {
        let places = Places::new(1);
        let only = places.take(peer()).await;
        places.clear();
        only.seat().works();
        assert!(tokio::time::timeout(Duration::from_millis(20), only.seat().lost()).await.is_err());
        assert!(tokio::time::timeout(Duration::from_millis(50), places.take(peer())).await.is_err(), "it is at work");
    }

    /// Whether a reader that takes `piece` bytes every so many milliseconds gets all of an answer.
    async fn gets_all(every: u64, piece: usize) -> bool {
        let answer = vec![b'x'; 4 * LEAST];
        let (near, mut far) = tokio::io::duplex(1024);
        let reading = tokio::spawn(async move {
            let (mut bytes, mut got) = (vec![0; piece], 0);
            while far.read_exact(&mut bytes).await.is_ok() {
                got += piece;
                tokio::time::sleep(Duration::from_millis(every)).await;
            }
            got
        });
        let mut writer = Patient::new(near, Duration::from_millis(600));
        let written = writer.write_all(&answer).await.and(writer.flush().await);
        drop(writer);
        let got = reading.await.unwrap();
        assert!(written.is_err() || got == answer.len());
        written.is_ok()
    }

    #[tokio::test]
    async fn a_reader_may_be_slow_but_not_for_ever() {
        let (quick, slow, slower, dribbles) = tokio::join!(gets_all(0, 1024), gets_all(200, LEAST), gets_all(1300, LEAST), gets_all(1, 16));
        assert_eq!((quick, slow, slower, dribbles), (true, true, false, false));
    }
}
