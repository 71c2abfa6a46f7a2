//! A disk that fails: writes, syncs and reads end with an error, the file system is read-only from one moment on, a failed sync has forgotten what it
//! was to write. What was acknowledged is there after a power cut, what was refused is said, and the store goes on when the disk does.

#![expect(unsafe_code, reason = "SQLite takes a file system as a table of C functions")]

use aegis_core::{Backoff, Event, Message, OnUnknown, Plan, Principal, Request, Role, Run, RunId, Stages, Time};
use aegis_store::{Access, CommitError, Runs, Sqlite, StoreError, Upkeep};
use rusqlite::ffi;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use tempfile::TempDir;

/// What the disk does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// `EIO` for every write.
    Write,
    /// `EIO` for every sync. What was written since the last one can still be read, will never reach the disk, and later syncs say nothing of it: so Linux does it.
    Sync,
    /// `EIO` for every read.
    Read,
    /// `EROFS`: as a file system is left that was mounted anew after an error.
    ReadOnly,
    /// `ENOSPC`
    Full,
    /// Only the database itself takes no write, and its log does.
    Database,
}

/// One file as the disk has it, and what was written since the last sync.
#[derive(Default, Clone)]
struct Kept {
    durable: Vec<u8>,
    dirty: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Kept {
    fn sync(&mut self) {
        for change in self.dirty.drain(..) {
            match change {
                Change::Truncate(length) => self.durable.truncate(length),
                Change::Write(at, bytes) => {
                    let end = at + bytes.len();
                    self.durable.resize(self.durable.len().max(end), 0);
                    self.durable[at..end].copy_from_slice(&bytes);
                }
            }
        }
    }
}

/// The disk under every database of this process.
struct Disk {
    fault: Option<Fault>,
    /// So many calls have failed.
    failed: u64,
    files: BTreeMap<PathBuf, Kept>,
    /// By the address of SQLite's handle.
    open: BTreeMap<usize, PathBuf>,
    /// SQLite's own functions by the address of the table that stands for them.
    methods: BTreeMap<usize, &'static ffi::sqlite3_io_methods>,
}

static DISK: Mutex<Disk> =
    Mutex::new(Disk { fault: None, failed: 0, files: BTreeMap::new(), open: BTreeMap::new(), methods: BTreeMap::new() });

fn disk() -> MutexGuard<'static, Disk> {
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    fn fails(&mut self, fault: bool, code: c_int) -> Option<c_int> {
        self.failed += u64::from(fault);
        fault.then_some(code)
    }

    fn kept(&mut self, file: *mut ffi::sqlite3_file) -> &mut Kept {
        let path = self.open.get(&(file as usize)).expect("it is open");
        self.files.get_mut(path).expect("it was noted when it was opened")
    }

    fn is_log(&self, file: *mut ffi::sqlite3_file) -> bool {
        self.open.get(&(file as usize)).is_some_and(|it| it.as_os_str().as_bytes().ends_with(b"-wal"))
    }

    fn refuses_write(&mut self, file: *mut ffi::sqlite3_file) -> Option<c_int> {
        match self.fault {
            Some(Fault::Full) => self.fails(true, ffi::SQLITE_FULL),
            Some(Fault::Write | Fault::ReadOnly) => self.fails(true, ffi::SQLITE_IOERR_WRITE),
            Some(Fault::Database) => {
                let database = !self.is_log(file);
                self.fails(database, ffi::SQLITE_IOERR_WRITE)
            }
            _ => None,
        }
    }
}

