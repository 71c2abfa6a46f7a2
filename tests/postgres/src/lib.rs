//! A real Postgres from the distribution's package, in a temporary folder, for tests: started, stopped, killed and started again. It never
//! runs as root, listens on this machine alone, and is gone when the process that started it is, whatever ended that one.

mod cluster;
mod tls;

pub use cluster::Cluster;
pub use tls::Authority;

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes longer on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// One Postgres server and its folder.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    port: u16,
    options: &'static [&'static str],
    postmaster: Option<Child>,
    /// Waits for the end of its input, which comes with the end of this process at the latest; then it ends the server and removes the folder.
    watch: Child,
    databases: AtomicU32,
}

/// Whether there is a Postgres to start.
pub fn is_installed() -> bool {
    Command::new(program("initdb")).arg("--version").output().is_ok()
}

impl Server {
    /// Makes a new one and starts it. Its user `postgres` needs no password. It never waits for the disk: processes are killed here, and never the
    /// machine, so what they wrote is there, whether the disk has it or not.
    pub fn start() -> Server {
        Server::make(new_folder(&std::env::temp_dir()), &["-c", "fsync=off"])
    }

    /// One that is as durable as in production, below this folder: for measuring.
    pub fn start_durable(below: &Path) -> Server {
        Server::make(new_folder(below), &[])
    }

