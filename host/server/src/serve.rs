//! Listens and serves. HTTP/1.1 alone: its limits are few and known, and HTTP/2 belongs to whatever ends TLS in front of this.

use crate::api;
use crate::app::App;
use crate::places::{Patient, Places, Seat, Taking};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::Service;

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

    /// Takes nothing new, lets what runs finish, and comes back within `server.drain` and a little more. What could not finish goes on
    /// at the next start. Whoever asks meanwhile is told to try elsewhere (503) rather than left before a closed door, and may still fetch.
    pub async fn shutdown(self) {
        self.tending.abort();
        self.app.stop().await;
        let _ = self.stop.send(());
        let Ok(connections) = self.accepting.await else { return };
        // Idle connections end at once; the others when their answer is out.
        if tokio::time::timeout(FAREWELL, connections.shutdown()).await.is_err() {
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
    let places = Places::new(app.settings().max_connections);
    let router = api::router(app.clone());
    loop {
        let next = async {
            let (stream, peer) = listener.accept().await?;
            io::Result::Ok((stream, places.take(peer).await))
        };
        tokio::select! {
            _ = &mut stopped => return connections,
            accepted = next => match accepted {
                Ok((stream, place)) => serve(stream, place, &app, &router, &connections),
                // Out of file descriptors, or the client is gone already: neither may end the server.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    places.clear();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

fn serve(stream: TcpStream, place: Taking, app: &Arc<App>, router: &Router, connections: &GracefulShutdown) {
    let _ = stream.set_nodelay(true);
    let (router, seat) = (router.clone(), place.seat().clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.settings().header_timeout)
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        .serve_connection(
            TokioIo::new(Patient::new(stream, app.settings().body_timeout)),
            service_fn(move |request| answer(router.clone(), seat.clone(), request)),
        );
    let (connection, metrics) = (connections.watch(connection), app.metrics().clone());
    metrics.connected();
    tokio::spawn(async move {
        tokio::select! {
            // A client that goes away, is too slow or sends no HTTP is no fault of the server.
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            },
            () = place.seat().lost() => tracing::debug!("a connection made room for another"),
        }
        metrics.disconnected();
        drop(place);
    });
}

async fn answer(mut router: Router, seat: Arc<Seat>, mut request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
    seat.works();
    request.extensions_mut().insert(seat.clone());
    let answer = router.call(Request::from(request.map(Body::new))).await;
    seat.waits();
    answer
}
