//! A host under test: the real binary in a folder of its own, on a port of its own.

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The guard, the route and the fake provider that most tests need; `{auth}` is filled in.
pub(crate) const CONFIG: &str = r#"
providers:
  fake: {type: fake, response: "the reply"}
guardrails:
  sensitive-topic:
    component: {guards}/sensitive_topic.wasm
    settings: {phrases: ["financial advice"]}
pipeline: {ingress: [sensitive-topic]}
routes:
  default: {provider: fake}
persistence: {type: sqlite, path: aegis.db}
auth: {type: {auth}}
server: {cache_dir: {cache}}
"#;

/// Fills in what differs from machine to machine. One compile cache serves all tests.
pub(crate) fn config(auth: &str) -> String {
    let cache = target().join("test-cache");
    CONFIG
        .replace("{guards}", &root().join("guards").display().to_string())
        .replace("{cache}", &cache.display().to_string())
        .replace("{auth}", auth)
}

pub(crate) struct Host {
    pub(crate) dir: TempDir,
    pub(crate) url: String,
    child: Child,
    client: Client,
}

impl Host {
    /// `aegis serve` on `config`, ready to answer.
    pub(crate) async fn start(config: &str) -> Host {
        let dir = TempDir::new().expect("a temporary folder");
        std::fs::write(dir.path().join("aegis.yaml"), config).expect("the folder is writable");
        Host::start_in(dir).await
    }

    /// The same on a folder that is there already.
    pub(crate) async fn start_in(dir: TempDir) -> Host {
        Host::start_as(dir, SERVE, &[]).await
    }

    /// Another command that serves, with more in its environment.
    pub(crate) async fn start_as(dir: TempDir, command: &[&str], environment: &[(&str, &str)]) -> Host {
        let (child, url) = spawn(&dir, command, environment);
        let mut host = Host { dir, url, child, client: client() };
        host.ready().await;
        host
    }

