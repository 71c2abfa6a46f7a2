//! Bytes on the socket as those send them who mean no good, or know no better.

use crate::host::{Host, config};
use futures::future::join_all;
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// `{host}` in a request is filled in.
const HOST: &str = "Host: {host}\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n";

/// A server with room for 40 connections that waits for nobody longer than a second.
async fn impatient() -> Host {
    let server = "server: {max_connections: 40, header_timeout: 1s, body_timeout: 1s, ";
    Host::start(&config("none").replace("server: {", server)).await
}

async fn connect(host: &Host) -> TcpStream {
    TcpStream::connect(host.address()).await.expect("the server takes it")
}

async fn send(host: &Host, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(host).await;
    // A server that has seen enough may close while more is sent.
    let _ = stream.write_all(bytes).await;
    stream
}

/// What the server says until it closes the connection, and how long that took.
async fn rest(mut stream: TcpStream) -> (String, Duration) {
    let (begun, mut answer, mut piece) = (Instant::now(), Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece)).await.expect("the server closes it");
        match read {
            Ok(bytes) if bytes > 0 => answer.extend_from_slice(&piece[..bytes]),
            _ => return (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed()),
        }
    }
}

async fn asks(host: &Host, request: &str) -> String {
    let request = request.replace("{host}", &host.address().to_string());
    rest(send(host, request.as_bytes()).await).await.0
}

async fn healthy(address: SocketAddr) -> Duration {
    let begun = Instant::now();
    let request = HEALTH.replace("{host}", &address.to_string()).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.expect("the server takes it");
    stream.write_all(request.as_bytes()).await.expect("it is read");
    let answer = rest(stream).await.0;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    begun.elapsed()
}

#[tokio::test]
async fn a_request_that_could_be_read_two_ways_is_no_two_requests() {
    let host = impatient().await;
    let smuggled = "GET /v1/guards HTTP/1.1\r\nHost: {host}\r\n\r\n";
    let post = |headers: &str, body: &str| format!("POST /v1/runs HTTP/1.1\r\n{HOST}{headers}\r\n{body}{smuggled}");
    let get = |head: &str| format!("{head}\r\n{smuggled}");
    let cases = [
        ("two lengths", post("Content-Length: 2\r\nContent-Length: 0\r\n", "{}"), "400"),
        ("a list of lengths", post("Content-Length: 2, 0\r\n", "{}"), "400"),
        ("a length with a sign", post("Content-Length: +2\r\n", "{}"), "400"),
        ("a length that is none", post("Content-Length: 0x2\r\n", "{}"), "400"),
        ("a length out of range", post("Content-Length: 18446744073709551616\r\n", "{}"), "400"),
        ("length and chunks", post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "422"),
        ("chunks and length", post("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "0\r\n\r\n"), "422"),
        ("chunks that are none", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "400"),
        ("chunks within something", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), "400"),
        ("chunks in HTTP/1.0", post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"), "400"),
        ("a chunk out of range", post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"), "422"),
        ("a chunk that is longer", post("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n"), "422"),
        ("a folded header", get(&format!("GET /healthz HTTP/1.1\r\n{HOST}X: a\r\n b\r\n")), "400"),
        ("a folded length", post("X: a\r\n Content-Length: 2\r\n", "{}"), "400"),
        ("a space before the colon", post("Content-Length : 2\r\n", "{}"), "400"),
        ("a NUL", get(&format!("GET /healthz HTTP/1.1\r\n{HOST}X: a\0b\r\n")), "400"),
        ("a carriage return alone", get(&format!("GET /healthz HTTP/1.1\r\n{HOST}X: a\rContent-Length: 2\r\n")), "400"),
        ("a header without a name", get(&format!("GET /healthz HTTP/1.1\r\n{HOST}: x\r\n")), "400"),
        ("HTTP/0.9", get("GET /healthz\r\n"), "400"),
        ("HTTP/2.0", get(&format!("GET /healthz HTTP/2.0\r\n{HOST}")), "400"),
        ("no host", get("GET /v1/guards HTTP/1.1\r\n"), "403"),
        ("two hosts", get(&format!("GET /v1/guards HTTP/1.1\r\n{HOST}{HOST}")), "403"),
    ];
    let answers = join_all(cases.iter().map(|(_, request, _)| asks(&host, request))).await;
    for ((name, _, status), answer) in cases.iter().zip(answers) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
        // A request that is whole, and only refused, may be followed by another.
        let may_follow = *status == "403";
        assert!(may_follow || (answer.matches("HTTP/1.1 ").count() == 1 && !answer.contains("sensitive")), "{name}: {answer}");
    }
    assert!(healthy(host.address()).await < Duration::from_secs(5));
}

#[tokio::test]
async fn several_requests_at_once_are_answered_one_by_one_in_their_order() {
    let host = impatient().await;
    let (run, body) = ("POST /v1/runs HTTP/1.1\r\nHost: {host}\r\n", r#"{"messages":[{"role":"user","content":"hello"}]}"#);
    let run = format!("{run}Content-Length: {}\r\n\r\n{body}", body.len());
    // A line feed alone ends a line too (RFC 9112, 2.2), and nothing else does.
    let bare = HEALTH.replace("\r\n", "\n");
    let answer = asks(&host, &format!("{HEALTH}{run}GET /none HTTP/1.1\r\nHost: {{host}}\r\n\r\n{bare}")).await;
    let statuses: Vec<&str> = answer.match_indices("HTTP/1.1 ").map(|(at, it)| &answer[at + it.len()..][..3]).collect();
    assert_eq!(statuses, ["200", "200", "404", "200"], "{answer}");
    assert!(answer.find("the reply") < answer.find("AEG-SRV-003"), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_or_has_no_end_is_cut_off() {
    let host = impatient().await;
    let begin = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n", host.address());
    let hello = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 194]].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), ""),
        ("TLS", hello, ""),
        ("one endless header", format!("{begin}X: {}", "x".repeat(1 << 20)).into(), "431"),
        ("one long header", format!("{begin}X: {}\r\n\r\n", "x".repeat(40 << 10)).into(), "431"),
        ("many headers", format!("{begin}{}\r\n", "X: y\r\n".repeat(101)).into(), "431"),
        ("headers without an end", format!("{begin}{}", "X: y\r\n".repeat(100_000)).into(), "431"),
        ("an endless path", format!("GET /{}", "x".repeat(1 << 20)).into(), "4"),
        ("empty lines", "\r\n".repeat(1 << 18).into(), ""),
        ("nothing but zeros", vec![0; 1 << 20], ""),
    ];
    let closed = join_all(cases.iter().map(async |(_, bytes, _)| rest(send(&host, bytes).await).await)).await;
    for ((name, _, status), (answer, took)) in cases.iter().zip(closed) {
        assert!(!answer.contains(" 200 ") && took < Duration::from_secs(5), "{name} took {took:?}: {answer}");
        // The answer may be lost where the client has sent more than anybody reads.
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
    }
    assert!(healthy(host.address()).await < Duration::from_secs(5));
}

