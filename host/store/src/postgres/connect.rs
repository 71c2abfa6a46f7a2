//! Connections: by TLS where the server has it, one by one or from a small pool. Nothing here waits for ever, and every statement is sent unprepared,
//! so that a pooler in transaction mode may hand the next one to another session.

use super::failed;
use crate::StoreError;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Connection, Row, Socket};
use tokio_rustls::TlsConnector;

/// For a connection to come about, and for a statement to be answered: whoever takes longer is not there.
const CONNECT: Duration = Duration::from_secs(5);
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// Reads go on elsewhere for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts: first, and at most.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Connections for reading. With the writer's, the heart's and the listener's a host has three more.
const READERS: usize = 8;

/// A parameter and its type: nothing is looked up.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Where the database is.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: Tls,
}

impl Connector {
    pub(super) fn new(url: &str) -> Result<Connector, StoreError> {
        // The error names settings and never the password, which is no name.
        let mut config = Config::from_str(url).map_err(|error| {
            let why = std::error::Error::source(&error).map(|it| format!(": {it}")).unwrap_or_default();
            StoreError::Place(format!("the database's URL cannot be read{why}: write postgres://USER:PASSWORD@HOST:PORT/NAME"))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(StoreError::Place("the database's URL names no host: write postgres://USER:PASSWORD@HOST:PORT/NAME".into()));
        }
        if config.get_application_name().is_none() {
            config.application_name("aegis");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(ANSWER);
        }
        Ok(Connector { config, tls: Tls::new()? })
    }

    /// A connection that is driven by a task of its own.
    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        let (client, connection) = self.open().await?;
        tokio::spawn(connection.map(drop));
        Ok(client)
    }

    /// A connection that does nothing unless it is polled.
    pub(super) async fn open(&self) -> Result<(Client, Connection<Socket, TlsOver<Socket>>), StoreError> {
        // The timeout of the settings ends with TCP's part of it.
        match tokio::time::timeout(ANSWER, self.config.connect(self.tls.clone())).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => Err(silent()),
        }
    }
}

/// The database has not answered.
pub(super) fn silent() -> StoreError {
    StoreError::Away(format!("it has not answered for {} seconds", ANSWER.as_secs()))
}

/// What `work` comes to, or that nobody has answered.
pub(super) async fn within<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(ANSWER, work).await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(silent()),
    }
}

/// Connections for whoever reads, or writes one row by one statement.
pub(super) struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Client>>,
    places: Semaphore,
}

/// One of them, for as long as it is held.
pub(super) struct Lent<'a> {
    pool: &'a Pool,
    client: Option<Client>,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Pool {
        Pool { connector, idle: Mutex::default(), places: Semaphore::new(READERS) }
    }

    pub(super) async fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let place = self.places.acquire().await.expect("nobody closes it");
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut client = std::iter::from_fn(idle).find(|it| !it.is_closed());
        if client.is_none() {
            client = Some(self.connector.connect().await?);
        }
        Ok(Lent { pool: self, client, _place: place })
    }

    /// The rows of a statement that may be carried out twice: where the connection breaks, it is sent again.
    pub(super) async fn rows(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let (until, mut pause) = (Instant::now() + PATIENCE, PAUSE.0);
        loop {
            match self.rows_once(sql, params).await {
                Err(StoreError::Away(_)) if Instant::now() < until => {}
                end => return end,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// The same for one that may not. Where the connection breaks, nobody knows whether it was.
    pub(super) async fn rows_once(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let lent = self.lend().await?;
        let rows = within(lent.query_typed(sql, params)).await;
        if matches!(rows, Err(StoreError::Away(_))) {
            lent.throw_away();
        }
        rows
    }
}

impl Lent<'_> {
    /// It is of no use to the next one.
    pub(super) fn throw_away(mut self) {
        self.client = None;
    }
}

impl Deref for Lent<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().expect("it is there until it is given back")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take().filter(|it| !it.is_closed()) {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        }
    }
}

/// Servers are judged by the system's certificate authorities, or those in `SSL_CERT_FILE`, whenever TLS is spoken at all.
#[derive(Clone)]
struct Tls(Arc<ClientConfig>);

impl Tls {
    fn new() -> Result<Tls, StoreError> {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions().expect("ring has all of them");
        let judged = versions.with_platform_verifier().map_err(|_| StoreError::Place("the system's certificates cannot be read".into()))?;
        Ok(Tls(Arc::new(judged.with_no_client_auth())))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = TlsOver<S>;
    type TlsConnect = TlsTo;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<TlsTo, Self::Error> {
        Ok(TlsTo { connector: self.0.clone().into(), name: ServerName::try_from(host)?.to_owned() })
    }
}

/// A server by its name.
struct TlsTo {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for TlsTo {
    type Stream = TlsOver<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TlsOver<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        async move { Ok(TlsOver(Box::new(self.connector.connect(self.name, stream).await?))) }.boxed()
    }
}

/// A connection by TLS.
pub(super) struct TlsOver<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for TlsOver<S> {
    fn channel_binding(&self) -> ChannelBinding {
        // The certificate was checked, which says as much.
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsOver<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, to)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsOver<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
