//! How failures of the machine end: no room, no rights, another program's lock, damage. Refused with a code and what to do; nothing
//! is half stored, nothing that was there is touched, and the host goes on when it can.

use crate::host::{Host, aegis, config, ends, is_root};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const QUESTION: &str = "Please give me financial advice.";

/// A configuration with its database at `path`, and no folder that could be somebody else's.
fn at(path: &str) -> String {
    let text = config("none").replace("path: aegis.db", &format!("path: {path}"));
    let server = text.rfind("server:").expect("it is the last");
    format!("{}server: {{cache_dir: none}}\n", &text[..server])
}

fn serve(folder: &Path) -> Output {
    let mut command = aegis(folder);
    command.args(["serve", "--no-auth", "--listen", "127.0.0.1:0"]);
    ends(command)
}

/// Exit 1, silence on stdout, the code and `said` on stderr, and what to do.
fn refused(what: &str, output: &Output, code: &str, said: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let failure = stderr.lines().position(|it| it.starts_with(code)).unwrap_or_else(|| panic!("{what}: {code} is not said: {stderr}"));
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{what}: {stderr}");
    let rest: Vec<&str> = stderr.lines().skip(failure).collect();
    assert!(rest[0].contains(said) && rest.iter().any(|it| it.starts_with("  fix: ")), "{what}: {said:?} is not said: {stderr}");
}

/// A database with some runs in it, closed.
async fn database() -> Vec<u8> {
    let mut host = Host::start(&config("none")).await;
    for _ in 0..20 {
        host.submit("", "hello", json!({})).await;
    }
    host.terminate();
    host.ended(Duration::from_secs(30)).await;
    fs::read(host.dir.path().join("aegis.db")).expect("the database")
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn what_is_no_sound_database_is_refused_at_start_and_left_alone() {
    let good = database().await;
    assert!(good.len() > 8 * 4096, "it is not as large as these cases need");
    let with_noise = |from: usize, length: usize| {
        let mut bytes = good.clone();
        bytes[from..from + length].copy_from_slice(&noise(length));
        bytes
    };
    let half = good.len() / 2;
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "is empty, and a database never is"),
        ("text", b"dear diary, ".repeat(1000), "is no database of Aegis"),
        ("noise", noise(good.len()), "is no database of Aegis"),
        ("noise in the head", with_noise(0, 100), "is no database of Aegis"),
        ("noise in the first page", with_noise(100, 3996), "damaged"),
        ("noise in the middle", with_noise(half, 4096 * 2), "damaged"),
        ("noise to the end", with_noise(4096, good.len() - 4096), "damaged"),
        ("zeros in the middle", [&good[..half], &vec![0; 8192], &good[half + 8192..]].concat(), "damaged"),
        ("half of it", good[..half].into(), "damaged"),
        ("one page", good[..4096].into(), "damaged"),
        ("less than a page", good[..1000].into(), "damaged"),
    ];
    for (what, bytes, said) in rows {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("aegis.db");
        fs::write(folder.path().join("aegis.yaml"), at("aegis.db")).expect("the folder is writable");
        fs::write(&file, &bytes).expect("the folder is writable");
        refused(what, &serve(folder.path()), "AEG-STO-004", said);
        assert!(fs::read(&file).expect("it is there") == bytes, "{what} was changed");
    }
}

