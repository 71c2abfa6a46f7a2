//! The unit of `deploy/` under a real systemd: the first process of a machine of its own, made of this machine's programs, in which nothing else
//! is started. So its filters of system calls are those that a host meets.

use crate::deploy::file;
use crate::deployed::{database, lay_out};
use crate::host::{Host, aegis, free_port, is_root};
use crate::provider::{double, reply};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// What an operator does there. Each line that is said is what is looked at.
const OPERATOR: &str = r#"exec >/said 2>&1
systemctl start aegis && echo started
key=$(aegis keys create --principal alice --config /etc/aegis/aegis.yaml 2>/dev/null)
AEGIS_API_KEY=$key aegis runs create "How is the weather?" --json | grep -o '"response": *"the reply"'
echo "$(ls /var/cache/private/aegis/guards | wc -l) compiled"
first=$(systemctl show --property=MainPID --value aegis)
grep -E '^(NoNewPrivs|CapEff|Seccomp):' "/proc/$first/status" | tr -s '\t' ' '
kill -KILL "$first"
for _ in $(seq 600); do
    now=$(systemctl show --property=MainPID --value aegis)
    [ "$now" != 0 ] && [ "$now" != "$first" ] && aegis ready 2>/dev/null && echo restarted && break
    sleep 0.1
done
systemctl stop aegis && systemctl show --property=Result --value aegis
echo 'postgres://aegis@127.0.0.1:1/aegis' > /etc/aegis/secrets/database-url
systemctl start aegis 2>/dev/null || echo refused
journalctl --unit=aegis --output=cat --no-pager | grep -o '^AEG-STO-009' | head -n 1
systemctl --no-block poweroff
"#;

const OPERATORS_UNIT: &str = "[Unit]\nAfter=basic.target\n[Service]\nExecStart=/bin/sh /operator\nPassEnvironment=AEGIS_SERVER_URL\n";
const ALL_THERE_IS: &str = "[Unit]\nRequires=basic.target\nWants=operator.service\n";

/// What TLS needs of a machine.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A machine's root: its own `/etc`, and `/usr` of this machine with `aegis` in it.
fn machine(configuration: &dyn Fn(&Path)) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let at = |path: &str| folder.path().join("root").join(path);
    for made in ["etc/systemd/system", "etc/aegis", "etc/ssl/certs", "usr", "var", "run", "tmp", "proc", "sys", "dev", "root"] {
        fs::create_dir_all(at(made)).expect("writable");
    }
    for (link, to) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        symlink(to, at(link)).expect("writable");
    }
    fs::copy("/usr/lib/os-release", at("etc/os-release")).expect("every distribution says what it is");
    fs::copy(AUTHORITIES, at(&AUTHORITIES[1..])).expect("it was looked for");
    // Without it, it would ask who is to be its user.
    fs::write(at("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").expect("writable");
    fs::write(at("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("writable");
    fs::write(at("etc/group"), "root:x:0:\n").expect("writable");
    fs::write(at("etc/nsswitch.conf"), "passwd: files systemd\ngroup: files systemd\nhosts: files dns\n").expect("writable");
    fs::write(at("operator"), OPERATOR).expect("writable");
    for (unit, text) in
        [("operator.service", OPERATORS_UNIT), ("default.target", ALL_THERE_IS), ("aegis.service", &*file("systemd/aegis.service"))]
    {
        fs::write(at("etc/systemd/system").join(unit), text).expect("writable");
    }
    configuration(&at("etc/aegis"));
    let programs = folder.path().join("usr/local/bin");
    fs::create_dir_all(&programs).expect("writable");
    fs::copy(aegis(folder.path()).get_program(), programs.join("aegis")).expect("the binary");
    folder
}

/// Starts it, waits until it has ended by itself, and tells what was said; nothing where this machine does not let us.
fn run(machine: &Path, server: &str) -> String {
    let mut nspawn = Command::new("systemd-nspawn");
    nspawn.args(["--quiet", "--register=no", "--keep-unit", "--boot"]).arg(format!("--setenv=AEGIS_SERVER_URL={server}"));
    nspawn.arg("--directory").arg(machine.join("root")).arg(format!("--overlay=/usr:{}:/usr", machine.join("usr").display()));
    let log = fs::File::create(machine.join("log")).expect("writable");
    let mut process =
        nspawn.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("systemd-nspawn starts");
    let until = Instant::now() + Duration::from_secs(120);
    let ended = loop {
        match process.try_wait().expect("our child") {
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
            ended => break ended,
        }
    };
    drop(process.kill());
    drop(process.wait());
    let read = |path: &str| fs::read_to_string(machine.join(path)).unwrap_or_default();
    assert!(ended.is_some(), "the machine does not end:\n{}\n{}", read("root/said"), read("log"));
    read("root/said")
}

fn may_boot() -> bool {
    let there = ["/usr/bin/systemd-nspawn", "/usr/lib/systemd/systemd", AUTHORITIES].iter().all(|it| Path::new(it).exists());
    let merged = fs::read_link("/bin").is_ok();
    let may = is_root() && there && merged;
    if !may {
        println!("skipped: a machine of its own needs root, systemd, systemd-nspawn and ca-certificates (Debian: systemd-container)");
    }
    may
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_starts_serves_compiles_restarts_stops_and_fails_as_it_says() {
    if !may_boot() {
        return;
    }
    let (_, provider) = double(vec![reply(json!({"role": "assistant", "content": "the reply"}))]).await;
    let listen = format!("127.0.0.1:{}", free_port());
    let server = format!("http://{listen}");
    let said = spawn_blocking(move || {
        let database = database();
        let machine = machine(&|folder| {
            lay_out(folder, &database);
            let text = file("aegis.yaml").replace("0.0.0.0:8000", &listen).replace("https://api.openai.com", &format!("http://{provider}"));
            fs::write(folder.join("aegis.yaml"), text).expect("writable");
        });
        run(machine.path(), &server)
    });
    let expected = [
        "started",
        r#""response": "the reply""#,
        "1 compiled",
        "CapEff: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "restarted",
        "success",
        "refused",
        "AEG-STO-009",
    ];
    assert_eq!(said.await.expect("no panic").lines().collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_that_a_host_takes_requests_and_that_it_stops() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    let dir = TempDir::new().expect("a temporary folder");
    fs::write(dir.path().join("aegis.yaml"), crate::host::config("none")).expect("writable");
    let mut host = Host::start_as(dir, &["serve", "--no-auth"], &[("NOTIFY_SOCKET", path.to_str().expect("text"))]).await;
    let mut said = [0; 64];
    let mut hears = || socket.recv(&mut said).map(|length| String::from_utf8_lossy(&said[..length]).into_owned());
    assert_eq!(hears().expect("it is told"), "READY=1");
    host.terminate();
    assert_eq!(hears().expect("it is told"), "STOPPING=1");
    host.ended(Duration::from_secs(40)).await;
}