    /// The same, but a write that goes over a limit is an error (`EFBIG`) and not the end of the process.
    pub(crate) async fn start_on_a_disk_that_may_fail(config: &str) -> Host {
        let dir = TempDir::new().expect("a temporary folder");
        std::fs::write(dir.path().join("aegis.yaml"), config).expect("the folder is writable");
        let plain = aegis(dir.path());
        let mut patient = Command::new("sh");
        patient.current_dir(dir.path()).args(["-c", r#"trap '' XFSZ; exec "$@""#, "sh"]).arg(plain.get_program());
        let (child, url) = spawn_by(patient, &dir, SERVE, &[]);
        let mut host = Host { dir, url, child, client: client() };
        host.ready().await;
        host
    }

    /// No file may grow beyond so many bytes; `None`: as before.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".into(), |it| it.to_string());
        let mut command = Command::new("prlimit");
        command.args(["--pid", &self.pid().to_string(), &format!("--fsize={limit}:unlimited")]);
        assert!(command.status().expect("prlimit is there").success());
    }

    /// Waits until it can do its work.
    pub(crate) async fn ready(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        while !self.client.get(format!("{}/readyz", self.url)).send().await.is_ok_and(|it| it.status() == 200) {
            let exited = self.child.try_wait().expect("the host is our child");
            assert!(exited.is_none() && Instant::now() < until, "the host is not ready ({exited:?}):\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.url["http://".len()..].parse().expect("an address")
    }

    /// KiB of memory that are resident.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the host runs");
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("Linux tells it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// What the host has said on stderr so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// SIGKILL, then a new process on the same folder.
    pub(crate) async fn crash_and_restart(mut self) -> Host {
        self.kill();
        let (child, url) = spawn(&self.dir, SERVE, &[]);
        self.child = child;
        self.url = url;
        self.ready().await;
        self
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the host is our child");
        self.child.wait().expect("the host is our child");
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().expect("kill is there");
        assert!(status.success());
    }

    /// Waits until the host has ended by itself.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("the host is our child") {
                return status;
            }
            assert!(Instant::now() < until, "the host does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn call(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        read(self.request(key, method, path, body).await).await
    }

    pub(crate) async fn request(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        request.send().await.expect("the host answers")
    }

    pub(crate) async fn get(&self, key: &str, path: &str) -> (u16, Value) {
        self.call(key, Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, key: &str, path: &str, body: Value) -> (u16, Value) {
        self.call(key, Method::POST, path, Some(body)).await
    }

    /// With an `Idempotency-Key`.
    pub(crate) async fn post_named(&self, key: &str, path: &str, name: &str, body: Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.url)).header("idempotency-key", name).body(body.to_string());
        let request = if key.is_empty() { request } else { request.bearer_auth(key) };
        read(request.send().await.expect("the host answers")).await
    }

    /// A new run of one user message.
    pub(crate) async fn submit(&self, key: &str, text: &str, more: Value) -> Value {
        let mut body = json!({"messages": [{"role": "user", "content": text}]});
        merge(&mut body, more);
        let (status, run) = self.post(key, "/v1/runs", body).await;
        assert_eq!(status, 200, "{run}");
        run
    }

    /// Waits until the run has this status.
    pub(crate) async fn settled(&self, key: &str, id: &str, status: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let (_, run) = self.get(key, &format!("/v1/runs/{id}?wait=5s")).await;
            if run["status"] == status {
                return run;
            }
            assert!(Instant::now() < until, "the run is not {status}: {run}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The binary with the folder's configuration, talking to this host.
    pub(crate) fn aegis(&self, key: &str, args: &[&str]) -> Output {
        let mut command = aegis(self.dir.path());
        command.env("AEGIS_SERVER_URL", &self.url);
        if !key.is_empty() {
            command.env("AEGIS_API_KEY", key);
        }
        command.args(args).output().expect("the binary runs")
    }

    /// A new key, made by the command beside the running host.
    pub(crate) fn key(&self, principal: &str, more: &[&str]) -> String {
        let output = self.aegis("", &[&["keys", "create", "--principal", principal], more].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVE: &[&str] = &["serve", "--no-auth"];

fn spawn(dir: &TempDir, command: &[&str], environment: &[(&str, &str)]) -> (Child, String) {
    spawn_by(aegis(dir.path()), dir, command, environment)
}

fn spawn_by(mut serving: Command, dir: &TempDir, command: &[&str], environment: &[(&str, &str)]) -> (Child, String) {
    let port = free_port();
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log")).expect("the folder is writable");
    serving.args(command).args(["--listen", &format!("127.0.0.1:{port}")]).envs(environment.iter().copied());
    let child = serving.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("the binary starts");
    (child, format!("http://127.0.0.1:{port}"))
}

/// The binary, in `folder`, without this machine's own settings.
pub(crate) fn aegis(folder: &Path) -> Command {
    let binary = std::env::var_os("AEGIS_BIN").map_or_else(|| target().join("debug/aegis"), PathBuf::from);
    assert!(binary.exists(), "{} is not there: run `cargo build --workspace` first, as `make test` does", binary.display());
    let mut command = Command::new(binary);
    command.current_dir(folder).env_remove("AEGIS_API_KEY").env_remove("AEGIS_SERVER_URL");
    command
}

/// What `command` has said when it has ended by itself, as it should soon.
pub(crate) fn ends(mut command: Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let until = Instant::now() + Duration::from_secs(30);
    let mut ended = None;
    while ended.is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
        ended = child.try_wait().expect("our child");
    }
    drop(child.kill());
    let output = child.wait_with_output().expect("our child");
    assert!(ended.is_some(), "{command:?} does not end: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id is there");
    id.stdout == b"0\n"
}

/// A port that nobody uses at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback has free ports").port()
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the repository")
}

/// Where cargo has put this test, and with it the binary.
pub(crate) fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a file");
    test.ancestors().nth(3).expect("target/debug/deps/test").to_owned()
}

pub(crate) fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().expect("it is the first"));
    Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("a client")
}

pub(crate) async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn merge(into: &mut Value, more: Value) {
    let (Value::Object(into), Value::Object(more)) = (into, more) else { return };
    into.extend(more);
}
