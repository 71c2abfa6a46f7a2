//! Three Postgres servers of which one takes writes and another has all that it has acknowledged: each under a `patroni` of its own, which agree on the
//! primary by one `etcd`, behind a `haproxy` that knows which it is. From the distribution's packages, as [`Server`](crate::Server) is.

use crate::{PATIENCE, as_user, children, hand_over, new_folder, number_in, program, psql, signal, steady_port, watch};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a primary may be silent before another one takes its place, in seconds: as short as these programs work with on a machine that has much else to do.
const LEASE: u32 = 8;

/// All of it, and its folder.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    etcd: Daemon,
    etcd_port: u16,
    nodes: Vec<Node>,
    proxy: Option<Daemon>,
    proxy_port: u16,
    watch: Child,
    databases: AtomicU32,
}

/// One server, and who watches over it.
#[derive(Debug)]
struct Node {
    name: String,
    folder: PathBuf,
    port: u16,
    /// Where its patroni says how it is.
    rest: u16,
    patroni: Option<Daemon>,
}

/// A process that leads a group of its own, and is named by a file as long as it may run.
#[derive(Debug)]
struct Daemon {
    process: Child,
    note: PathBuf,
}

impl Daemon {
    fn start(mut command: Command, folder: &Path, name: &str) -> Daemon {
        let log = fs::File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).expect("a log");
        command.current_dir("/").env("HOME", folder).env("LC_ALL", "C.UTF-8").process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}: run scripts/setup.sh --cluster"));
        let note = folder.join(format!("{name}.pid"));
        fs::write(&note, process.id().to_string()).expect("the folder is ours");
        Daemon { process, note }
    }

    fn kill(mut self) {
        // All that it has started and not set free.
        drop(Command::new("kill").args(["-KILL", "--", &format!("-{}", self.process.id())]).stderr(Stdio::null()).status());
        self.process.wait().expect("a child");
        fs::remove_file(&self.note).expect("it was written");
    }
}

impl Cluster {
    /// Makes a new one, and waits until each of the three has its part. Its user `postgres` needs no password.
    pub fn start() -> Cluster {
        let folder = new_folder(&std::env::temp_dir());
        let watch = watch(&folder);
        let etcd_port = steady_port();
        let etcd = Daemon::start(etcd(&folder, etcd_port, steady_port()), &folder, "etcd");
        let nodes = (1..=3).map(|n| Node::new(&folder, n)).collect();
        let databases = AtomicU32::new(0);
        let mut cluster = Cluster { folder, etcd, etcd_port, nodes, proxy: None, proxy_port: steady_port(), watch, databases };
        for n in 0..cluster.nodes.len() {
            cluster.bring_back(n);
        }
        let settings = cluster.folder.join("haproxy.cfg");
        fs::write(&settings, cluster.proxied()).expect("the folder is ours");
        let mut proxy = as_user(if Path::new("/usr/sbin/haproxy").exists() { "/usr/sbin/haproxy" } else { "haproxy" });
        proxy.args(["-db", "-f"]).arg(settings);
        cluster.proxy = Some(Daemon::start(proxy, &cluster.folder, "haproxy"));
        cluster.until_whole(Duration::from_secs(120));
        cluster
    }