/// SQLite's own functions for this file.
fn plain(file: *mut ffi::sqlite3_file) -> &'static ffi::sqlite3_io_methods {
    // SAFETY: SQLite calls with a file that `open` has set up.
    let table = unsafe { (*file).pMethods } as usize;
    disk().methods[&table]
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: the arguments are SQLite's own, handed on to the file system that was there before ours.
    unsafe {
        let before = ffi::sqlite3_vfs_find(c"unix".as_ptr());
        let end = (*before).xOpen.expect("it opens files")(before, name, file, flags, out);
        if end != ffi::SQLITE_OK || name.is_null() || flags & (ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_WAL) == 0 {
            return end;
        }
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(CStr::from_ptr(name).to_bytes()));
        let methods = &*(*file).pMethods;
        let ours = Box::leak(Box::new(ffi::sqlite3_io_methods {
            xClose: Some(close),
            xRead: Some(read),
            xWrite: Some(write),
            xTruncate: Some(truncate),
            xSync: Some(sync),
            ..*methods
        }));
        (*file).pMethods = ours;
        let there = std::fs::read(&path).unwrap_or_default();
        let mut disk = disk();
        disk.methods.insert(std::ptr::from_mut(ours) as usize, methods);
        disk.open.insert(file as usize, path.clone());
        if there.is_empty() || !disk.files.contains_key(&path) {
            disk.files.insert(path, Kept { durable: there, dirty: vec![] });
        }
        end
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let plain = plain(file);
    disk().open.remove(&(file as usize));
    // SAFETY: as SQLite has called.
    unsafe { plain.xClose.expect("every file closes")(file) }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, length: c_int, at: ffi::sqlite3_int64) -> c_int {
    let plain = plain(file);
    let refused = {
        let mut disk = disk();
        let fault = disk.fault == Some(Fault::Read);
        disk.fails(fault, ffi::SQLITE_IOERR_READ)
    };
    // SAFETY: as SQLite has called.
    refused.unwrap_or_else(|| unsafe { plain.xRead.expect("every file is read")(file, into, length, at) })
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, length: c_int, at: ffi::sqlite3_int64) -> c_int {
    let plain = plain(file);
    if let Some(refused) = disk().refuses_write(file) {
        return refused;
    }
    // SAFETY: as SQLite has called; `from` has `length` bytes.
    let (end, bytes) = unsafe {
        let end = plain.xWrite.expect("every file is written")(file, from, length, at);
        (end, std::slice::from_raw_parts(from.cast::<u8>(), length as usize).to_vec())
    };
    disk().kept(file).dirty.push(Change::Write(at as usize, bytes));
    end
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: ffi::sqlite3_int64) -> c_int {
    let plain = plain(file);
    if let Some(refused) = disk().refuses_write(file) {
        return refused;
    }
    disk().kept(file).dirty.push(Change::Truncate(length as usize));
    // SAFETY: as SQLite has called.
    unsafe { plain.xTruncate.expect("every file is cut")(file, length) }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    let mut disk = disk();
    if disk.fault == Some(Fault::Sync) {
        disk.failed += 1;
        disk.kept(file).dirty.clear();
        return ffi::SQLITE_IOERR_FSYNC;
    }
    disk.kept(file).sync();
    ffi::SQLITE_OK
}

/// Puts the disk under every database that is opened from now on. One test at a time has it.
fn install() -> MutexGuard<'static, ()> {
    static INSTALLED: Once = Once::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the table and its name live as long as the process, and the rest of it is that of the file system there was.
    INSTALLED.call_once(|| unsafe {
        let ours = ffi::sqlite3_vfs {
            zName: c"failing".as_ptr(),
            pNext: std::ptr::null_mut(),
            xOpen: Some(open),
            ..*ffi::sqlite3_vfs_find(c"unix".as_ptr())
        };
        assert_eq!(ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1), ffi::SQLITE_OK);
    });
    breaks(None);
    turn
}

fn breaks(fault: Option<Fault>) {
    let mut disk = disk();
    disk.fault = fault;
    disk.failed = 0;
}

fn run(number: u64) -> Run {
    let plan = Plan {
        route: "default".into(),
        provider: "fake".into(),
        provider_is: None,
        model: String::new(),
        pipeline: Stages::default(),
        attempts: 1,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    };
    let request = Request { messages: vec![Message::text(Role::User, "x".repeat(2000))], ..Request::default() };
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Run::new(RunId::new(Time(number), random), plan, request, Principal::anonymous(), false, [7; 32], Time(number))
        .expect("no approvers are named")
}

/// A store, what it has acknowledged, and what it has refused.
struct Client {
    store: Arc<Sqlite>,
    next: u64,
    durable: BTreeMap<RunId, u64>,
    refused: Vec<RunId>,
}

impl Client {
    fn open(file: &Path) -> Client {
        Client { store: Arc::new(host(file)), next: 0, durable: BTreeMap::new(), refused: vec![] }
    }

    /// Creates and moves `count` runs, several at a time.
    async fn work(&mut self, count: u64) {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..count {
            self.next += 1;
            let (store, mut run) = (self.store.clone(), run(self.next));
            tasks.spawn(async move {
                let created = store.run_create(run.commit()).await;
                if created.is_err() {
                    return (run.id(), 0, created);
                }
                run.handle(Event::Cancelled { by: Principal::anonymous() }, run.created_at()).expect("a run under way");
                let moved = store.run_commit(run.commit()).await;
                (run.id(), 1 + u64::from(moved.is_ok()), moved)
            });
        }
        for (id, version, end) in tasks.join_all().await {
            if version > 0 {
                self.durable.insert(id, version);
            } else {
                self.refused.push(id);
            }
            match end {
                Ok(()) | Err(CommitError::Store(StoreError::Io(_) | StoreError::Full | StoreError::Place(_))) => {}
                Err(error) => panic!("{id}: {error}"),
            }
        }
    }
}

fn host(file: &Path) -> Sqlite {
    Sqlite::open(file, Access::Host).expect("a database")
}

/// Both files as the disk has them at this moment, in a folder of their own.
fn power_cut(file: &Path) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let disk = disk();
    for end in ["", "-wal"] {
        let kept = disk.files.get(&beside(file, end)).cloned().unwrap_or_default();
        std::fs::write(folder.path().join(format!("test.db{end}")), kept.durable).expect("written");
    }
    folder
}

