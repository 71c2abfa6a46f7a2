//! Load over HTTP/1.1 with connections that stay open. It shares the processor with the server, so it does the least that
//! still looks at every answer: the status code, and that the run came to the status it should.

use futures::future::try_join_all;
use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is asked, again and again.
#[derive(Debug)]
pub enum Ask {
    /// A new run on this route with this message, which must come to this status.
    Create {
        /// A name from `bench/aegis.yaml`.
        route: &'static str,
        /// What the user says.
        text: String,
        /// Of the run in the answer.
        status: &'static str,
    },
    /// These runs, in turn.
    Fetch(Vec<String>),
    /// This path, by whoever has this key.
    Get {
        /// Of the server.
        path: &'static str,
        /// A bearer key.
        key: String,
    },
    /// To approve these, each once; when none is left, the load ends.
    Approve(RefCell<Vec<String>>),
}

/// When it is enough; whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Enough {
    /// So long.
    pub time: Duration,
    /// So many answers.
    pub answers: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Found {
    /// Answers, the wrong ones included.
    pub answers: usize,
    /// Answers with another status than they should have.
    pub wrong: usize,
    /// From the first question to the last answer.
    pub seconds: f64,
    /// In microseconds, sorted.
    latencies: Vec<u32>,
    first: Option<u32>,
    /// Questions, also those whose answer is on its way.
    asked: usize,
    /// Of the runs that were created.
    pub runs: Vec<String>,
}

impl Found {
    /// Right answers.
    pub fn per_second(&self) -> f64 {
        (self.answers - self.wrong) as f64 / self.seconds
    }

    /// Milliseconds that the first answer took; zero when there was none.
    pub fn first(&self) -> f64 {
        f64::from(self.first.unwrap_or(0)) / 1e3
    }

    /// Milliseconds within which this part of the answers came; zero when there were none.
    pub fn quantile(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1) as f64;
        self.latencies.get((last * part).round() as usize).map_or(0.0, |&it| f64::from(it) / 1e3)
    }
}

/// Asks over so many connections at once, which the servers share evenly.
///
/// # Errors
/// The server closed a connection, or said something that is no HTTP.
pub async fn load(servers: &[SocketAddr], connections: usize, ask: &Ask, enough: Enough) -> Result<Found> {
    let mut open = try_join_all(servers.iter().cycle().take(connections).map(|it| Connection::open(*it))).await?;
    let found = RefCell::new(Found::default());
    let begun = Instant::now();
    try_join_all(open.iter_mut().map(|it| it.work(ask, begun, enough, &found))).await?;
    let mut found = found.into_inner();
    found.seconds = begun.elapsed().as_secs_f64();
    found.latencies.sort_unstable();
    Ok(found)
}

/// Two hundred bytes, as people write them, beginning with `lead`.
pub fn message(lead: &str) -> String {
    const TEXT: &str = "Please go through the notes from Tuesday and tell me which of the open points still needs an owner. The service \
        answered in 38 ms on average, 12.5 percent faster than in the week before, and nobody knows why.";
    let mut text = format!("{lead}{TEXT}");
    text.truncate(200);
    text
}

struct Connection {
    stream: TcpStream,
    server: SocketAddr,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(server: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, server, buffer: Vec::with_capacity(16 << 10) })
    }

    async fn work(&mut self, ask: &Ask, begun: Instant, enough: Enough, found: &RefCell<Found>) -> Result<()> {
        let fixed = match ask {
            Ask::Create { route, text, .. } => Some(create(self.server, route, text)),
            Ask::Get { path, key } => Some(get(self.server, path, key)),
            Ask::Fetch(_) | Ask::Approve(_) => None,
        };
        while begun.elapsed() < enough.time && found.borrow().asked < enough.answers {
            let turn = found.borrow().asked;
            let Some(question) = fixed.as_deref().map(Cow::Borrowed).or_else(|| self.next(ask, turn).map(Cow::Owned)) else { break };
            found.borrow_mut().asked += 1;
            let asked = Instant::now();
            let (code, body) = self.answer(&question).await?;
            found.borrow_mut().take(ask, code, &self.buffer[body..], asked.elapsed());
        }
        Ok(())
    }

    fn next(&self, ask: &Ask, turn: usize) -> Option<Vec<u8>> {
        match ask {
            Ask::Create { .. } | Ask::Get { .. } => None,
            Ask::Fetch(runs) => Some(request(self.server, "GET", &format!("/v1/runs/{}", runs.get(turn % runs.len().max(1))?), "")),
            Ask::Approve(runs) => {
                let run = runs.borrow_mut().pop()?;
                Some(request(self.server, "POST", &format!("/v1/runs/{run}/resume"), r#"{"decision":"approved"}"#))
            }
        }
    }

    /// The status code, and where in the buffer the body begins.
    async fn answer(&mut self, question: &[u8]) -> Result<(u16, usize)> {
        self.stream.write_all(question).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            let Some(head) = find(&self.buffer, b"\r\n\r\n") else { continue };
            let (code, length) =
                read_head(&self.buffer[..head]).ok_or_else(|| Error::new(ErrorKind::InvalidData, "no HTTP with a length"))?;
            while self.buffer.len() < head + 4 + length {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(Error::new(ErrorKind::UnexpectedEof, "half an answer"));
                }
            }
            return Ok((code, head + 4));
        }
    }
}

