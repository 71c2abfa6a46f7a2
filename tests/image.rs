//! The image of `deploy/`: its folder, made by the same script, is the root of a process as a container runtime makes one.

use crate::deploy::{image_environment, image_user, image_workdir};
use crate::deployed::{database_of, lay_out};
use crate::host::{aegis, ends, free_port, is_root, root};
use aegis_postgres::{Authority, Server};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// The image's folder as the root of a process: nothing else is there, nothing can be written but the cache, and it is nobody.
struct Container {
    root: TempDir,
    process: Child,
}

/// What a container runtime does, by the tools of every Linux: the root to read only, the cache a file system of its own, processes of its own.
const CONTAINER: &str = r#"set -eu
    mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"
    mount -t tmpfs -o "mode=1777" cache "$1/var/cache/aegis"
    mount -t proc proc "$1/proc"
    mount -t tmpfs dev "$1/dev" && touch "$1/dev/null" && mount --bind /dev/null "$1/dev/null"
    root=$1 user=$2 folder=$3; shift 3
    exec setpriv --clear-groups --no-new-privs unshare --root="$root" --wd="$folder" --setgid "$user" --setuid "$user" "$@""#;

impl Container {
    fn start(root: TempDir, args: &[&str]) -> Container {
        let log = fs::File::create(root.path().with_extension("log")).expect("writable");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "sh", "-c", CONTAINER, "sh"]).arg(root.path());
        command.args([&image_user(), &image_workdir(), "/usr/local/bin/aegis"]).args(args);
        command.env_clear().envs(image_environment()).env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("unshare starts");
        Container { root, process }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.path().with_extension("log")).unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The first process in it, with which all others end. `--kill-child` does not outlast the change of user.
        let pid = self.process.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        drop(Command::new("kill").arg("-KILL").args(children.split_whitespace()).stderr(Stdio::null()).status());
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_file(self.root.path().with_extension("log")));
    }
}

/// The image's folder with the binary of this build.
fn image() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let mut script = Command::new(root().join("deploy/image.sh"));
    let made = script.arg(aegis(folder.path()).get_program()).arg(folder.path()).output().expect("a shell");
    assert!(made.status.success(), "{made:?}");
    folder
}

/// Whether the kernel lets us make what a container is made of.
fn may_contain() -> bool {
    let mut trial = Command::new("unshare");
    let may = is_root() && trial.args(["--mount", "--pid", "--fork", "true"]).output().is_ok_and(|it| it.status.success());
    if !may {
        println!("skipped: only root may unshare, and not in every container");
    }
    may
}

/// What `aegis ready` says.
fn ready(address: &str) -> Output {
    let mut asking = aegis(Path::new("/"));
    asking.arg("ready").env("AEGIS_SERVER_URL", format!("http://{address}"));
    ends(asking)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_has_all_that_a_host_needs_which_may_write_its_cache_alone() {
    if !may_contain() {
        return;
    }
    let authority = Authority::new();
    let (certificate, key) = authority.issue(&["database"]);
    let prepared = spawn_blocking(move || {
        let server = Server::start();
        server.speak_tls(&certificate, &key);
        let place = format!("{}?sslmode=require", database_of(&server));
        (image(), server, place)
    });
    let (image, _server, place) = prepared.await.expect("no panic");
    let at = |path: &str| image.path().join(path);
    for made_by_every_runtime in ["proc", "dev"] {
        fs::create_dir(at(made_by_every_runtime)).expect("writable");
    }
    fs::write(at("etc/aegis/authorities/database.crt"), authority.pem()).expect("writable");
    // As a runtime writes it: the image reads names from this file.
    fs::write(at("etc/hosts"), "127.0.0.1 database\n").expect("writable");
    lay_out(&at("etc/aegis"), &place.replace("127.0.0.1", "database"));
    let user: u32 = image_user().parse().expect("a number");
    for path in ["", "secrets", "secrets/database-url", "secrets/provider-key", "secrets/database-password"] {
        chown(at("etc/aegis").join(path), Some(user), Some(user)).expect("root may");
    }
    fs::set_permissions(image.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let address = format!("127.0.0.1:{}", free_port());
    let mut container = Container::start(image, &["serve", "--listen", &address]);
    let until = Instant::now() + Duration::from_secs(120);
    while !ready(&address).status.success() {
        let ended = container.process.try_wait().expect("ours");
        assert!(ended.is_none() && Instant::now() < until, "{ended:?}\n{}", container.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let log = container.log();
    assert!(log.contains("listening") && !log.contains("WARN\",\"message\":\"a compiled guard"), "{log}");
}

#[test]
fn a_server_that_is_not_there_is_not_ready() {
    let told = ready(&format!("127.0.0.1:{}", free_port()));
    assert!(told.status.code() == Some(1) && String::from_utf8_lossy(&told.stderr).contains("no answer from"), "{told:?}");
}

#[test]
fn a_host_may_open_as_many_files_as_the_system_lets_it() {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("aegis.yaml"), crate::host::config("none")).expect("writable");
    let (address, plain) = (format!("127.0.0.1:{}", free_port()), aegis(folder.path()));
    let mut serving = Command::new("prlimit");
    serving.current_dir(folder.path()).args(["--nofile=300:3000", "--"]).arg(plain.get_program());
    let mut host = serving.args(["serve", "--no-auth", "--listen", &address]).stderr(Stdio::null()).spawn().expect("prlimit starts");
    let waited = aegis(folder.path()).args(["ready", "--wait", "1min"]).env("AEGIS_SERVER_URL", format!("http://{address}")).status();
    let limits = fs::read_to_string(format!("/proc/{}/limits", host.id())).expect("it runs");
    host.kill().and_then(|()| host.wait()).expect("ours");
    let files: Vec<&str> =
        limits.lines().find_map(|it| it.strip_prefix("Max open files")).expect("Linux tells").split_whitespace().collect();
    assert!(waited.is_ok_and(|it| it.success()) && files[..2] == ["3000", "3000"], "{limits}");
}
