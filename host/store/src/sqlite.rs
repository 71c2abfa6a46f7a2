//! A store in one SQLite file: one thread writes and makes many commits durable at once, a few others read. No method
//! makes the executor wait for a lock or a commit, and none but the look-up of a single row for the disk; only
//! [`Sqlite::open`] and dropping block.

mod backup;
mod blobs;
mod file;
mod keys;
mod lines;
mod readers;
mod removal;
mod requests;
mod runs;
mod schema;
mod upkeep;
mod writer;

use crate::{Hosts, StoreError};
pub use backup::{BackupError, backup, versions};
use file::HostLock;
use readers::Readers;
use rusqlite::{Connection, ErrorCode};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;
use writer::{Batch, Writer};

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To move runs. One host per file: the lock file beside it, `PATH.lock`, is held until this is dropped or the process ends.
    Host,
    /// To look at it and to change keys, also beside a running host. Runs can be read, but not created, moved or claimed.
    Command,
}

/// Runs, ledger, keys and sessions in one file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    stream: String,
    host: Option<i64>,
    // In this order: the writer closes the database last, which folds the write-ahead log into it, and then lets go of the lock.
    readers: Readers,
    writer: Writer,
}

impl Sqlite {
    /// Opens the database at `path`, and creates it where there is none; blocks. Files are created for their owner alone.
    ///
    /// # Errors
    /// The folder is missing, another host has it (to a command that matters only where an older version wrote it), a newer version wrote it, or it is no database of Aegis; then it is unchanged.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Sqlite, StoreError> {
        let path = file::create(path.as_ref(), schema::make)?;
        let lock = (access == Access::Host).then(|| HostLock::take(&path)).transpose()?;
        let mut db = file::connect(&path)?;
        // A host must not find itself on a database of another version than it was made for.
        let older = lock.is_none() && schema::look(&db, &path)? < schema::NEWEST;
        let alone = older.then(|| HostLock::take(&path)).transpose()?;
        schema::bring_up(&mut db, &path)?;
        drop(alone);
        if lock.is_some() {
            schema::check(&db, &path)?;
            file::settle(&db, &path)?;
            schema::make_shrinkable(&db, &path)?;
        }
        let host = lock.is_some().then(|| schema::next_host(&db)).transpose()?;
        let link = schema::end_of_ledger(&db)?;
        let stream = link.stream.clone();
        let readers = Readers::start(&path)?;
        Ok(Sqlite { path, stream, host, readers, writer: Writer::start(db, link, lock)? })
    }

    /// Runs `work` in a transaction with whatever else is waiting, and returns when that is durable. It may run twice, the first time for nothing.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        self.writer.submit(work, reply);
        done.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Runs `work` between two transactions, while everybody who commits waits.
    async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        self.writer.submit_alone(move |db| drop(reply.send(work(db))));
        done.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Looks up a row or two by their keys, at once if that can be had without waiting.
    async fn look<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.readers.try_look(work.clone()) {
            Some(found) => Ok(found),
            None => self.read(work).await,
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        self.readers.submit(Box::new(move |db| drop(reply.send(work(db)))));
        done.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// One host per file.
impl Hosts for Sqlite {}

/// What was asked was dropped without an answer: the thread panicked.
fn gone() -> StoreError {
    StoreError::Io("the store's thread failed on this: a fault in Aegis, the log has more".into())
}

/// A value that nothing here writes: somebody else did, or the disk.
fn is_of_another_type(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(format!("the database is damaged: {error}")),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                StoreError::Place(format!("the database cannot be written: {error}"))
            }
            None if is_of_another_type(&error) => StoreError::Damaged(format!("the database is damaged: {error}")),
            _ => StoreError::Io(format!("the database failed: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Place, conformance, plain};
    use crate::{Blobs, CommitError, Doomed, Keys, Requests, Runs, Store, Upkeep};
    use aegis_core::{Answer, Event, Message, Principal, Request, Role, Run, RunId, Time, Usage};
    use std::sync::Arc;
    use tempfile::TempDir;

    impl Place for TempDir {
        fn open(&self) -> Arc<dyn Store> {
            Arc::new(host(self).expect("a database"))
        }
    }

    conformance!(TempDir::new().expect("a folder"));

    pub(super) fn host(folder: &TempDir) -> Result<Sqlite, StoreError> {
        Sqlite::open(folder.path().join("test.db"), Access::Host)
    }

    pub(super) fn folder() -> TempDir {
        TempDir::new().expect("a folder")
    }

    /// SQL by another program.
    pub(super) fn meddle(folder: &TempDir, sql: &str) {
        Connection::open(folder.path().join("test.db")).expect("a database").execute_batch(sql).expect("it may");
    }

    #[tokio::test]
    async fn a_second_host_is_refused_and_told_who_has_the_file() {
        let folder = folder();
        let first = host(&folder).expect("a database");
        let Err(StoreError::Locked { path, by }) = host(&folder) else { panic!("two hosts on one file") };
        assert_eq!((by, path.file_name()), (Some(std::process::id()), Some("test.db".as_ref())));
        #[cfg(unix)]
        {
            let link = folder.path().join("link.db");
            std::os::unix::fs::symlink(folder.path().join("test.db"), &link).expect("a link");
            assert!(matches!(Sqlite::open(link, Access::Host), Err(StoreError::Locked { .. })), "under another name");
        }
        drop(first);
        host(&folder).expect("the first has let go");
    }

    #[tokio::test]
    async fn a_command_changes_keys_beside_a_host_and_moves_no_runs() {
        let folder = folder();
        let host = host(&folder).expect("a database");
        let mut run = plain(1);
        host.run_create(run.commit()).await.expect("a new run");
        let command = Sqlite::open(folder.path().join("test.db"), Access::Command).expect("beside the host");
        let key =
            crate::NewKey { id: "k".into(), hash: aegis_core::Digest([1; 32]), principal: Principal::anonymous(), created_at: Time(1) };
        command.key_create(&key).await.expect("a new key");
        assert!(host.key_find(key.hash).await.expect("an answer").is_some(), "the host sees it at once");
        assert_eq!(command.run_fetch(run.id()).await, Ok(Some(run.clone())));
        let refused = Err(CommitError::Store(StoreError::NotHost));
        assert_eq!(command.run_create(plain(2).commit()).await, refused);
        assert_eq!(command.run_commit(run.commit()).await, refused);
        assert_eq!(command.run_claim(1).await, Err(StoreError::NotHost));
        host.run_create(plain(2).commit()).await.expect("the ledger goes on where it was");
        assert_eq!(command.check().await.expect("a report").faults, Vec::<String>::new());
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        #[cfg(unix)]
        for name in ["test.db", "test.db-wal", "test.db.lock"] {
            use std::os::unix::fs::PermissionsExt;
            let folder = folder();
            let _host = host(&folder).expect("a database");
            let mode = std::fs::metadata(folder.path().join(name)).expect(name).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn what_is_no_database_of_this_version_is_refused_and_left_alone() {
        let foreign = |error: &StoreError| matches!(error, StoreError::Damaged(why) if why.contains("no database of Aegis"));
        let newer = |error: &StoreError| *error == StoreError::Newer { found: 99, known: schema::NEWEST };
        type Case = (&'static str, fn(&TempDir), fn(&StoreError) -> bool);
        let cases: [Case; 4] = [
            ("text", |folder| std::fs::write(folder.path().join("test.db"), "dear diary, ".repeat(1000)).expect("written"), foreign),
            ("another program's", |folder| meddle(folder, "CREATE TABLE diary(day)"), foreign),
            ("another program's, versioned", |folder| meddle(folder, "PRAGMA application_id = 7; PRAGMA user_version = 1"), foreign),
            (
                "a newer one",
                |folder| {
                    drop(host(folder).expect("a database"));
                    meddle(folder, "PRAGMA user_version = 99");
                },
                newer,
            ),
        ];
        for (what, prepare, expected) in cases {
            let folder = folder();
            prepare(&folder);
            let read = || std::fs::read(folder.path().join("test.db")).expect("a file");
            let before = read();
            for access in [Access::Host, Access::Command] {
                let error = Sqlite::open(folder.path().join("test.db"), access).err().unwrap_or_else(|| panic!("{what} was opened"));
                assert!(expected(&error), "{what}: {error}");
            }
            assert!(read() == before, "{what} was changed");
        }
    }

    #[tokio::test]
    async fn a_database_of_the_first_version_is_brought_up_with_all_that_is_in_it() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        store.run_create(plain(1).commit()).await.expect("a new run");
        store.run_create(crate::conformance::paused_for(2, &["team:risk"]).commit()).await.expect("a new run");
        drop(store);
        meddle(
            &folder,
            "DROP TABLE blob; DROP TABLE request; DROP TABLE pruned; DROP INDEX run_over; ALTER TABLE run DROP COLUMN erased;
             ALTER TABLE ledger ADD COLUMN run BLOB NOT NULL DEFAULT x''; DROP INDEX approver_name; ALTER TABLE approver DROP COLUMN id;
             PRAGMA user_version = 1; PRAGMA auto_vacuum = NONE; VACUUM",
        );
        let store = host(&folder).expect("it is brought up");
        assert!(store.run_fetch(plain(1).id()).await.expect("an answer").is_some());
        let kept = store.blob_keep(b"new").await.expect("there is a place for it");
        assert_eq!(store.blob_fetch(kept).await, Ok(Some(b"new".to_vec())));
        assert_eq!(store.request_forget(Time(1), 1).await, Ok(0), "and for requests that come again");
        let risk = Principal { id: "bob".into(), teams: vec!["risk".into()], roles: vec![] };
        let page = crate::Page { limit: 9, after: None };
        let asked = store.approval_list(&crate::ApprovalFilter { decidable_by: risk }, &page).await.expect("a page");
        assert_eq!(asked.data.iter().map(Run::id).collect::<Vec<_>>(), [plain(2).id()], "those who were asked are asked still");
    }

    #[tokio::test]
    async fn a_blob_that_was_changed_is_neither_handed_out_nor_passed_by_a_check() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        let kept = store.blob_keep(b"guard").await.expect("kept");
        meddle(&folder, "UPDATE blob SET bytes = CAST('other' AS BLOB)");
        assert!(matches!(store.blob_fetch(kept).await, Err(StoreError::Damaged(_))));
        let faults = store.check().await.expect("a report").faults;
        assert!(faults.len() == 1 && faults[0].contains(&kept.to_string()), "{faults:?}");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = Sqlite::open("/nowhere/at/all/test.db", Access::Host).expect_err("there is no such folder");
        assert_eq!(error.to_string(), "there is no folder /nowhere/at/all: create it first");
    }

    #[tokio::test]
    async fn a_full_disk_is_said_and_once_there_is_room_it_goes_on() {
        let folder = folder();
        let host = host(&folder).expect("a database");
        let limit = |pages: u32| host.write(move |batch| Ok(batch.tx.pragma_update(None, "max_page_count", pages)?));
        limit(1).await.expect("as small as it is");
        let mut refused = vec![];
        for n in 1..100 {
            match host.run_create(plain(n).commit()).await {
                Ok(()) => assert!(refused.is_empty(), "there was no room before"),
                Err(error) => refused.push((n, error)),
            }
        }
        assert!(refused.len() > 10 && refused.iter().all(|(_, error)| *error == CommitError::Store(StoreError::Full)), "{refused:?}");
        limit(1 << 20).await.expect("room");
        assert_eq!(host.run_fetch(plain(99).id()).await, Ok(None), "nothing is half done");
        for (n, _) in refused {
            host.run_create(plain(n).commit()).await.expect("there is room");
        }
        let report = host.check().await.expect("a report");
        assert_eq!((report.runs, report.lines, report.faults), (99, 99, vec![]));
    }

    #[tokio::test]
    async fn commits_that_wait_together_share_a_transaction() {
        let folder = folder();
        let host = Arc::new(host(&folder).expect("a database"));
        let (first, go_on) = held_up(&host).await;
        let before = host.transactions();
        let create = |n| {
            let host = host.clone();
            tokio::spawn(async move { host.run_create(plain(n).commit()).await })
        };
        let rest: Vec<_> = (1..=20).map(create).collect();
        tokio::task::yield_now().await;
        drop(go_on);
        assert_eq!(first.await.expect("no panic"), Ok(true));
        for it in rest {
            it.await.expect("no panic").expect("a new run");
        }
        assert_eq!(host.transactions() - before, 1, "that of the first: all others came while it ran");
    }

    /// The writer is in the middle of a transaction, and goes on with it once the sender is dropped.
    pub(super) async fn held_up(host: &Arc<Sqlite>) -> (tokio::task::JoinHandle<Result<bool, StoreError>>, std::sync::mpsc::Sender<()>) {
        let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (go_on, told) = std::sync::mpsc::channel::<()>();
        let busy = host.clone();
        let wait = move |_: &mut Batch<'_>| Ok(begin.send(()).is_ok() && told.recv().is_err());
        let first = tokio::spawn(async move { busy.write(wait).await });
        begun.recv().await.expect("the writer is at it");
        (first, go_on)
    }

    #[tokio::test]
    async fn what_cannot_be_written_fails_alone_in_a_transaction_of_many() {
        let folder = folder();
        let host = Arc::new(host(&folder).expect("a database"));
        // Refused after the run's row is there: all of it has to go.
        let id: String = plain(7).id().as_bytes().iter().map(|it| format!("{it:02x}")).collect();
        meddle(&folder, &format!("CREATE TRIGGER refuse AFTER INSERT ON run WHEN new.id = x'{id}' BEGIN SELECT RAISE(FAIL, 'no'); END"));
        let (first, go_on) = held_up(&host).await;
        let before = host.transactions();
        let create = |n| {
            let host = host.clone();
            tokio::spawn(async move { host.run_create(plain(n).commit()).await })
        };
        let many: Vec<_> = (1..=20).map(create).collect();
        let panics = host.clone();
        let panics = tokio::spawn(async move {
            let half = panics.write(|batch| {
                batch.append(b"{}");
                if batch.tx.is_autocommit() { Ok(()) } else { panic!("on purpose") }
            });
            half.await
        });
        tokio::task::yield_now().await;
        drop(go_on);
        first.await.expect("no panic").expect("it is over");
        for (n, it) in (1..).zip(many) {
            match it.await.expect("no panic") {
                Ok(()) => assert_ne!(n, 7),
                Err(CommitError::Store(StoreError::Io(why))) => assert!(n == 7 && why.contains("no"), "{n}: {why}"),
                Err(error) => panic!("{n}: {error}"),
            }
        }
        assert!(matches!(panics.await.expect("it is caught"), Err(StoreError::Io(_))));
        assert_eq!(host.transactions() - before, 1, "that of the first, and of all others");
        let report = host.check().await.expect("a report");
        assert_eq!((report.runs, report.lines, report.faults), (19, 19, vec![]), "nothing is half done");
        host.run_create(plain(30).commit()).await.expect("the ledger goes on where it was");
        assert_eq!(host.check().await.expect("a report").faults, Vec::<String>::new());
    }

    /// A run that is over.
    async fn over(store: &Sqlite, n: u16) -> RunId {
        let mut run = plain(n);
        run.handle(Event::Cancelled { by: Principal::anonymous() }, run.updated_at()).expect("it is open");
        store.run_create(run.commit()).await.expect("a new run");
        run.id()
    }

    #[tokio::test]
    async fn runs_that_cannot_be_read_do_not_keep_the_content_of_others() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        for n in 1..=6 {
            over(&store, n).await;
        }
        meddle(&folder, "UPDATE run SET checkpoint = x'01' WHERE seq <= 4");
        for (limit, count) in [(1, 1), (2, 1), (2, 0)] {
            let gone = store.remove(&Doomed::Content { ended_before: Time(u64::MAX) }, Time(9), limit).await;
            assert_eq!(gone.expect("it is removed").count, count);
        }
    }

    #[tokio::test]
    async fn the_content_of_a_run_is_never_written_over_another_run_that_has_its_number_now() {
        let folder = folder();
        let store = Arc::new(host(&folder).expect("a database"));
        over(&store, 1).await;
        let (begin, begun) = std::sync::mpsc::channel();
        let (go_on, told) = std::sync::mpsc::channel::<()>();
        let busy = store.clone();
        let held = tokio::spawn(async move { busy.alone(move |_| Ok(begin.send(()).is_ok() && told.recv().is_err())).await });
        tokio::task::yield_now().await;
        begun.recv().expect("the writer is at it");
        let eraser = store.clone();
        let erase = Doomed::ContentOf { principal: plain(1).principal().id.clone(), by: "root".into(), after: None };
        let mut erasing = tokio::spawn(async move { eraser.remove(&erase, Time(9), 9).await });
        // By then it has read, and waits for the writer.
        assert!(tokio::time::timeout(std::time::Duration::from_millis(500), &mut erasing).await.is_err());
        let other = plain(2).id();
        let id: String = other.as_bytes().iter().map(|it| format!("{it:02x}")).collect();
        meddle(&folder, &format!("UPDATE run SET id = x'{id}'"));
        drop(go_on);
        held.await.expect("no panic").expect("it is over");
        assert_eq!(erasing.await.expect("no panic").expect("nothing to erase").count, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_waits_while_another_program_keeps_what_was_erased_in_the_log() {
        let folder = folder();
        let store = Arc::new(host(&folder).expect("a database"));
        over(&store, 1).await;
        let reader = Connection::open(folder.path().join("test.db")).expect("a database");
        reader.execute_batch("BEGIN; SELECT count(*) FROM run").expect("it may");
        let scrubs = store.clone();
        let scrub = tokio::spawn(async move { scrubs.scrub().await });
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let begun = std::time::Instant::now();
        store.run_create(plain(2).commit()).await.expect("a new run");
        assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(!scrub.is_finished());
        reader.execute_batch("COMMIT").expect("it may");
        scrub.await.expect("no panic").expect("nobody reads any more");
        assert_eq!(std::fs::metadata(folder.path().join("test.db-wal")).expect("a log").len(), 0);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_not_the_end() {
        let folder = folder();
        let host = host(&folder).expect("a database");
        let half = host.write(|batch| {
            batch.append(b"{}");
            if batch.tx.is_autocommit() { Ok(()) } else { panic!("on purpose") }
        });
        assert!(matches!(half.await, Err(StoreError::Io(_))));
        assert!(matches!(host.read(|_| -> Result<(), StoreError> { panic!("on purpose") }).await, Err(StoreError::Io(_))));
        host.run_create(plain(1).commit()).await.expect("the writer lives");
        let report = host.check().await.expect("the readers live");
        assert_eq!((report.runs, report.lines, report.faults), (1, 1, vec![]), "the line before the panic is gone");
    }

    #[tokio::test]
    async fn what_was_handed_over_is_written_though_nobody_waits() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        let commit = plain(1).commit();
        {
            let mut create = std::pin::pin!(store.run_create(commit));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = create.as_mut().poll(&mut context);
        }
        drop(store);
        assert!(host(&folder).expect("a database").run_fetch(plain(1).id()).await.expect("an answer").is_some());
    }

    #[tokio::test]
    async fn a_check_finds_what_others_have_changed() {
        for (sql, fault) in [
            ("UPDATE ledger SET entry = '{}' WHERE seq = 2", "line 2 or the one before was changed"),
            ("DELETE FROM ledger WHERE seq = 2", "line 2 is missing, 3 stands in its place"),
            ("DELETE FROM ledger WHERE seq = 3", "has 1 entries, and the ledger has 0 of them"),
            ("DELETE FROM ledger WHERE seq = 1", "line 1 is missing, 2 stands in its place"),
            ("DELETE FROM run WHERE seq = 1", "is missing, and no line of the ledger says that it was removed"),
            (
                "INSERT INTO pruned SELECT 1, seq, hash FROM ledger WHERE seq = 1; DELETE FROM ledger WHERE seq = 1; DELETE FROM run WHERE seq = 1",
                "lines 1 to 1 are missing, and no line says that they were removed",
            ),
            ("UPDATE run SET checkpoint = '{}' WHERE seq = 1", "cannot be read"),
        ] {
            let folder = folder();
            let store = host(&folder).expect("a database");
            for n in 1..=3 {
                store.run_create(plain(n).commit()).await.expect("a new run");
            }
            drop(store);
            meddle(&folder, &sql.replace("'{}'", "CAST('{}' AS BLOB)"));
            let report = host(&folder).expect("it opens").check().await.expect("a report");
            assert!(report.faults.iter().any(|it| it.contains(fault)), "{sql}: {report:?}");
        }
    }

    /// Waits for its answer, with `words` in its question, and is large or small as the number says.
    async fn asked(store: &Sqlite, n: u16, who: &str, words: &str) -> Run {
        let request = Request { messages: vec![Message::text(Role::User, long("question", n, words))], ..Request::default() };
        let who = Principal { id: who.into(), ..Principal::anonymous() };
        let run = Run::new(plain(n).id(), plain(n).plan().clone(), request, who, false, [7; 32], Time(n.into()));
        let mut run = run.expect("nobody has to approve");
        store.run_create(run.commit()).await.expect("a new run");
        run
    }

    async fn answered(store: &Sqlite, mut run: Run, n: u16, words: &str, now: Time) {
        let message = Message::text(Role::Assistant, long("answer", n, words));
        let answer = Answer { message, finish_reason: None, usage: Usage::default() };
        run.handle(Event::Answered { step: 1, result: Ok(answer) }, now).expect("a call that is under way");
        store.run_commit(run.commit()).await.expect("nobody was faster");
    }

    fn long(what: &str, n: u16, words: &str) -> String {
        format!("{what} {words} ").repeat(1 + usize::from(n * 31 % 7) * if what == "answer" { 12 } else { 3 })
    }

    /// Over, with `words` in the question and in the answer.
    async fn wordy(store: &Sqlite, n: u16, who: &str, words: &str) {
        let run = asked(store, n, who, words).await;
        answered(store, run, n, words, Time(n.into())).await;
    }

    /// The files of the database in which `words` stand.
    fn found_in(folder: &TempDir, words: &str) -> Vec<String> {
        let files = std::fs::read_dir(folder.path()).expect("a folder").map(|it| it.expect("a file"));
        let holds = |it: &std::fs::DirEntry| {
            std::fs::read(it.path()).expect("a file").windows(words.len()).any(|window| window == words.as_bytes())
        };
        files.filter(holds).map(|it| it.file_name().to_string_lossy().into_owned()).collect()
    }

    async fn all_gone(store: &Sqlite, doomed: Doomed) {
        while store.remove(&doomed, Time(1 << 40), 10).await.expect("it goes").count > 0 {}
    }

    #[tokio::test]
    async fn no_byte_of_what_was_erased_is_left_in_any_file() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        let (mut runs, words) = (vec![], |n: u16| if n.is_multiple_of(3) { ("eve", "KEPTMARK") } else { ("ada", "GONEMARK") });
        for n in 1..=300 {
            runs.push((n, asked(&store, n, words(n).0, words(n).1).await));
        }
        for (n, run) in runs {
            answered(&store, run, n, words(n).1, Time(n.into())).await;
        }
        let moved = store.write(|batch| {
            // Rows that become longer and shorter push each other to other pages, and copies of them stay behind.
            for step in 1..=900_i64 {
                let (seq, length) = (step * 137 % 300 + 1, step * 7919 % 1500);
                batch.tx.execute("UPDATE run SET route = printf('%.*c', ?2, 'r') WHERE seq = ?1", [seq, length])?;
            }
            Ok(batch.tx.execute("UPDATE run SET route = 'default'", [])?)
        });
        assert_eq!(moved.await, Ok(300));
        assert!(!found_in(&folder, "GONEMARK").is_empty());
        let mut after = None;
        loop {
            let doomed = Doomed::ContentOf { principal: "ada".into(), by: "root".into(), after };
            let gone = store.remove(&doomed, Time(1 << 40), 10).await.expect("it goes");
            after = gone.last;
            if after.is_none() {
                break;
            }
        }
        store.scrub().await.expect("nobody reads");
        assert_eq!(found_in(&folder, "GONEMARK"), Vec::<String>::new());
        assert_eq!(found_in(&folder, "KEPTMARK"), ["test.db"]);
        let report = store.check().await.expect("a report");
        assert_eq!((report.runs, report.faults), (300, vec![]));
        wordy(&store, 301, "ada", "NEWMARK").await;
        drop(store);
        assert_eq!(host(&folder).expect("it opens").check().await.expect("a report").faults, Vec::<String>::new());
    }

    #[tokio::test]
    async fn the_file_shrinks_when_much_was_removed_and_one_of_an_earlier_version_too() {
        for earlier in [false, true] {
            let folder = folder();
            let mut store = host(&folder).expect("a database");
            if earlier {
                drop(store);
                meddle(&folder, "PRAGMA auto_vacuum = NONE; VACUUM");
                store = host(&folder).expect("a database");
            }
            for n in 1..=300_u16 {
                // What cannot be packed.
                let words: String = (0..128_u8).map(|it| aegis_core::Digest::of(&[&[it][..], &n.to_be_bytes()].concat()).hex()).collect();
                wordy(&store, n, "ada", &words).await;
            }
            store.scrub().await.expect("nobody reads");
            let size = || std::fs::metadata(folder.path().join("test.db")).expect("a file").len();
            let before = size();
            all_gone(&store, Doomed::Runs { ended_before: Time(1 << 40) }).await;
            assert_eq!(store.check().await.expect("a report").runs, 0);
            let mut steps = 0;
            while store.shrink().await.expect("it may") {
                steps += 1;
            }
            assert!(steps > 1, "in small steps");
            assert_eq!(store.check().await.expect("a report").faults, Vec::<String>::new());
            drop(store);
            assert!(size() * 4 < before, "{} of {before} bytes are left", size());
        }
    }

    #[tokio::test]
    async fn content_that_was_taken_out_without_a_word_is_found() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        wordy(&store, 1, "ada", "x").await;
        all_gone(&store, Doomed::Content { ended_before: Time(1 << 40) }).await;
        let erased = store.run_fetch(plain(1).id()).await.expect("an answer").expect("it is there").encode();
        wordy(&store, 2, "ada", "x").await;
        let other = String::from_utf8(erased).expect("JSON").replace(&plain(1).id().to_string(), &plain(2).id().to_string());
        drop(store);
        meddle(&folder, &format!("UPDATE run SET checkpoint = CAST('{other}' AS BLOB) WHERE seq = 2"));
        let faults = host(&folder).expect("it opens").check().await.expect("a report").faults;
        assert!(faults.len() == 1 && faults[0].contains("the content of run"), "{faults:?}");
    }

    #[tokio::test]
    async fn only_a_host_removes_anything() {
        let folder = folder();
        let _host = host(&folder).expect("a database");
        let command = Sqlite::open(folder.path().join("test.db"), Access::Command).expect("beside the host");
        let doomed = Doomed::Runs { ended_before: Time(1) };
        assert_eq!(command.remove(&doomed, Time(1), 1).await, Err(StoreError::NotHost));
        assert_eq!((command.shrink().await, command.scrub().await), (Err(StoreError::NotHost), Err(StoreError::NotHost)));
    }

    #[tokio::test]
    async fn a_checkpoint_in_the_row_of_another_run_is_no_run() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        for n in 1..=2 {
            store.run_create(plain(n).commit()).await.expect("a new run");
        }
        meddle(&folder, "UPDATE run SET checkpoint = (SELECT checkpoint FROM run WHERE seq = 2) WHERE seq = 1");
        let (one, other) = (plain(1).id(), plain(2).id());
        let damaged = StoreError::Damaged(format!("run {one} cannot be read: in its place stands run {other}"));
        assert_eq!(store.run_fetch(one).await, Err(damaged.clone()));
        assert_eq!(store.check().await.expect("a report").faults, [damaged.to_string()]);
    }

    #[tokio::test]
    async fn a_run_that_cannot_be_read_hides_no_other_and_is_named() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        for n in 1..=5 {
            store.run_create(plain(n).commit()).await.expect("a new run");
        }
        meddle(&folder, "UPDATE run SET checkpoint = CAST('{}' AS BLOB) WHERE seq IN (2, 4)");
        let (mut after, mut seen) = (None, vec![]);
        for _ in 0..3 {
            let page = crate::Page { limit: 2, after };
            let page = store.run_list(&crate::RunFilter::default(), &page).await.expect("a page");
            let read = page.data.iter().map(|it| (it.id(), true));
            let mut ids: Vec<_> = read.chain(page.unreadable.iter().map(|it| (it.run, false))).collect();
            ids.sort_by(|a, b| b.cmp(a));
            seen.extend(ids);
            after = page.next;
        }
        let expected: Vec<_> = (1..=5).rev().map(|n| (plain(n).id(), n % 2 == 1)).collect();
        assert_eq!((seen, after), (expected, None));
        let faults = store.check().await.expect("a report").faults;
        for n in [2, 4] {
            assert!(faults.iter().any(|it| it.contains(&plain(n).id().to_string()) && it.contains("cannot be read")), "{faults:?}");
        }
    }

    #[tokio::test]
    async fn somebody_of_very_many_teams_sees_what_each_of_them_may_decide() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        for n in 1..=3 {
            store.run_create(crate::conformance::paused_for(n, &["team:t7"]).commit()).await.expect("a new run");
        }
        for (teams, seen) in [(0..1, 0), (0..8, 3), (0..2_000, 3)] {
            let teams = teams.map(|n| format!("t{n}")).collect();
            let who = Principal { id: "bob".into(), teams, roles: vec![] };
            let (page, after) = (crate::Page { limit: 2, after: None }, Some(plain(2).id()));
            let approvals = crate::ApprovalFilter { decidable_by: who.clone() };
            let found = store.approval_list(&approvals, &page).await.expect("a page");
            assert_eq!((found.data.len(), found.next.is_some()), (seen.min(2), seen > 2));
            let found = store.approval_list(&approvals, &crate::Page { after, ..page }).await.expect("a page");
            assert_eq!((found.data.len(), found.next), (seen.min(1), None));
            let visible = crate::RunFilter { visible_to: Some(who), ..crate::RunFilter::default() };
            assert_eq!(store.run_list(&visible, &crate::Page { limit: 9, after: None }).await.expect("a page").data.len(), seen);
        }
    }

    #[tokio::test]
    async fn open_runs_and_own_runs_are_found_by_index() {
        let folder = folder();
        let store = host(&folder).expect("a database");
        for (sql, index) in [
            ("SELECT id FROM run WHERE status IN ('pending', 'running') AND host <> 3 ORDER BY id LIMIT 9", "run_open"),
            ("SELECT id FROM run WHERE status = 'paused' AND due <= 7 ORDER BY due, id LIMIT 9", "run_due"),
            ("SELECT id FROM run WHERE status = 'paused' AND lists = 1 ORDER BY id DESC LIMIT 9", "run_paused"),
            ("SELECT id FROM run WHERE principal = 'ada' ORDER BY id DESC LIMIT 9", "run_principal"),
            (
                "SELECT approver.id FROM approver CROSS JOIN run ON run.seq = approver.run
                    WHERE approver.name = 'role approver' AND approver.list = 0 AND approver.id < x'01' ORDER BY approver.id DESC LIMIT 9",
                "approver_name (name=? AND list=? AND id<?), SEARCH run",
            ),
            (
                "SELECT id FROM run WHERE status IN ('completed', 'blocked', 'denied', 'cancelled', 'error') AND erased IN (0, 1) AND updated_at < 7 LIMIT 9",
                "run_over",
            ),
        ] {
            let plan = store.read(move |db| {
                let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                let steps = explain.query_map([], |row| row.get::<_, String>(3))?;
                Ok(steps.collect::<Result<Vec<_>, _>>()?)
            });
            let plan = plan.await.expect("a plan").join(", ");
            assert!(plan.contains(index), "{sql}: {plan}");
        }
    }
}