fn beside(file: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", file.display()))
}

/// What was acknowledged is there, and nothing is wrong.
async fn whole(file: &Path, durable: &BTreeMap<RunId, u64>, what: &str) {
    let store = host(file);
    for (id, version) in durable {
        let run = store.run_fetch(*id).await.expect("an answer").unwrap_or_else(|| panic!("{what}: {id} is lost"));
        assert!(run.version() >= *version, "{what}: version {version} of {id} is lost");
    }
    assert_eq!(store.check().await.expect("a report").faults, Vec::<String>::new(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::await_holding_lock, reason = "one test at a time has the disk")]
async fn a_disk_that_fails_loses_nothing_that_was_acknowledged_and_the_store_goes_on_when_it_does() {
    let _turn = install();
    for fault in [Fault::Write, Fault::Sync, Fault::ReadOnly, Fault::Full, Fault::Database] {
        breaks(None);
        let what = format!("{fault:?}");
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().canonicalize().expect("a folder").join("test.db");
        let mut client = Client::open(&file);
        client.work(60).await;
        assert_eq!((client.durable.len(), client.refused.len()), (60, 0), "{what}");
        for round in 0..3 {
            let (told, refused) = (client.durable.len(), client.refused.len());
            breaks(Some(fault));
            // The log is folded into the database now and then.
            let mut during = 0;
            while disk().failed == 0 && during < 4000 {
                client.work(200).await;
                during += 200_usize;
            }
            assert!(disk().failed > 0, "{what} {round}: nothing failed");
            if fault == Fault::Database {
                assert_eq!(client.refused.len(), refused, "{what} {round}: the log is enough");
            } else {
                assert_eq!(client.durable.len(), told, "{what} {round}: acknowledged by a disk that fails");
            }
            let cut = power_cut(&file);
            breaks(None);
            whole(&cut.path().join("test.db"), &client.durable, &format!("{what} {round}, cut while it fails")).await;
            client.work(60).await;
            assert_eq!(
                client.durable.len(),
                told + 60 + if fault == Fault::Database { during } else { 0 },
                "{what} {round}: it does not go on"
            );
            for id in &client.refused {
                assert_eq!(client.store.run_fetch(*id).await, Ok(None), "{what} {round}: {id} was refused");
            }
            let cut = power_cut(&file);
            whole(&cut.path().join("test.db"), &client.durable, &format!("{what} {round}, cut afterwards")).await;
        }
        assert_eq!(client.store.check().await.expect("a report").faults, Vec::<String>::new(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::await_holding_lock, reason = "one test at a time has the disk")]
async fn a_disk_that_cannot_be_read_is_an_error_and_no_answer() {
    let _turn = install();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().canonicalize().expect("a folder").join("test.db");
    let mut client = Client::open(&file);
    client.work(60).await;
    drop(client.store);
    // Nothing of it is in memory any more.
    client.store = Arc::new(host(&file));
    breaks(Some(Fault::Read));
    for id in client.durable.keys() {
        let found = client.store.run_fetch(*id).await;
        assert!(matches!(found, Ok(Some(_)) | Err(StoreError::Io(_))), "{id}: {found:?}");
    }
    assert!(disk().failed > 0);
    breaks(None);
    client.work(10).await;
    assert_eq!(client.durable.len(), 70);
    whole(&power_cut(&file).path().join("test.db"), &client.durable, "afterwards").await;
}

/// The kernel still shows what a failed sync has lost. A process that is started then must not build on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::await_holding_lock, reason = "one test at a time has the disk")]
async fn what_a_failed_sync_has_lost_is_not_built_upon_after_a_kill() {
    let _turn = install();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().canonicalize().expect("a folder").join("test.db");
    let mut client = Client::open(&file);
    client.work(20).await;
    breaks(Some(Fault::Sync));
    client.work(5).await;
    assert_eq!(client.refused.len(), 5);

    // Killed: another process finds the files as the kernel shows them.
    let after = TempDir::new().expect("a folder");
    let next = after.path().canonicalize().expect("a folder").join("test.db");
    for end in ["", "-wal"] {
        std::fs::copy(beside(&file, end), beside(&next, end)).expect("a copy");
        let mut disk = disk();
        let kept = disk.files[&beside(&file, end)].clone();
        disk.files.insert(beside(&next, end), kept);
    }
    breaks(None);
    client.store = Arc::new(host(&next));
    for id in std::mem::take(&mut client.refused) {
        if let Some(run) = client.store.run_fetch(id).await.expect("an answer") {
            client.durable.insert(id, run.version());
        }
    }
    assert!(client.durable.len() > 20, "the kernel shows nothing that was refused: this proves nothing");
    client.next = 1000;
    client.work(20).await;
    whole(&power_cut(&next).path().join("test.db"), &client.durable, "after the restart").await;
}