#[test]
fn a_place_that_cannot_hold_a_database_is_refused_with_what_is_there() {
    type Row = (&'static str, &'static str, fn(&Path), &'static str, &'static str);
    let rows: [Row; 7] = [
        ("no folder", "nowhere/aegis.db", |_| {}, "AEG-STO-005", "there is no folder nowhere: create it first"),
        ("a file for a folder", "aegis.yaml/aegis.db", |_| {}, "AEG-STO-005", "there is no folder aegis.yaml: create it first"),
        (
            "a folder",
            "folder",
            |it| fs::create_dir(it.join("folder")).expect("a folder"),
            "AEG-STO-005",
            "it is a folder, and should be a file",
        ),
        ("a loop", "loop.db", |it| symlink("loop.db", it.join("loop.db")).expect("a link"), "AEG-STO-005", "cannot open loop.db: "),
        (
            "a link to nothing",
            "link.db",
            |it| symlink("gone.db", it.join("link.db")).expect("a link"),
            "AEG-STO-005",
            "a link to a file that is not there",
        ),
        ("a device", "/dev/full", |_| {}, "AEG-STO-004", "is empty"),
        (
            "what was written last, alone",
            "aegis.db",
            |it| fs::write(it.join("aegis.db-wal"), "x").expect("a file"),
            "AEG-STO-004",
            "aegis.db is gone, and what was written last is still beside it",
        ),
    ];
    for (what, path, prepare, code, said) in rows {
        let folder = TempDir::new().expect("a temporary folder");
        fs::write(folder.path().join("aegis.yaml"), at(path)).expect("the folder is writable");
        prepare(folder.path());
        refused(what, &serve(folder.path()), code, said);
        let mut keys = aegis(folder.path());
        keys.args(["keys", "create", "--principal", "ada"]);
        refused(what, &ends(keys), code, said);
        assert!(
            !folder.path().join("gone.db").exists() && fs::read_dir(folder.path()).expect("a folder").count() <= 2,
            "{what}: something was made"
        );
    }
}

/// Who may do nothing but read what everybody may.
const NOBODY: &str = "65534";

#[test]
fn who_may_not_write_there_is_told_so() {
    for (what, folder_mode, file_mode, said) in [
        ("a folder to read", 0o555, None, "whoever runs Aegis may not write it"),
        ("a folder to read and a database", 0o555, Some(0o666), "may not write it, or not create files in its folder"),
        ("a folder of somebody else", 0o700, Some(0o666), ""),
        ("a database to read", 0o777, Some(0o444), "whoever runs Aegis may not write it"),
        ("a database of somebody else", 0o777, Some(0o600), "whoever runs Aegis may not write it"),
    ] {
        let folder = TempDir::new().expect("a temporary folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        fs::write(folder.path().join("aegis.yaml"), at("data/aegis.db")).expect("the folder is writable");
        if let Some(mode) = file_mode {
            let mut keys = aegis(folder.path());
            assert!(
                ends({
                    keys.args(["keys", "list"]);
                    keys
                })
                .status
                .success()
            );
            fs::set_permissions(data.join("aegis.db"), fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        let before = file_mode.map(|_| fs::read(data.join("aegis.db")).expect("the database"));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::set_permissions(&data, fs::Permissions::from_mode(folder_mode)).expect("it is ours");
        let Some(output) = as_nobody(folder.path()) else { return };
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("it is ours");
        refused(what, &output, "AEG-STO-005", said);
        assert!(before == fs::read(data.join("aegis.db")).ok(), "{what}: the database was made or changed");
    }
}

/// `aegis serve` without rights; nothing where this machine cannot do that.
fn as_nobody(folder: &Path) -> Option<Output> {
    let plain = aegis(folder);
    let mut command = Command::new("setpriv");
    command.current_dir(folder).args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(plain.get_program());
    let rights = is_root().then_some(command.args(["serve", "--no-auth", "--listen", "127.0.0.1:0"]));
    let reachable = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "test", "-x"])
        .arg(plain.get_program())
        .status();
    match rights {
        None => Some(serve(folder)),
        Some(_) if reachable.is_ok_and(|it| it.success()) => Some(ends(command)),
        Some(_) => {
            println!("skipped: setpriv is not there, or nobody may not run {}", plain.get_program().display());
            None
        }
    }
}

/// A small file system of its own, taken away at the end.
struct Disk(TempDir);

impl Disk {
    /// Nothing where this machine does not let us.
    fn mount(size: &str) -> Option<Disk> {
        let disk = Disk(TempDir::new().expect("a temporary folder"));
        let mounted = is_root() && mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "aegis-test"], disk.path());
        if !mounted {
            println!("skipped: only root may mount a small tmpfs, and not in every container");
        }
        mounted.then_some(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Leaves no room.
    fn fill(&self) {
        drop(fs::write(self.filler(), vec![0; 16 << 20]));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.path()).output());
    }
}

fn mount(args: &[&str], at: &Path) -> bool {
    Command::new("mount").args(args).arg(at).output().is_ok_and(|it| it.status.success())
}

