//! Listens and serves. HTTP/1.1 alone: its limits are few and known, and HTTP/2 belongs to whatever ends TLS in front of this.

use crate::api;
use crate::app::App;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

/// Bytes of what is read ahead. A head that fills it without an end is refused; one whose end comes with the same read as the byte that fills
/// it passes, so that heads have 32 KiB at most.
const HEAD: usize = 16 * 1024;
/// Headers of a request.
const HEADERS: usize = 100;
/// For answers to get out after the last run was finished or cut off.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    pub error: io::Error,
}

impl ListenError {
    /// The code that users look it up by.
    pub fn code(&self) -> aegis_core::Code {
        aegis_core::Code::SRV_LISTEN
    }
}

/// A server that is listening.
pub struct Server {
    address: SocketAddr,
    app: Arc<App>,
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<GracefulShutdown>,
    tending: JoinHandle<()>,
}

impl Server {
    /// Listens on `address` (port 0: any that is free), serves, and takes up runs that an earlier process left behind.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(app: Arc<App>, address: SocketAddr) -> Result<Server, ListenError> {
        let refused = |error| ListenError { address, error };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (stop, stopped) = oneshot::channel();
        let accepting = tokio::spawn(accept(listener, app.clone(), stopped));
        let tending = tokio::spawn({
            let app = app.clone();
            async move { app.tend().await }
        });
        Ok(Server { address, app, stop, accepting, tending })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets what runs finish, and comes back within `server.drain` and a little more. What could not finish goes on
    /// at the next start.
    pub async fn shutdown(self) {
        let _ = self.stop.send(());
        let connections = self.accepting.await;
        self.tending.abort();
        let Ok(connections) = connections else { return };
        // Idle connections end at once; the others when their answer is out.
        let closing = tokio::spawn(connections.shutdown());
        self.app.stop().await;
        if tokio::time::timeout(FAREWELL, closing).await.is_err() {
            tracing::warn!("connections were still open at the end");
        }
    }
}

/// Comes back when the process is told to stop: SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be had.
pub async fn told_to_stop() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn accept(listener: TcpListener, app: Arc<App>, mut stopped: oneshot::Receiver<()>) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(app.settings().max_connections));
    let router = api::router(app.clone());
    loop {
        // Beyond the limit, connections wait in the system's queue.
        let next = async {
            let place = places.clone().acquire_owned().await.expect("nobody closes it");
            (listener.accept().await, place)
        };
        tokio::select! {
            _ = &mut stopped => return connections,
            (accepted, place) = next => match accepted {
                Ok((stream, _)) => serve(stream, place, &app, &router, &connections),
                // Out of file descriptors, or the client is gone already: neither may end the server.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

fn serve(stream: TcpStream, place: OwnedSemaphorePermit, app: &Arc<App>, router: &Router, connections: &GracefulShutdown) {
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router.clone());
    let stream = Patient { stream, patience: app.settings().body_timeout, stuck: None };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.settings().header_timeout)
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let (connection, metrics) = (connections.watch(connection), app.metrics().clone());
    metrics.connected();
    tokio::spawn(async move {
        // A client that goes away, is too slow or sends no HTTP is no fault of the server.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
        metrics.disconnected();
        drop(place);
    });
}

/// A connection that fails when its client takes nothing of an answer for `patience`: whoever never reads would keep its place for ever.
struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Rings for a write that waits.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn unless_stuck<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stuck.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stuck(cx, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.unless_stuck(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
