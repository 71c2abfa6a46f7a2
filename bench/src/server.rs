//! The server that is measured: the real binary, with `bench/aegis.yaml`, in a folder and on a port of its own.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is started, and with what.
#[derive(Clone, Debug)]
pub struct Build {
    /// The binary `aegis`.
    pub binary: PathBuf,
    /// Its configuration; where it keeps its data is not taken from there.
    pub config: PathBuf,
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// From the start of the process to its first "ready".
    pub took: Duration,
    /// Of the server itself, also when something watches it.
    pub pid: u32,
    child: Child,
    trace: Option<PathBuf>,
}

impl Build {
    /// Starts a server with its data in `folder`, and waits until it is ready.
    ///
    /// # Errors
    /// It ended, with what it said, or was not ready within a minute.
    pub fn start(&self, folder: &Path) -> Result<Server> {
        self.spawn(with_file(Command::new(&self.binary), folder), folder, &["--no-auth"], None)
    }

    /// The same with its data where the configuration says, and not in `folder`.
    ///
    /// # Errors
    /// As [`Build::start`].
    pub fn start_as_configured(&self, folder: &Path) -> Result<Server> {
        self.spawn(Command::new(&self.binary), folder, &["--no-auth"], None)
    }

    /// The same for callers with keys, which are in the database already.
    ///
    /// # Errors
    /// As [`Build::start`].
    pub fn start_with_keys(&self, folder: &Path) -> Result<Server> {
        let mut command = Command::new(&self.binary);
        command.env("AEGIS__AUTH__TYPE", "api_key");
        self.spawn(with_file(command, folder), folder, &[], None)
    }

    /// The same under `strace`, which counts how often it asks the disk to be done, and lets every other call pass unwatched.
    ///
    /// # Errors
    /// As [`Build::start`], or there is no `strace`.
    pub fn start_watched(&self, folder: &Path) -> Result<Server> {
        let trace = folder.join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range,msync", "-o"]);
        command.arg(&trace).arg(&self.binary);
        self.spawn(with_file(command, folder), folder, &["--no-auth"], Some(trace))
    }

    fn spawn(&self, mut command: Command, folder: &Path, more: &[&str], trace: Option<PathBuf>) -> Result<Server> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = folder.join("log");
        let file = std::fs::File::create(&log)?;
        command.arg("serve").args(more).arg("--config").arg(&self.config).arg("--listen").arg(address.to_string());
        command.env("AEGIS__SERVER__CACHE_DIR", folder.join("cache"));
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let took = ready(&mut child, address, begun);
        let mut server = Server { address, took: Duration::ZERO, pid: child.id(), child, trace };
        let said = |error: Error| Error::other(format!("{error}; it said:\n{}", std::fs::read_to_string(&log).unwrap_or_default()));
        server.took = took.map_err(said)?;
        if server.trace.is_some() {
            server.pid = child_of(server.pid).ok_or_else(|| Error::other("strace has started nothing"))?;
        }
        Ok(server)
    }
}

fn with_file(mut command: Command, folder: &Path) -> Command {
    command.env("AEGIS__PERSISTENCE__PATH", folder.join("aegis.db"));
    command
}

fn ready(child: &mut Child, address: SocketAddr, begun: Instant) -> Result<Duration> {
    while begun.elapsed() < Duration::from_secs(60) {
        if get(address, "/readyz").is_ok_and(|it| it.starts_with("HTTP/1.1 200")) {
            return Ok(begun.elapsed());
        }
        if let Some(status) = child.try_wait()? {
            return Err(Error::other(format!("the server ended with {status}")));
        }
        sleep(Duration::from_micros(500));
    }
    Err(Error::new(ErrorKind::TimedOut, "the server was not ready within a minute"))
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn child_of(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

impl Server {
    /// How often it has asked the disk to be done so far, if it is watched.
    ///
    /// # Errors
    /// There is no trace.
    pub fn syncs(&self) -> Result<usize> {
        let Some(trace) = &self.trace else { return Ok(0) };
        // A call that another thread's call interrupts in the trace has a second line for its end.
        let calls = |line: &&str| line.contains("sync") && !line.contains("resumed>") && !line.contains("+++");
        Ok(std::fs::read_to_string(trace)?.lines().filter(calls).count())
    }

    /// A counter of `/metrics`, summed over its labels.
    ///
    /// # Errors
    /// It does not answer.
    pub fn counter(&self, name: &str) -> Result<f64> {
        let metrics = get(self.address, "/metrics")?;
        let of = |line: &str| line.strip_prefix(name)?.rsplit_once(' ')?.1.parse::<f64>().ok();
        Ok(metrics.lines().filter_map(of).sum())
    }
}

impl Drop for Server {
    /// Asks it to stop, and waits; after ten seconds it is ended.
    fn drop(&mut self) {
        drop(Command::new("kill").arg(self.pid.to_string()).status());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