#[tokio::test]
async fn a_full_disk_is_said_and_once_there_is_room_it_goes_on() {
    let Some(disk) = Disk::mount("2m") else { return };
    let file = disk.path().join("aegis.db");
    let host = Host::start(&at(&file.display().to_string())).await;
    let paused = host.submit("", QUESTION, json!({})).await;
    let id = |run: &Value| run["run_id"].as_str().expect("an id").to_owned();
    disk.fill();
    let body = |size: usize| json!({"messages": [{"role": "user", "content": "x".repeat(size)}]});
    let (mut made, mut refused) = (vec![id(&paused)], 0);
    // Large ones first, until there is not even room for small ones.
    for size in [[20_000; 40], [1; 40]].concat() {
        match host.post("", "/v1/runs", body(size)).await {
            (200, run) => made.push(id(&run)),
            (status, error) => {
                refused += 1;
                let code = error["error"]["code"].as_str().unwrap_or_default();
                assert!([500, 503].contains(&status) && code == "AEG-STO-001", "{status} {error}");
                assert!(error["error"]["message"].as_str().is_some_and(|it| it.contains("the disk is full: make room")), "{error}");
            }
        }
    }
    assert!(refused > 40, "the disk never filled");
    let resume = format!("/v1/runs/{}/resume", id(&paused));
    let (status, error) = host.post("", &resume, json!({"decision": "approved", "comment": "x".repeat(4000)})).await;
    assert_eq!((status, &error["error"]["code"]), (503, &json!("AEG-STO-001")), "{error}");
    assert_eq!(host.get("", &format!("/v1/runs/{}", id(&paused))).await.1["status"], "paused");
    fs::remove_file(disk.filler()).expect("the filler");
    let deadline = Instant::now() + Duration::from_secs(20);
    while host.post("", "/v1/runs", body(1)).await.0 != 200 {
        assert!(Instant::now() < deadline, "there is room, and it does not go on:\n{}", host.log());
    }
    let host = host.crash_and_restart().await;
    for id in &made {
        let run = host.settled("", id, if *id == made[0] { "paused" } else { "completed" }).await;
        assert_eq!(&run["run_id"], id);
    }
    let listed = host.get("", "/v1/runs?limit=200").await.1;
    let listed = listed["data"].as_array().expect("a list");
    assert_eq!(listed.len(), made.len() + 1, "what was refused is there, or what was answered is not");
    assert_eq!(host.post("", &resume, json!({"decision": "approved"})).await.1["status"], "completed");
}

#[test]
fn a_start_on_a_full_disk_or_one_to_read_is_refused_and_leaves_nothing() {
    let Some(disk) = Disk::mount("256k") else { return };
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("aegis.yaml"), at(&disk.path().join("aegis.db").display().to_string())).expect("the folder is writable");
    let there = || fs::read_dir(disk.path()).expect("a folder").flatten().map(|it| it.file_name()).collect::<Vec<_>>();
    disk.fill();
    refused("full", &serve(folder.path()), "AEG-STO-001", "the disk is full: make room");
    assert_eq!(there(), ["filler"], "half a database is left");
    fs::remove_file(disk.filler()).expect("the filler");
    assert!(mount(&["-o", "remount,ro"], disk.path()));
    refused("to read", &serve(folder.path()), "AEG-STO-005", "mounted read-only");
    assert!(there().is_empty());
}

/// As another program would take it.
fn lock(file: &Path) -> Connection {
    let db = Connection::open(file).expect("the database");
    db.execute_batch("BEGIN EXCLUSIVE").expect("nobody else writes");
    db
}