    /// One on a disk of its own, of so many MiB; nothing where this machine does not let us mount one, which is said.
    pub fn start_on_a_small_disk(size: u32) -> Option<Server> {
        let (folder, user) = (new_folder(&std::env::temp_dir()), other_user().map_or(String::new(), |it| format!(",uid={it},gid={it}")));
        let data = folder.join("data");
        fs::create_dir(&data).expect("the folder is ours");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}m,mode=700{user}"), "aegis-test"]).arg(&data);
        if mount.output().is_ok_and(|it| it.status.success()) {
            return Some(Server::make(folder, &[]));
        }
        println!("skipped: only root may mount a small tmpfs, and not in every container");
        fs::remove_dir_all(folder).expect("it is ours");
        None
    }

    /// Leaves no room on its disk, which should be a small one.
    pub fn fill_disk(&self) {
        let mut filler = fs::File::options().create(true).append(true).open(self.filler()).expect("a file");
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    /// Takes away what fills it.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("data/filler")
    }

    fn make(folder: PathBuf, options: &'static [&'static str]) -> Server {
        let mut init = as_user("initdb");
        init.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]).arg(folder.join("data"));
        let made = init.current_dir("/").output().expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let watch = watch(&folder);
        let mut server = Server { folder, port: steady_port(), options, postmaster: None, watch, databases: AtomicU32::new(0) };
        server.start_again();
        server
    }

    /// One for all tests of this process that do it no harm.
    pub fn shared() -> &'static Server {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Server::start)
    }

    /// Where it listens, on 127.0.0.1. It stays the same.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An empty database of its own, by its URL.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// What `sql` says, one row a line, columns between bars; by a connection of its own.
    pub fn sql(&self, url: &str, sql: &str) -> String {
        psql(url, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// All of its processes, those of its connections among them.
    pub fn processes(&self) -> Vec<u32> {
        let pid = self.postmaster.as_ref().expect("it runs").id();
        [pid].into_iter().chain(children(pid)).collect()
    }

    /// Ends every connection but the one that does it.
    pub fn cut_connections(&self) {
        let sql =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        self.sql(&self.url("postgres"), sql);
    }

    /// Speaks TLS from now on, with this certificate and its key as PEM.
    pub fn speak_tls(&self, certificate: &str, key: &str) {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let file = self.folder.join("data").join(name);
            fs::write(&file, text).expect("the folder is ours");
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
            hand_over_file(&file);
        }
        // Each in a transaction of its own, as it must be.
        self.sql(&self.url("postgres"), "ALTER SYSTEM SET ssl = on");
        self.sql(&self.url("postgres"), "SELECT pg_reload_conf()");
        let until = Instant::now() + PATIENCE;
        while self.sql(&self.url("postgres"), "SHOW ssl") != "on" {
            assert!(Instant::now() < until, "it speaks no TLS: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where its socket is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends it as an operator does who restarts it: connections are cut, what is committed is written down.
    pub fn stop(&mut self) {
        self.end("INT", false);
    }

    /// Ends all of its processes at once, without a word.
    pub fn kill(&mut self) {
        self.end("KILL", true);
    }

    /// Holds it still, with every connection open, or lets it go on.
    pub fn pause(&self, paused: bool) {
        for pid in self.processes().into_iter().rev() {
            signal(if paused { "STOP" } else { "CONT" }, pid);
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.postmaster.as_mut().is_some_and(|it| it.try_wait().expect("a child").is_some());
        if ended {
            self.postmaster = None;
        }
        ended
    }

    /// Starts it on its folder, and waits until it takes connections.
    pub fn start_again(&mut self) {
        assert!(self.postmaster.is_none(), "it runs");
        let until = Instant::now() + PATIENCE;
        loop {
            let mut postmaster = self.postmaster().spawn().expect("postgres starts");
            while postmaster.try_wait().expect("a child").is_none() {
                if self.is_ready() {
                    self.postmaster = Some(postmaster);
                    return;
                }
                assert!(Instant::now() < until, "postgres does not get ready: {}", self.log());
                std::thread::sleep(Duration::from_millis(20));
            }
            // What was killed lets go of its memory a moment later.
            assert!(Instant::now() < until, "postgres does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn postmaster(&self) -> Command {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut postmaster = as_user("postgres");
        postmaster
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-k")
            .arg(&self.folder)
            .args(["-h", "127.0.0.1", "-p"])
            .arg(self.port.to_string());
        postmaster.args(self.options).args(["-c", "max_connections=200"]);
        postmaster.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        postmaster
    }

    fn is_ready(&self) -> bool {
        let mut ready = Command::new(program("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status().is_ok_and(|it| it.success())
    }

    fn end(&mut self, name: &str, all: bool) {
        let mut postmaster = self.postmaster.take().expect("it runs");
        let pid = postmaster.id();
        let children = if all { children(pid) } else { vec![] };
        [pid].into_iter().chain(children).for_each(|pid| signal(name, pid));
        postmaster.wait().expect("a child");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        drop(self.watch.wait());
        drop(self.postmaster.take().map(|mut it| it.wait()));
    }
}

/// A `pgbouncer` in transaction mode before a server: each transaction may find itself in another session.
#[derive(Debug)]
pub struct Pooler {
    port: u16,
    process: Child,
}

impl Pooler {
    /// Starts one, and waits until it takes connections.
    pub fn start(server: &Server) -> Pooler {
        let (port, file) = (steady_port(), server.folder.join("pgbouncer.ini"));
        let settings = format!(
            "[databases]\n* = user=postgres host=127.0.0.1 port={}\n[pgbouncer]\npidfile = {}\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
            auth_type = any\npool_mode = transaction\ndefault_pool_size = 5\nmax_client_conn = 100\n",
            server.port,
            server.folder.join("pgbouncer.pid").display()
        );
        fs::write(&file, settings).expect("the folder is ours");
        let mut bouncer = as_user(if Path::new("/usr/sbin/pgbouncer").exists() { "/usr/sbin/pgbouncer" } else { "pgbouncer" });
        let log = fs::File::create(server.folder.join("pgbouncer.log")).expect("a log");
        let process = bouncer.arg(&file).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut pooler = Pooler { port, process: process.expect("pgbouncer starts") };
        let until = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = pooler.process.try_wait().expect("a child");
            assert!(ended.is_none() && Instant::now() < until, "pgbouncer does not get ready: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        pooler
    }

    /// The same database as that of the server's `url`, by way of this.
    pub fn url(&self, url: &str) -> String {
        let database = url.rsplit('/').next().expect("a URL has a path");
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Its answer, or why it has none.
fn psql(url: &str, sql: &str) -> Result<String, String> {
    let mut psql = Command::new(program("psql"));
    let said = psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]).output().expect("psql starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if said.status.success() { Ok(text(said.stdout)) } else { Err(text(said.stderr)) }
}

/// Ends what runs in `folder`, once this process has ended, and takes the folder away: first those whose number stands in a file, which might start
/// others anew, then servers. A server's number counts only as long as its process is one of that folder.
fn watch(folder: &Path) -> Child {
    let script = r#"cat >/dev/null
        for note in "$1"/*.pid; do [ ! -e "$note" ] || kill -KILL "$(cat "$note")"; done
        for data in "$1/data" "$1"/*/data; do
            pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || continue
            if grep -qF "$data" "/proc/$pid/cmdline"; then kill -QUIT "$pid"; kill -CONT "$pid"; else rm "$data/postmaster.pid"; fi
        done
        for _ in $(seq 100); do [ -n "$(find "$1" -maxdepth 3 -name postmaster.pid)" ] || break; sleep 0.05; done
        ! grep -qF " $1/data " /proc/mounts || umount --lazy "$1/data"
        rm -rf -- "$1""#;
    let mut watch = Command::new("sh");
    watch.args(["-c", script, "sh"]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // What a terminal tells the test to end must not end this before.
    std::os::unix::process::CommandExt::process_group(&mut watch, 0).spawn().expect("a shell")
}

/// A port for one that ends and comes back: it is none of those that the system gives to whoever connects.
fn steady_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(101);
    let ports = (0..12_000).map(|_| begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000 + 20_500);
    let mut free = ports.filter_map(|it| u16::try_from(it).ok()).filter(|it| TcpListener::bind(("127.0.0.1", *it)).is_ok());
    free.next().expect("a free port")
}

fn signal(name: &str, pid: u32) {
    // One that has ended meanwhile is what was wanted.
    drop(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status());
}

/// What stands in the first line of a file.
fn number_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
}

fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

/// One of Postgres's programs: of the newest version that Debian's packages have installed, or wherever else it is found.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|it| Some(it.ok()?.path().join("bin").join(name)));
    let number = |path: &PathBuf| path.iter().nth(4).and_then(|it| it.to_str()?.parse::<u32>().ok());
    // Of a name that begins at the root, `join` leaves just that.
    versions.filter(|it| it.exists()).max_by_key(number).unwrap_or_else(|| name.into())
}

/// The same, as a user that Postgres agrees to run as: it refuses root.
fn as_user(name: &str) -> Command {
    let Some(user) = other_user() else { return Command::new(program(name)) };
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "--"]).arg(program(name));
    command
}

/// Whom root runs it as, by number.
fn other_user() -> Option<u32> {
    let number = |who: &[&str]| -> Option<u32> {
        let said = Command::new("id").arg("-u").args(who).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(said.stdout).ok()?.trim().parse().ok()
    };
    if number(&[])? != 0 {
        return None;
    }
    number(&["postgres"]).or_else(|| number(&["nobody"]))
}

fn new_folder(below: &Path) -> PathBuf {
    let folder = tempfile::Builder::new().prefix("aegis-postgres").tempdir_in(below).expect("a temporary folder").keep();
    hand_over(&folder);
    folder
}

fn hand_over_file(file: &Path) {
    if let Some(user) = other_user() {
        std::os::unix::fs::chown(file, Some(user), Some(user)).expect("root may");
    }
}

fn hand_over(folder: &Path) {
    hand_over_file(folder);
    let mut note = fs::File::create(folder.join("README")).expect("a file");
    note.write_all(b"A test's Postgres. It goes when the test does.\n").expect("a few bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_replaces_its_primary_takes_the_old_one_back_and_leaves_nothing_behind() {
        if std::env::var_os("AEGIS_CLUSTER").is_none() {
            return println!("skipped: make test-cluster has what this needs");
        }
        let mut cluster = Cluster::start();
        let database = cluster.database();
        cluster.sql(&database, "CREATE TABLE kept(it int); INSERT INTO kept VALUES(7)");
        let first = cluster.primary().expect("a primary");
        cluster.kill(first);
        assert_ne!(cluster.until_taken_over(first).0, first);
        cluster.bring_back(first);
        cluster.until_whole(PATIENCE);
        for url in [cluster.url_by_proxy(&database), cluster.url_of_all(&database)] {
            assert_eq!(psql(&url, "SELECT it FROM kept; INSERT INTO kept VALUES(8)"), Ok("7".into()), "{url}");
            cluster.sql(&database, "DELETE FROM kept WHERE it = 8");
        }
        let folder = cluster.folder();
        drop(cluster);
        let named = |it: &PathBuf| fs::read_to_string(it.join("cmdline")).is_ok_and(|said| said.contains(&folder.display().to_string()));
        let left = fs::read_dir("/proc").expect("Linux").flatten().map(|it| it.path()).filter(named).collect::<Vec<_>>();
        assert!(!folder.exists() && left.is_empty(), "{left:?}");
    }

    #[test]
    fn what_was_committed_outlives_being_killed_and_nothing_outlives_its_end() {
        let mut server = Server::start();
        let url = server.database();
        server.sql(&url, "CREATE TABLE kept(it int); INSERT INTO kept VALUES(7)");
        server.kill();
        assert!(!server.is_ready());
        server.start_again();
        assert_eq!(server.sql(&url, "SELECT it FROM kept"), "7");
        server.stop();
        server.start_again();
        let (folder, pid) = (server.folder.clone(), server.postmaster.as_ref().expect("it runs").id());
        drop(server);
        assert!(!folder.exists() && !Path::new(&format!("/proc/{pid}")).exists());
    }
}