/// Sends a byte now and then, for as long as the server takes it.
async fn dribble(host: &Host, begin: &str) -> (String, Duration) {
    let (begun, mut stream) = (Instant::now(), send(host, begin.replace("{host}", &host.address().to_string()).as_bytes()).await);
    while begun.elapsed() < Duration::from_secs(20) {
        let (_, over) = (stream.write_all(b"x").await, stream.readable());
        if tokio::time::timeout(Duration::from_millis(100), over).await.is_ok() {
            return (rest(stream).await.0, begun.elapsed());
        }
    }
    panic!("the server waits for ever: {begin}");
}

/// Reads next to nothing of a large answer. Comes back when the server has closed the connection, with the bytes there were.
async fn hardly_read(host: &Host, path: &str) -> (usize, Duration) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be small");
    let mut stream = socket.connect(host.address()).await.expect("the server takes it");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", host.address());
    stream.write_all(request.as_bytes()).await.expect("it is read");
    let (begun, mut got) = (Instant::now(), 0);
    let mut piece = [0; 16];
    while open(host).await > 1 && begun.elapsed() < Duration::from_secs(20) {
        got += stream.read(&mut piece).await.expect("something is there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (got + rest(stream).await.0.len(), begun.elapsed())
}

/// Connections that are open, with the one that asks.
async fn open(host: &Host) -> usize {
    let answer = asks(host, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").await;
    let line = answer.lines().find_map(|it| it.strip_prefix("aegis_http_connections "));
    line.expect("it is counted").parse().expect("a number")
}

#[tokio::test]
async fn nobody_keeps_a_connection_by_sending_or_reading_slowly() {
    let host = impatient().await;
    // Every `<` is five characters in a page: more than the system's buffers hold.
    let long = format!("financial advice {}", "<".repeat(900_000));
    for _ in 0..2 {
        host.submit("", &long, json!({})).await;
    }
    let whole = asks(&host, "GET /approvals HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").await.len();
    let (got, took) = hardly_read(&host, "/approvals").await;
    assert!(whole > 9_000_000 && got < whole && took < Duration::from_secs(10), "{got} of {whole} bytes in {took:?}");

    let slow = Duration::from_secs(4);
    let headless = "GET /healthz HTTP/1.1\r\nHost: {host}\r\nX: ";
    let body = "POST /v1/runs HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000\r\n\r\n{\"messages\": \"";
    let health = HEALTH.replace("{host}", &host.address().to_string());
    let (silent, idle, head, body) = tokio::join!(
        async { rest(connect(&host).await).await },
        async { rest(send(&host, health.as_bytes()).await).await },
        dribble(&host, headless),
        dribble(&host, body)
    );
    assert!(silent.0.is_empty() && silent.1 < slow, "{silent:?}");
    assert!(idle.0.starts_with("HTTP/1.1 200") && idle.1 < slow, "kept alive, but not for ever: {idle:?}");
    assert!(!head.0.contains(" 200 ") && head.1 < slow, "{head:?}");
    assert!((body.0.is_empty() || body.0.starts_with("HTTP/1.1 408")) && body.1 < slow, "{body:?}");
    // A client sees the end a moment before it is counted.
    let given_up = Instant::now() + Duration::from_secs(10);
    while open(&host).await > 1 {
        assert!(Instant::now() < given_up, "connections are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn whoever_breaks_off_leaves_nothing_behind() {
    let host = impatient().await;
    let whole = r#"{"messages":[{"role":"user","content":"financial advice"}]}"#;
    let head = format!("POST /v1/runs HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", host.address(), whole.len());
    for at in 0..60 {
        let request = format!("{head}{whole}");
        let stream = send(&host, &request.as_bytes()[..request.len() * (at % 6) / 6]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        stream.set_zero_linger().expect("a reset is sent when it is closed");
    }
    let until = Instant::now() + Duration::from_secs(5);
    while open(&host).await > 1 {
        assert!(Instant::now() < until, "connections stay");
    }
    let (_, runs) = host.get("", "/v1/runs").await;
    assert_eq!(runs["data"], json!([]), "no half request became a run");
}

#[tokio::test]
async fn whoever_holds_all_places_must_give_them_to_others_and_requests_at_work_are_not_cut_off() {
    let config = config("none").replace("server: {", "server: {max_connections: 40, header_timeout: 60s, body_timeout: 60s, ");
    let host = Host::start(&config.replace(r#"response: "the reply""#, r#"response: "the reply", delay: 1500ms"#)).await;
    let address = host.address();
    let login = format!("POST /approvals/login HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9\r\n\r\n");
    let kinds = ["".into(), format!("GET / HTTP/1.1\r\nHost: {address}\r\nX: "), login, HEALTH.replace("{host}", &address.to_string())];
    let hold = async |count: usize| join_all((0..count).map(|at| send(&host, kinds[at % 4].as_bytes()))).await;
    let (run, mut held) = tokio::join!(host.submit("", "hello", json!({})), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        hold(45).await
    });
    assert_eq!(run["status"], "completed", "it was at work all the time");

    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        held.extend(hold(10).await);
        slowest = slowest.max(healthy(address).await);
    }
    println!("40 places, {} connections that hold them: the slowest of 20 others was answered after {slowest:?}", held.len());
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

/// Files that this process may have open.
fn files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux tells it");
    let line = limits.lines().find_map(|it| it.strip_prefix("Max open files")).expect("it is there");
    line.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(usize::MAX)
}

#[tokio::test]
async fn ten_thousand_idle_connections_are_held_and_others_are_answered() {
    let host = Host::start(&config("none").replace("server: {", "server: {max_connections: 10100, header_timeout: 120s, ")).await;
    let count = files().saturating_sub(300).min(10_000);
    healthy(host.address()).await;
    let (before, mut idle) = (host.resident(), Vec::new());
    while idle.len() < count {
        idle.extend(join_all((0..250.min(count - idle.len())).map(|_| connect(&host))).await);
        // The system's queue holds about a thousand: what comes faster than it is accepted is lost.
        let until = Instant::now() + Duration::from_secs(20);
        while open(&host).await <= idle.len() {
            assert!(Instant::now() < until, "{} of {} are open: {}", open(&host).await, idle.len(), host.log());
        }
    }
    let each = (host.resident().saturating_sub(before)) as f64 / count as f64;
    let mut times = Vec::new();
    for _ in 0..50 {
        times.push(healthy(host.address()).await);
    }
    times.sort();
    println!("{count} idle connections: {each:.1} KiB resident each; another is answered after {:?}, at most {:?}", times[25], times[49]);
    assert!(each < 32.0 && times[49] < Duration::from_secs(1), "{each} KiB, {times:?}");
}
