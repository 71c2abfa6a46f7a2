//! Connections: by TLS where the server has it, one by one or from a small pool, to whichever node of a cluster takes writes. Nothing here waits for ever,
//! and every statement is sent unprepared, so that a pooler in transaction mode may hand the next one to another session.

use super::address::{Address, Node};
use super::failed;
use crate::StoreError;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::future::Future;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Connection, Row, Socket};
use tokio_rustls::TlsConnector;

/// For a connection to come about, and for a statement to be answered: whoever takes longer is not there.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// How long a node has to answer before the next one is asked as well.
const HEAD_START: Duration = Duration::from_millis(500);
/// And once all were asked and one has said no: from then on that one may have become what is looked for.
const LAST_CALL: Duration = Duration::from_secs(2);
/// A database that is away for longer is said to be so to those who wait: a standby takes over within this.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a lock is waited for that somebody else holds, which only another program does for longer than a moment: by who writes one row by one
/// statement, and by who holds a seat meanwhile.
pub(super) const LOCK: Duration = Duration::from_secs(3);
pub(super) const LOCK_AT_SEAT: Duration = Duration::from_secs(1);
/// Between two attempts: first, and at most.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Connections for reading. With the writer's, the heart's and the listener's a host has three more.
const READERS: usize = 8;

/// A parameter and its type: nothing is looked up.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);
/// A connection that does nothing unless it is polled.
pub(super) type Line = Connection<Socket, TlsOver<Socket>>;

/// Where the database is.
#[derive(Clone)]
pub(super) struct Connector {
    nodes: Arc<[Node]>,
    tls: Tls,
    believed: Arc<Mutex<Believed>>,
}

/// Which node takes writes, as far as is known.
#[derive(Clone, Copy, Default)]
struct Believed {
    /// It is asked before the others: it gave the last connection.
    node: usize,
    /// How often that has changed, or a connection was found to be of no use any more.
    era: usize,
}

/// A connection that is driven by a task of its own.
pub(super) struct Session {
    client: Client,
    era: usize,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Connector {
    pub(super) fn new(url: &str) -> Result<Connector, StoreError> {
        let Address { nodes, authority } = Address::parse(url)?;
        Ok(Connector { nodes: nodes.into(), tls: Tls::new(authority.as_deref())?, believed: Arc::default() })
    }

    fn believed(&self) -> MutexGuard<'_, Believed> {
        self.believed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn era(&self) -> usize {
        self.believed().era
    }

    pub(super) async fn connect(&self) -> Result<Session, StoreError> {
        let (client, connection) = self.open().await?;
        tokio::spawn(connection.map(drop));
        Ok(Session { client, era: self.era() })
    }

    /// Of the first node that gives one. One that is silent keeps nobody from the others, nor from trying them again.
    pub(super) async fn open(&self) -> Result<(Client, Line), StoreError> {
        let (first, count) = (self.believed().node, self.nodes.len());
        let mut others = (0..count).map(|n| (first + n) % count);
        let (mut asked, mut refusals) = (FuturesUnordered::new(), vec![]);
        loop {
            asked.extend(others.next().map(|n| self.ask(n).map(move |end| (n, end))));
            let pause = match (others.len(), refusals.is_empty()) {
                (1.., _) => HEAD_START,
                (0, true) => ANSWER,
                (0, false) => LAST_CALL,
            };
            match tokio::time::timeout(pause, asked.next()).await {
                Ok(Some((n, Ok(connected)))) => {
                    self.believe(n);
                    return Ok(connected);
                }
                Ok(Some((n, Err(why)))) => refusals.push((n, why)),
                Err(_) if others.len() > 0 => {}
                Ok(None) | Err(_) => return Err(self.refused(refusals)),
            }
        }
    }

    fn believe(&self, node: usize) {
        let mut believed = self.believed();
        if believed.node != node {
            *believed = Believed { node, era: believed.era + 1 };
        }
    }

    async fn ask(&self, n: usize) -> Result<(Client, Line), StoreError> {
        // The timeout of the settings ends with TCP's part of it.
        match tokio::time::timeout(ANSWER, self.nodes[n].config.connect(self.tls.clone())).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => Err(silent(ANSWER)),
        }
    }