impl Found {
    fn take(&mut self, ask: &Ask, code: u16, body: &[u8], took: Duration) {
        self.answers += 1;
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.first.get_or_insert(took);
        self.latencies.push(took);
        let status = match ask {
            Ask::Create { status, .. } => status,
            Ask::Approve(_) => "completed",
            Ask::Fetch(_) | Ask::Get { .. } => "",
        };
        if code != 200 || !says(body, status) {
            self.wrong += 1;
        } else if let Ask::Create { .. } = ask {
            self.runs.extend(run_id(body));
        }
    }
}

/// Any status will do where none is expected.
fn says(body: &[u8], status: &str) -> bool {
    status.is_empty() || find(body, format!(r#""status":"{status}""#).as_bytes()).is_some()
}

fn run_id(body: &[u8]) -> Option<String> {
    let field = br#""run_id":""#;
    let rest = &body[find(body, field)? + field.len()..];
    Some(String::from_utf8_lossy(&rest[..find(rest, b"\"")?]).into_owned())
}

fn create(server: SocketAddr, route: &str, text: &str) -> Vec<u8> {
    // The texts are ours: none has a quote, a backslash or a control character in it.
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"route":"{route}"}}"#);
    request(server, "POST", "/v1/runs", &body)
}

fn get(server: SocketAddr, path: &str, key: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nauthorization: Bearer {key}\r\n\r\n").into_bytes()
}

fn request(server: SocketAddr, method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: {server}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The status code and the length of the body.
fn read_head(head: &[u8]) -> Option<(u16, usize)> {
    let head = std::str::from_utf8(head).ok()?;
    let code = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    Some((code, length.trim().parse().ok()?))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|it| it == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that says this to everything.
    async fn says_always(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut question = [0; 4096];
                    while stream.read(&mut question).await.is_ok_and(|it| it > 0) {
                        // In two halves, as a network may hand them over.
                        let (first, second) = answer.split_at(answer.len() / 2);
                        stream.write_all(first.as_bytes()).await.unwrap();
                        tokio::task::yield_now().await;
                        stream.write_all(second.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        address
    }

    fn ask() -> Ask {
        Ask::Create { route: "default", text: "hello".into(), status: "completed" }
    }

    const ONCE: Enough = Enough { time: Duration::from_secs(20), answers: 10 };

    #[tokio::test]
    async fn right_answers_are_counted_and_their_runs_are_kept() {
        let server = says_always("HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{\"run_id\":\"r\",\"status\":\"completed\"}").await;
        let found = load(&[server], 1, &ask(), ONCE).await.unwrap();
        assert_eq!((found.answers, found.wrong, found.runs.len(), &*found.runs[0]), (10, 0, 10, "r"));
        assert!(found.per_second() > 0.0 && found.quantile(0.5) <= found.quantile(0.99), "{found:?}");
    }

    #[tokio::test]
    async fn another_code_or_another_status_is_wrong() {
        for answer in [
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 35\r\n\r\n{\"run_id\":\"r\",\"status\":\"completed\"}",
            "HTTP/1.1 200 OK\r\ncontent-length: 33\r\n\r\n{\"run_id\":\"r\",\"status\":\"blocked\"}",
        ] {
            let found = load(&[says_always(answer).await], 2, &ask(), ONCE).await.unwrap();
            assert!(found.answers == 10 && found.wrong == 10 && found.runs.is_empty(), "{found:?}");
        }
    }

    #[tokio::test]
    async fn each_run_is_approved_once_and_then_it_ends() {
        let server = says_always("HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{\"status\":\"completed\"}").await;
        let runs = Ask::Approve(RefCell::new(vec!["a".into(), "b".into(), "c".into()]));
        let found = load(&[server], 2, &runs, ONCE).await.unwrap();
        assert_eq!((found.answers, found.wrong), (3, 0));
    }

    #[tokio::test]
    async fn what_is_no_http_is_an_error() {
        assert!(load(&[says_always("good day\r\n\r\n").await], 1, &ask(), ONCE).await.is_err());
    }
}
