//! What `deploy/` describes, carried out as far as one machine can: three hosts with exactly its configuration on a real Postgres behind its
//! balancer. The image is in `image.rs`, the unit in `systemd.rs`.

use crate::deploy::file;
use crate::host::{Host, client, ends, free_port, read, root, target};
use crate::provider::{double, reply};
use aegis_postgres::Server;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::{JoinHandle, spawn_blocking};

const QUESTION: &str = "Please give me financial advice.";

/// An empty database of the server that all tests share.
pub(crate) fn database() -> String {
    database_of(Server::shared())
}

/// An empty database whose owner may nothing else, as `deploy/` has it; by its URL without scheme and user.
pub(crate) fn database_of(server: &Server) -> String {
    let url = server.database();
    let (_, place) = url.split_once('@').expect("a URL with a user");
    let name = place.rsplit('/').next().expect("a URL with a name");
    let role = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'aegis') THEN CREATE ROLE aegis LOGIN; END IF; \
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
    server.sql(&url, role);
    server.sql(&url, &format!("ALTER DATABASE {name} OWNER TO aegis"));
    place.into()
}

/// The folder that every way of deploying lays out as `/etc/aegis`, with the secrets of `deploy/secrets.sh`.
pub(crate) fn lay_out(folder: &Path, database: &str) {
    fs::write(folder.join("aegis.yaml"), file("aegis.yaml")).expect("writable");
    let secrets = folder.join("secrets");
    let mut script = Command::new(root().join("deploy/secrets.sh"));
    let made = script.arg(&secrets).env("PROVIDER_KEY", "sk-test-0123456789").output().expect("a shell");
    assert!(made.status.success(), "{made:?}");
    let url = fs::read_to_string(secrets.join("database-url")).expect("it was made");
    assert!(url.contains("@database:5432/aegis"), "it is not what compose.yaml calls the database: {url}");
    fs::write(secrets.join("database-url"), url.replace("database:5432/aegis", database)).expect("writable");
}

struct Deployed {
    hosts: Vec<Host>,
    balancer: Balancer,
}

impl Deployed {
    async fn start() -> Deployed {
        Deployed::start_on(&spawn_blocking(database).await.expect("no panic")).await
    }

    async fn start_on(database: &str) -> Deployed {
        let (_, api) = double(vec![reply(json!({"role": "assistant", "content": "the reply"}))]).await;
        let mut hosts = vec![];
        for _ in 0..3 {
            hosts.push(host(database, api).await);
        }
        let balancer = Balancer::start(&hosts.iter().map(Host::address).collect::<Vec<_>>()).await;
        Deployed { hosts, balancer }
    }

    /// Requests, one after the other, each by a name of its own, until `enough`; what was answered.
    fn load(&self, key: &str, client: usize, enough: &Arc<AtomicBool>) -> JoinHandle<Vec<(u16, Value)>> {
        let (url, key, enough) = (self.balancer.url.clone(), key.to_owned(), enough.clone());
        tokio::spawn(async move {
            let mut answers = vec![];
            while !enough.load(Ordering::Relaxed) {
                let name = format!("client-{client}-{}", answers.len());
                let answer = submit(&url, &key, "How is the weather?", Some(&name)).await;
                answers.push(if answer.1["status"] == "running" { wait(&url, &key, &answer.1).await } else { answer });
            }
            answers
        })
    }
}

/// One host with the configuration of `deploy/`, whose provider is at `api`.
async fn host(database: &str, api: SocketAddr) -> Host {
    let dir = TempDir::new().expect("a temporary folder");
    lay_out(dir.path(), database);
    let (provider, cache) = (format!("http://{api}/v1"), target().join("test-cache").display().to_string());
    let environment = [("AEGIS__PROVIDERS__MAIN__BASE_URL", &*provider), ("AEGIS__SERVER__CACHE_DIR", &*cache)];
    Host::start_as(dir, &["serve"], &environment).await
}

async fn submit(url: &str, key: &str, text: &str, name: Option<&str>) -> (u16, Value) {
    let body = json!({"messages": [{"role": "user", "content": text}]});
    let mut request = client().post(format!("{url}/v1/runs")).bearer_auth(key).body(body.to_string());
    if let Some(name) = name {
        request = request.header("idempotency-key", name);
    }
    read(request.send().await.expect("the balancer answers")).await
}