#[tokio::test]
async fn a_database_that_another_program_has_locked_is_waited_for_and_then_said() {
    let host = Host::start(&config("none")).await;
    let paused = host.submit("", QUESTION, json!({})).await;
    let path = format!("/v1/runs/{}", paused["run_id"].as_str().expect("an id"));
    let file = host.dir.path().join("aegis.db");
    let briefly = lock(&file);
    let (run, ()) = tokio::join!(host.submit("", "hello", json!({})), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(briefly);
    });
    assert_eq!(run["status"], "completed", "a short lock is waited for");

    let lock = lock(&file);
    let body = json!({"messages": [{"role": "user", "content": "hello"}]});
    let resume = format!("{path}/resume");
    let (submitted, resumed) = tokio::join!(host.post("", "/v1/runs", body), host.post("", &resume, json!({"decision": "approved"})));
    for (status, error) in [submitted, resumed] {
        assert_eq!((status, &error["error"]["code"]), (503, &json!("AEG-STO-006")), "{error}");
        assert!(error["error"]["message"].as_str().is_some_and(|it| it.contains("another program has locked the database")), "{error}");
    }
    assert_eq!(host.get("", &path).await.1["status"], "paused", "reading goes on");
    drop(lock);
    assert_eq!(host.get("", "/v1/runs").await.1["data"].as_array().expect("a list").len(), 2, "what was refused is there");
    assert_eq!(host.post("", &resume, json!({"decision": "approved"})).await.1["status"], "completed");
}

#[tokio::test]
async fn a_database_that_another_program_has_locked_is_refused_at_start() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("aegis.db");
    fs::write(folder.path().join("aegis.yaml"), at("aegis.db")).expect("the folder is writable");
    fs::write(&file, database().await).expect("the folder is writable");
    let lock = lock(&file);
    refused("locked", &serve(folder.path()), "AEG-STO-006", "another program has locked the database");
    drop(lock);
}

#[tokio::test]
async fn damage_while_the_host_runs_is_said_and_the_next_start_is_refused() {
    let mut host = Host::start(&config("none")).await;
    let mut paths = vec!["/v1/runs?limit=200".to_owned()];
    for _ in 0..40 {
        let run = host.submit("", &"x".repeat(3000), json!({})).await;
        paths.push(format!("/v1/runs/{}", run["run_id"].as_str().expect("an id")));
    }
    let file = host.dir.path().join("aegis.db");
    Connection::open(&file).and_then(|db| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))).expect("it is folded in");
    let length = fs::metadata(&file).expect("the database").len() as usize;
    let open = fs::OpenOptions::new().write(true).open(&file).expect("the database");
    open.write_all_at(&noise(length - 4096), 4096).expect("it is ours");
    let mut said = 0;
    for path in &paths {
        let (status, answer) = host.get("", path).await;
        assert!(status == 200 || (status, &answer["error"]["code"]) == (503, &json!("AEG-STO-004")), "{path}: {status} {answer}");
        said += usize::from(status == 503);
    }
    assert!(said > 0, "nobody has noticed that all is noise");
    for _ in 0..3 {
        let (status, answer) = host.post("", "/v1/runs", json!({"messages": [{"role": "user", "content": "hello"}]})).await;
        assert!(status == 200 || (status, &answer["error"]["code"]) == (503, &json!("AEG-STO-004")), "{status} {answer}");
    }
    assert_eq!(host.get("", "/healthz").await.0, 200);
    host.terminate();
    host.ended(Duration::from_secs(40)).await;
    refused("noise", &serve(host.dir.path()), "AEG-STO-004", "damaged");
}

/// Makes nonsense of what is stored of these runs.
fn damage(folder: &Path, ids: &[String]) {
    let db = Connection::open(folder.join("aegis.db")).expect("the database");
    db.busy_timeout(Duration::from_secs(5)).expect("it waits");
    for id in ids {
        let changed = db.execute("UPDATE run SET checkpoint = CAST('{}' AS BLOB) WHERE hex(id) = upper(replace(?1, '-', ''))", [id]);
        assert_eq!(changed, Ok(1), "{id}");
    }
}

async fn submit_many(host: &Host, count: usize, text: &str, more: Value) -> Vec<String> {
    let mut ids = vec![];
    for _ in 0..count {
        let run = host.submit("", text, more.clone()).await;
        ids.push(run["run_id"].as_str().expect("an id").to_owned());
    }
    ids
}