    /// Each with its reason. As long as one of them may come back, all is not lost.
    fn refused(&self, mut refusals: Vec<(usize, StoreError)>) -> StoreError {
        if self.nodes.len() == 1 && !refusals.is_empty() {
            return refusals.remove(0).1;
        }
        let silent_ones = (0..self.nodes.len()).filter(|n| refusals.iter().all(|it| it.0 != *n));
        let silent_ones: Vec<usize> = silent_ones.collect();
        refusals.extend(silent_ones.into_iter().map(|n| (n, StoreError::Away("no answer".into()))));
        refusals.sort_by_key(|it| it.0);
        let why = |error: &StoreError| if let StoreError::Away(why) = error { why.clone() } else { error.to_string() };
        let all: Vec<String> = refusals.iter().map(|(n, error)| format!("{}: {}", self.nodes[*n].name, why(error))).collect();
        let for_good = refusals.iter().all(|it| matches!(it.1, StoreError::Place(_)));
        if for_good { StoreError::Place(all.join("; ")) } else { StoreError::Away(all.join("; ")) }
    }

    /// Nothing can be written by way of this connection any more: none of its time is used for reading, which may be of a node that others have left
    /// behind, and its node is asked last.
    pub(super) fn distrust(&self, session: &Session) {
        let mut believed = self.believed();
        if believed.era == session.era {
            *believed = Believed { node: (believed.node + 1) % self.nodes.len(), era: believed.era + 1 };
        }
    }
}

/// The database has not answered.
fn silent(time: Duration) -> StoreError {
    StoreError::Away(format!("it has not answered for {:.0} seconds", time.as_secs_f64()))
}

/// What `work` comes to, or that nobody has answered.
pub(super) async fn within<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    within_time(ANSWER, work).await
}

/// The same for who cannot wait for so long.
pub(super) async fn within_time<T>(time: Duration, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(time, work).await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(silent(time)),
    }
}

/// The begin of a transaction that waits no longer than `lock` for what somebody else holds. A host that falls silent in the middle lets go of its rows,
/// and what nobody waits for any more ends, rather than to go on holding them. Only within a transaction are settings safe from a pooler.
pub(super) fn begin(lock: Duration) -> String {
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = '2s'; \
        SET LOCAL client_connection_check_interval = '2s'",
        lock.as_millis()
    )
}

/// The rows of a statement that waits for no lock for longer than `lock`, in a transaction of its own. All of it is sent at once.
pub(super) async fn bounded(db: &Client, lock: Duration, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, tokio_postgres::Error> {
    let begin = begin(lock);
    // Where it fails this ends the transaction all the same.
    let (begun, rows, ended) = futures::join!(db.batch_execute(&begin), db.query_typed(sql, params), db.batch_execute("END"));
    begun?;
    let rows = rows?;
    ended.map(|()| rows)
}

/// Connections for whoever reads, or writes one row by one statement.
pub(super) struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Session>>,
    places: Semaphore,
}