    /// The name of an empty database of its own.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// By way of the proxy, which knows the primary.
    pub fn url_by_proxy(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.proxy_port)
    }

    /// With each of the three in it.
    pub fn url_of_all(&self, database: &str) -> String {
        let all: Vec<String> = self.nodes.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
        format!("postgres://postgres@{}/{database}?target_session_attrs=read-write", all.join(","))
    }

    /// What the primary says to `sql`, one row a line, columns between bars.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let primary = self.primary().unwrap_or_else(|| panic!("there is no primary: {}", self.logs()));
        psql(&self.nodes[primary].url(database), sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Which of the three takes writes, from 0. Nothing while there is none.
    pub fn primary(&self) -> Option<usize> {
        self.nodes.iter().position(|it| it.is("primary"))
    }

    /// Another one than `before`, once there is one: how long it took.
    pub fn until_taken_over(&self, before: usize) -> (usize, Duration) {
        let begun = Instant::now();
        let other = self.wait("another primary", PATIENCE, || self.primary().filter(|it| *it != before));
        (other, begun.elapsed())
    }

    /// Until each of the three has its part, and the primary has a standby that has all that it acknowledges.
    pub fn until_whole(&self, patience: Duration) {
        self.wait("three nodes that are well", patience, || self.is_whole().then_some(()));
    }

    fn is_whole(&self) -> bool {
        let count = |what: &str| self.nodes.iter().filter(|it| it.is(what)).count();
        let sql =
            "SELECT count(*) FILTER (WHERE state = 'streaming'), count(*) FILTER (WHERE sync_state = 'sync') FROM pg_stat_replication";
        let follow = |it: usize| psql(&self.nodes[it].url("postgres"), sql).is_ok_and(|said| said == "2|1");
        count("replica") == 2 && count("synchronous") == 1 && self.primary().is_some_and(follow)
    }

    /// Ends a node and whoever watches over it at once, without a word.
    pub fn kill(&mut self, n: usize) {
        self.nodes[n].patroni.take().expect("it runs").kill();
        // Held still, it has no other children than those.
        for name in ["STOP", "KILL"] {
            self.nodes[n].processes().into_iter().for_each(|pid| signal(name, pid));
        }
    }

    /// Holds a node and whoever watches over it still, with every connection open, or lets them go on.
    pub fn pause(&self, n: usize, paused: bool) {
        let node = &self.nodes[n];
        let patroni = node.patroni.as_ref().expect("it runs").process.id();
        for pid in node.processes().into_iter().chain([patroni]) {
            signal(if paused { "STOP" } else { "CONT" }, pid);
        }
    }

    /// Holds still only who watches over a node, or lets it go on: the node knows nothing of it, and goes on as if it were still the primary.
    pub fn leave_alone(&self, n: usize, alone: bool) {
        let patroni = self.nodes[n].patroni.as_ref().expect("it runs").process.id();
        signal(if alone { "STOP" } else { "CONT" }, patroni);
    }

    /// Starts a node again, and does not wait until it has found its part.
    pub fn bring_back(&mut self, n: usize) {
        let node = &self.nodes[n];
        let settings = node.folder.join("patroni.yml");
        fs::write(&settings, node.settings(self.etcd_port)).expect("the folder is ours");
        let mut patroni = as_user("patroni");
        patroni.arg(settings);
        self.nodes[n].patroni = Some(Daemon::start(patroni, &self.folder, &self.nodes[n].name));
    }

    #[cfg(test)]
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    fn proxied(&self) -> String {
        let server = |it: &Node| format!("    server {} 127.0.0.1:{} check port {}\n", it.name, it.port, it.rest);
        format!(
            "global\n    maxconn 1000\ndefaults\n    mode tcp\n    timeout connect 2s\n    timeout check 1s\n    timeout client 1h\n    timeout server 1h\n\
            listen primary\n    bind 127.0.0.1:{}\n    option httpchk GET /primary\n    http-check expect status 200\n    \
            default-server inter 300ms fall 2 rise 1 on-marked-down shutdown-sessions\n{}",
            self.proxy_port,
            self.nodes.iter().map(server).collect::<String>()
        )
    }

    fn wait<T>(&self, what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + patience;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < until, "there are no {what}: {}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The end of what each has said.
    fn logs(&self) -> String {
        let names = ["etcd", "haproxy"].into_iter().chain(self.nodes.iter().map(|it| it.name.as_str()));
        let end = |name: &str| {
            let text = fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("\n== {name}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        names.map(end).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        drop(self.watch.wait());
        drop(self.etcd.process.wait());
        let rest = self.nodes.iter_mut().map(|it| it.patroni.take()).chain([self.proxy.take()]);
        rest.flatten().for_each(|mut it| drop(it.process.wait()));
    }
}

impl Node {
    fn new(folder: &Path, n: u32) -> Node {
        let name = format!("node{n}");
        let folder = folder.join(&name);
        fs::create_dir(&folder).expect("the folder is ours");
        hand_over(&folder);
        Node { name, folder, port: steady_port(), rest: steady_port(), patroni: None }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?connect_timeout=3", self.port)
    }

    /// Whether its patroni says that it is that.
    fn is(&self, what: &str) -> bool {
        let asked = || -> std::io::Result<bool> {
            // One that is held still does not even take connections, once some are waiting.
            let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], self.rest).into(), Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(format!("GET /{what} HTTP/1.0\r\n\r\n").as_bytes())?;
            let mut status = [0; 12];
            stream.read_exact(&mut status)?;
            // To the end: it complains of those who go before.
            std::io::copy(&mut stream, &mut std::io::sink())?;
            Ok(status.ends_with(b" 200"))
        };
        asked().unwrap_or(false)
    }

    /// The server's own, of which the first has started the others.
    fn processes(&self) -> Vec<u32> {
        let first = number_in(&self.folder.join("data/postmaster.pid"));
        first.into_iter().flat_map(|it| [vec![it], children(it)].concat()).collect()
    }

    fn settings(&self, etcd: u16) -> String {
        let Node { name, folder, port, rest, .. } = self;
        let (folder, programs) = (folder.display(), program("postgres"));
        let programs = programs.parent().map(|it| format!("bin_dir: {}", it.display())).unwrap_or_default();
        // Processes are killed here, and never the machine: what they wrote is there, whether the disk has it or not.
        format!(
            "scope: aegis\nname: {name}\nrestapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}'}}\netcd: {{host: '127.0.0.1:{etcd}'}}
bootstrap:
  dcs:
    ttl: {LEASE}
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {{fsync: 'off', wal_log_hints: 'on', max_connections: 200, wal_keep_size: 64MB, checkpoint_timeout: 30s}}
  initdb: [no-sync, {{encoding: UTF8}}, {{locale: C}}, {{auth-host: trust}}, {{auth-local: trust}}]
postgresql:
  listen: '127.0.0.1:{port}'
  connect_address: '127.0.0.1:{port}'
  data_dir: {folder}/data
  pgpass: {folder}/pgpass
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
  authentication: {{superuser: {{username: postgres, password: x}}, replication: {{username: replicator, password: x}}}}
  parameters: {{unix_socket_directories: {folder}}}
  pg_hba: [local all all trust, host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
  {programs}
"
        )
    }
}

fn etcd(folder: &Path, port: u16, peers: u16) -> Command {
    let (here, others) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
    let mut etcd = as_user("etcd");
    // By the second version of its interface: by the third, this patroni's primary that was held still and wakes up takes the lead back without asking
    // whose it is, and what the other one has acknowledged meanwhile is lost.
    etcd.arg("--enable-v2").arg("--data-dir").arg(folder.join("etcd")).args([
        "--name",
        "one",
        "--listen-client-urls",
        &here,
        "--advertise-client-urls",
        &here,
    ]);
    etcd.args(["--listen-peer-urls", &others, "--initial-advertise-peer-urls", &others, "--initial-cluster", &format!("one={others}")]);
    etcd
}