#[tokio::test]
async fn runs_that_cannot_be_read_are_named_and_keep_no_other_from_being_listed_decided_or_ended() {
    // More than are ended at once, all of them due before the one that can be read.
    let host = Host::start(&format!("{}approval: {{expires_after: 6s}}\n", config("none"))).await;
    let damaged = submit_many(&host, 101, QUESTION, json!({})).await;
    let [decided, expires] = &submit_many(&host, 2, QUESTION, json!({})).await[..] else { unreachable!("two were asked for") };
    damage(host.dir.path(), &damaged);
    for path in ["/v1/runs?limit=200", "/v1/approvals?limit=200"] {
        let (status, list) = host.get("", path).await;
        assert_eq!((status, list["data"].as_array().map(Vec::len)), (200, Some(2)), "{path}: {list}");
        let unreadable = list["unreadable"].as_array().expect("a list");
        assert_eq!((unreadable.len(), &unreadable[100]["run_id"]), (101, &json!(damaged[0])), "{path}");
        assert_eq!((&unreadable[0]["status"], &unreadable[0]["code"]), (&json!("unreadable"), &json!("AEG-STO-004")));
    }
    let page = host.get("", "/approvals").await.1;
    assert!(page.as_str().is_some_and(|it| it.contains(&format!("run {} cannot be read", damaged[100]))), "{page}");
    let listed = host.aegis("", &["runs", "list", "--limit", "200"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.lines().any(|it| it.starts_with(&format!("{}\tunreadable\t", damaged[7]))), "{listed}");
    let (_, run) = host.post("", &format!("/v1/runs/{decided}/resume"), json!({"decision": "approved"})).await;
    assert_eq!(run["status"], "completed", "{run}");
    host.settled("", expires, "denied").await;
    let check = host.aegis("", &["db", "check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.code() == Some(1) && said.contains(&format!("run {} cannot be read", damaged[0])), "{said}");
}

#[tokio::test]
async fn runs_that_cannot_be_read_keep_no_other_from_being_taken_up() {
    let slow = config("none").replace(r#"response: "the reply""#, r#"response: "the reply", delay: 3s"#);
    let mut host = Host::start(&slow).await;
    // More than go on at once.
    let damaged = submit_many(&host, 40, "hello", json!({"background": true})).await;
    let sound = submit_many(&host, 3, "hello", json!({"background": true})).await;
    host.kill();
    damage(host.dir.path(), &damaged);
    let host = host.crash_and_restart().await;
    for id in &sound {
        host.settled("", id, "completed").await;
    }
    assert!(host.log().contains(&damaged[0]), "the log does not name it");
}

/// Every write to the log of the database fails, with an answer of the model under way, and then does not any more.
#[tokio::test]
async fn a_disk_that_takes_no_write_is_said_acknowledges_nothing_and_once_it_does_all_goes_on() {
    let slow = config("none").replace(r#"response: "the reply""#, r#"response: "the reply", delay: 1s"#);
    let host = Host::start_on_a_disk_that_may_fail(&slow).await;
    let paused = submit_many(&host, 3, QUESTION, json!({})).await;
    let running = submit_many(&host, 3, "hello", json!({"background": true})).await;
    host.limit_files(Some(1));
    for _ in 0..3 {
        let (status, error) = host.post("", "/v1/runs", json!({"messages": [{"role": "user", "content": "hello"}]})).await;
        assert_eq!((status, &error["error"]["code"]), (503, &json!("AEG-STO-001")), "{error}");
    }
    for id in &paused {
        let (status, error) = host.post("", &format!("/v1/runs/{id}/resume"), json!({"decision": "approved"})).await;
        assert_eq!((status, &error["error"]["code"]), (503, &json!("AEG-STO-001")), "{error}");
        assert_eq!(host.get("", &format!("/v1/runs/{id}")).await.1["status"], "paused");
    }
    // The model has answered meanwhile, and nothing of that could be kept.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for id in &running {
        assert_eq!(host.get("", &format!("/v1/runs/{id}")).await.1["status"], "running");
    }
    assert_eq!(host.get("", "/healthz").await.0, 200);
    host.limit_files(None);
    for id in &running {
        let run = host.settled("", id, "completed").await;
        assert!(!run["events"].to_string().contains("interrupted"), "the answer that there was is the one that counts: {run}");
    }
    let (_, run) = host.post("", &format!("/v1/runs/{}/resume", paused[0]), json!({"decision": "approved"})).await;
    assert_eq!(run["status"], "completed", "{run}");
    let host = host.crash_and_restart().await;
    let listed = host.get("", "/v1/runs?limit=200").await.1;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(6), "what was refused is there, or what was answered is not: {listed}");
    assert!(host.aegis("", &["db", "check"]).status.success());
}