/// What a client does whose run goes on when it is answered, for example elsewhere after a host was killed.
async fn wait(url: &str, key: &str, run: &Value) -> (u16, Value) {
    let run = format!("{url}/v1/runs/{}?wait=30s", run["run_id"].as_str().expect("an id"));
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = read(client().get(&run).bearer_auth(key).send().await.expect("the balancer answers")).await;
        if answer.1["status"] != "running" || Instant::now() > until {
            return answer;
        }
        // A host that stops keeps nobody waiting.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// `deploy/haproxy.cfg` before real hosts.
struct Balancer {
    url: String,
    /// Where it is told what to do.
    control: String,
    process: Child,
    folder: TempDir,
}

impl Balancer {
    async fn start(hosts: &[SocketAddr]) -> Balancer {
        let (folder, port) = (TempDir::new().expect("a temporary folder"), free_port());
        let mut text = file("haproxy.cfg").replacen("bind :8000", &format!("bind 127.0.0.1:{port}"), 1);
        let control = format!("127.0.0.1:{}", free_port());
        assert!(text.contains("stats socket ipv4@127.0.0.1:9999 "), "it cannot be told anything where docs/deploy.md says");
        text = text.replace("127.0.0.1:9999", &control);
        for (n, host) in (1..).zip(hosts) {
            let named = format!(" aegis-{n}:8000");
            assert!(text.contains(&named), "the balancer knows no {named}");
            text = text.replace(&named, &format!(" {host}"));
        }
        let config = folder.path().join("haproxy.cfg");
        fs::write(&config, text).expect("writable");
        let mut checking = haproxy();
        checking.args(["-c", "-f"]).arg(&config);
        let checked = ends(checking);
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && !said.contains("[WARNING]"), "{said}");
        let log = fs::File::create(folder.path().join("log")).expect("writable");
        let process = haproxy().arg("-db").arg("-f").arg(&config).stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn();
        let balancer = Balancer { url: format!("http://127.0.0.1:{port}"), control, process: process.expect("haproxy starts"), folder };
        let until = Instant::now() + Duration::from_secs(30);
        while !client().get(format!("{}/readyz", balancer.url)).send().await.is_ok_and(|it| it.status() == 200) {
            assert!(Instant::now() < until, "the balancer is not ready: {}", balancer.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        balancer
    }

    /// What `nc` does in docs/deploy.md.
    fn tell(&self, command: &str) {
        let mut control = TcpStream::connect(&self.control).expect("the balancer listens");
        control.write_all(format!("{command}\n").as_bytes()).expect("it reads");
        control.shutdown(Shutdown::Write).expect("it is open");
        let mut said = String::new();
        control.read_to_string(&mut said).expect("it answers");
        assert_eq!(said.trim(), "", "{command}");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn haproxy() -> Command {
    Command::new(if Path::new("/usr/sbin/haproxy").exists() { "/usr/sbin/haproxy" } else { "haproxy" })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_paused_on_a_host_that_was_killed_is_decided_on_another_by_way_of_the_balancer() {
    let mut deployed = Deployed::start().await;
    let (alice, rita) = (deployed.hosts[0].key("alice", &["--role", "user"]), deployed.hosts[1].key("rita", &[]));
    let url = deployed.balancer.url.clone();
    let (status, run) = submit(&url, &alice, "How is the weather?", None).await;
    assert_eq!((status, &run["status"], &run["response"]), (200, &json!("completed"), &json!("the reply")), "{run}");
    let run = deployed.hosts[0].submit(&alice, QUESTION, json!({})).await;
    assert_eq!(run["status"], "paused", "{run}");
    deployed.hosts[0].kill();
    let resume = format!("{url}/v1/runs/{}/resume", run["run_id"].as_str().expect("an id"));
    let decided = client().post(resume).bearer_auth(&rita).body(r#"{"decision":"approved"}"#).send().await.expect("the balancer answers");
    let (status, run) = read(decided).await;
    assert_eq!((status, &run["status"], &run["response"]), (200, &json!("completed"), &json!("the reply")), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_that_a_host_is_killed_or_stopped_who_names_requests() {
    let mut deployed = Deployed::start().await;
    let alice = deployed.hosts[0].key("alice", &[]);
    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|client| deployed.load(&alice, client, &enough)).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    deployed.hosts[0].kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    deployed.hosts[1].terminate();
    deployed.hosts[1].ended(Duration::from_secs(40)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    enough.store(true, Ordering::Relaxed);
    let answered = all_completed(&deployed, clients).await;
    assert!(answered > 20, "{answered} answers are no load");
    let check = deployed.hosts[2].aegis("", &["db", "check"]);
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(said.contains(&format!("{answered} runs")) && said.contains("0 faults"), "{answered} were answered: {check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_that_a_host_is_stopped_that_was_taken_out_before() {
    let mut deployed = Deployed::start().await;
    let alice = deployed.hosts[0].key("alice", &[]);
    deployed.balancer.tell("set server hosts/aegis-1 state drain");
    for n in 0..30 {
        // Until then it is the balancer alone that keeps them away.
        if n == 15 {
            deployed.hosts[0].terminate();
        }
        let (status, run) = submit(&deployed.balancer.url, &alice, "How is the weather?", None).await;
        assert_eq!((status, &run["status"]), (200, &json!("completed")), "{run}\n{}", deployed.balancer.log());
    }
    let log = deployed.balancer.log();
    let asked = |host: &str| log.lines().filter(|it| it.contains("POST /v1/runs") && it.contains(&format!(" hosts/{host} "))).count();
    assert_eq!((asked("aegis-1"), asked("aegis-2") + asked("aegis-3")), (0, 30), "{log}");
    // All of them: what it says itself is in Aegis's shape.
    deployed.hosts.iter_mut().for_each(Host::kill);
    let (status, body) = submit(&deployed.balancer.url, &alice, "How is the weather?", None).await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("AEG-SRV-002")), "{body}");
}

/// Of all requests that were made, by now; every one was answered as if nothing had happened.
async fn all_completed(deployed: &Deployed, clients: Vec<JoinHandle<Vec<(u16, Value)>>>) -> usize {
    let mut answered = 0;
    for client in clients {
        for (status, run) in client.await.expect("no panic") {
            assert_eq!((status, &run["status"]), (200, &json!("completed")), "{run}\n{}", deployed.balancer.log());
            answered += 1;
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_requests_wait_behind_the_balancer() {
    let (server, place) = spawn_blocking(|| {
        let server = Server::start();
        let place = database_of(&server);
        (server, place)
    })
    .await
    .expect("no panic");
    let deployed = Deployed::start_on(&place).await;
    let alice = deployed.hosts[0].key("alice", &[]);
    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|client| deployed.load(&alice, client, &enough)).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.pause(true);
    let until = Instant::now() + Duration::from_secs(60);
    while !deployed.balancer.log().contains("backend hosts has no server available") {
        assert!(Instant::now() < until, "all are ready all the time: {}", deployed.balancer.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Whoever comes now finds no host that is ready.
    let late = deployed.load(&alice, 4, &enough);
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.pause(false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    enough.store(true, Ordering::Relaxed);
    let answered = all_completed(&deployed, clients).await;
    let after = all_completed(&deployed, vec![late]).await;
    assert!(answered > 0 && after > 0, "{answered} and {after} answers are no load");
    let log = deployed.balancer.log();
    assert!(log.contains(" waiting/"), "nobody was sent to a host that is not ready: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_keys_at_the_balancer_shuts_out_nobody_else() {
    let deployed = Deployed::start().await;
    let alice = deployed.hosts[0].key("alice", &[]);
    let from = |address: &str| {
        let address: IpAddr = address.parse().expect("an address");
        reqwest::Client::builder().no_proxy().local_address(address).build().expect("a client")
    };
    let runs = format!("{}/v1/runs", deployed.balancer.url);
    let (stranger, mut last) = (from("127.0.0.2"), 0);
    for n in 0..30 {
        let asked = stranger.get(&runs).bearer_auth(format!("aeg-{n:064x}")).send().await;
        last = asked.expect("the balancer answers").status().as_u16();
    }
    let refused = stranger.get(&runs).bearer_auth(&alice).send().await.expect("the balancer answers");
    assert_eq!((last, refused.status().as_u16()), (429, 429), "{}", deployed.balancer.log());
    let known = from("127.0.0.1").get(&runs).bearer_auth(&alice).send().await.expect("the balancer answers");
    assert_eq!(known.status(), 200, "{}", deployed.balancer.log());
}

/// One of Postgres's own programs, on the database at `place`.
fn postgres(program: &str, place: &str, args: &[&str]) {
    let mut command = Command::new(program);
    let done = command.arg(format!("--dbname=postgres://aegis@{place}")).args(args).output().expect("it is installed");
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_go_on_with_a_dump_of_their_database_restored_elsewhere() {
    let (_, api) = double(vec![reply(json!({"role": "assistant", "content": "the reply"}))]).await;
    let (before, after) = spawn_blocking(|| (database(), database())).await.expect("no panic");
    let mut first = host(&before, api).await;
    let alice = first.key("alice", &[]);
    first.submit(&alice, "How is the weather?", json!({})).await;
    let run = first.submit(&alice, QUESTION, json!({})).await;
    let id = run["run_id"].as_str().expect("an id").to_owned();
    let folder = TempDir::new().expect("a temporary folder");
    let dump = folder.path().join("aegis.dump").display().to_string();
    postgres("pg_dump", &before, &["--format=custom", "--file", &dump]);
    first.kill();
    postgres("pg_restore", &after, &["--clean", "--if-exists", "--no-owner", &dump]);
    let second = host(&after, api).await;
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux has one");
    let seats = spawn_blocking(move || Server::shared().sql(&format!("postgres://postgres@{after}"), "SELECT name FROM aegis.host"));
    let known = format!("{} process {}", machine.trim(), second.pid());
    assert!(seats.await.expect("no panic").lines().any(|it| it == known), "no host is called {known}");
    let check = second.aegis("", &["db", "check"]);
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(said.contains("2 runs") && said.contains("0 faults"), "{check:?}");
    let (status, run) = second.post(&alice, &format!("/v1/runs/{id}/resume"), json!({"decision": "approved"})).await;
    assert_eq!((status, &run["status"], &run["response"]), (200, &json!("completed"), &json!("the reply")), "{run}");
}