/// One of them. It ends with whoever holds it, unless it is given back: somebody who is gone in the middle may have left a statement in it that still goes
/// on, or an open transaction.
pub(super) struct Lent<'a> {
    pool: &'a Pool,
    session: Session,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Pool {
        Pool { connector, idle: Mutex::default(), places: Semaphore::new(READERS) }
    }

    pub(super) async fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let Ok(place) = tokio::time::timeout(PATIENCE, self.places.acquire()).await else {
            return Err(StoreError::Away(format!("all {READERS} connections for reading were taken for {} seconds", PATIENCE.as_secs())));
        };
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = match std::iter::from_fn(idle).find(|it| self.is_of_use(it)) {
            Some(session) => session,
            None => self.connector.connect().await?,
        };
        Ok(Lent { pool: self, session, _place: place.expect("nobody closes it") })
    }

    fn is_of_use(&self, session: &Session) -> bool {
        !session.is_closed() && session.era == self.connector.era()
    }

    /// The rows of a statement that may be carried out twice: where the connection breaks, it is sent again.
    pub(super) async fn rows(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.patiently(sql, params, false).await
    }

    /// The same for one that locks rows.
    pub(super) async fn rows_locking(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.patiently(sql, params, true).await
    }

    async fn patiently(&self, sql: &str, params: &[Param<'_>], locks: bool) -> Result<Vec<Row>, StoreError> {
        let (until, mut pause) = (Instant::now() + PATIENCE, PAUSE.0);
        loop {
            let asked = match locks {
                true => self.rows_once(sql, params).await,
                false => self.once(async |db| db.query_typed(sql, params).await).await,
            };
            match asked {
                Err(StoreError::Away(_)) if Instant::now() < until => {}
                end => return end,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// The same for one that may not be carried out twice. Where the connection breaks, nobody knows whether it was.
    pub(super) async fn rows_once(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.once(async |db| bounded(db, LOCK, sql, params).await).await
    }

    /// The same for what is said only once there is a connection.
    pub(super) async fn once(
        &self,
        asked: impl AsyncFnOnce(&Client) -> Result<Vec<Row>, tokio_postgres::Error>,
    ) -> Result<Vec<Row>, StoreError> {
        let lent = self.lend().await?;
        let rows = within(asked(&lent)).await;
        if !matches!(rows, Err(StoreError::Away(_))) {
            lent.give_back();
        }
        rows
    }
}

impl Lent<'_> {
    /// It is over with what it was lent for.
    pub(super) fn give_back(self) {
        if self.pool.is_of_use(&self.session) {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.session);
        }
    }
}

impl Deref for Lent<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.session
    }
}

/// Servers are judged by one authority's certificates, or by the system's, or those in `SSL_CERT_FILE`, whenever TLS is spoken at all.
#[derive(Clone)]
struct Tls(Arc<ClientConfig>);

impl Tls {
    fn new(authority: Option<&Path>) -> Result<Tls, StoreError> {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions().expect("ring has all of them");
        let judged = match authority {
            Some(file) => versions.with_root_certificates(certificates(file)?),
            None => versions.with_platform_verifier().map_err(|_| StoreError::Place("the system's certificates cannot be read".into()))?,
        };
        Ok(Tls(Arc::new(judged.with_no_client_auth())))
    }
}

/// Whoever names a device, or something else by mistake, is told so and not read to its end.
const CERTIFICATES: u64 = 1 << 20;

fn certificates(file: &Path) -> Result<RootCertStore, StoreError> {
    let unusable =
        |why: &dyn std::fmt::Display| StoreError::Place(format!("the file of sslrootcert, {}, cannot be used: {why}", file.display()));
    let (mut store, mut text) = (RootCertStore::empty(), vec![]);
    let read = std::fs::File::open(file).and_then(|it| it.take(CERTIFICATES + 1).read_to_end(&mut text));
    if read.map_err(|why| unusable(&why))? as u64 > CERTIFICATES {
        return Err(unusable(&"it is larger than 1 MiB"));
    }
    for found in CertificateDer::pem_slice_iter(&text) {
        store.add(found.map_err(|why| unusable(&why))?).map_err(|why| unusable(&why))?;
    }
    if store.is_empty() { Err(unusable(&"it holds no certificate")) } else { Ok(store) }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = TlsOver<S>;
    type TlsConnect = TlsTo;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<TlsTo, Self::Error> {
        // A socket in a folder, or a bare address, has none; then TLS does not come about, but plain connections do.
        let name = if host.is_empty() { None } else { Some(ServerName::try_from(host)?.to_owned()) };
        Ok(TlsTo { connector: self.0.clone().into(), name })
    }
}

/// A server by its name.
struct TlsTo {
    connector: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for TlsTo {
    type Stream = TlsOver<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TlsOver<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        async move {
            let name = self.name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
            Ok(TlsOver(Box::new(self.connector.connect(name, stream).await?)))
        }
        .boxed()
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
