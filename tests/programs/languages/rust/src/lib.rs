//! Does what the text says: each word is a way to misbehave that Rust knows.

use aegis_guard::{Guard, Input, NoSettings, Report, Stage};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

static SEEN: AtomicUsize = AtomicUsize::new(0);

struct Hostile;

fn deeper(n: usize) -> usize {
    let room = black_box([n; 64]);
    black_box(deeper(n + 1)) + room[n % 64]
}

fn allocate() {
    let mut kept = vec![];
    loop {
        kept.push(black_box(Vec::<u8>::with_capacity(16 << 20)));
    }
}

fn tried<T, E: ToString>(outcome: Result<T, E>) -> Result<Report, String> {
    outcome.map(|_| Report::block("it got through", vec![])).map_err(|error| error.to_string())
}

impl Guard for Hostile {
    type Settings = NoSettings;
    const NAME: &str = env!("CARGO_PKG_NAME");
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
    const STAGES: &[Stage] = &[Stage::Ingress];

    fn new(_: NoSettings) -> Result<Hostile, String> {
        Ok(Hostile)
    }

    fn scan(&self, input: &Input) -> Result<Report, String> {
        let Some(text) = input.texts().next() else { return Ok(Report::allow()) };
        match text.text {
            "spin" => loop {
                SEEN.fetch_add(1, Ordering::Relaxed);
            },
            "allocate" => allocate(),
            "recurse" => SEEN.store(deeper(0), Ordering::Relaxed),
            "panic" => panic!("it is not my day"),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(0),
            "index behind the end" => SEEN.store(input.messages[black_box(1000)].parts.len(), Ordering::Relaxed),
            "start a thread" => return tried(std::thread::Builder::new().spawn(|| ())),
            "fail" => return Err("it is not my day".into()),
            "print" => println!("to nobody"),
            "read a file" => return tried(std::fs::read("/etc/passwd")),
            "open a socket" => return tried(std::net::TcpStream::connect("127.0.0.1:80")),
            "read the environment" => return tried(std::env::var("PATH")),
            "read the clock" => return tried(std::time::SystemTime::now().elapsed()),
            "forge a finding" => return Ok(Report::block("x", vec![text.finding("rule", 3..1000)])),
            "keep state" if SEEN.fetch_add(1, Ordering::Relaxed) > 0 => return Ok(Report::block("it kept its state", vec![])),
            _ => {}
        }
        Ok(Report::allow())
    }
}

aegis_guard::export!(Hostile);
