//! The ledger's lines as its table has them: a row holds all lines of a transaction, one after the other. Here rows are put together and taken
//! apart, and nothing is sealed or verified.

use crate::{LedgerLine, StoreError};
use aegis_core::{Digest, Entry, Link, pack_into, unpack};
use rusqlite::{Connection, OptionalExtension, params};

/// Between two entries of a row. JSON as entries are written has none, so a row of an older version, which holds one entry, reads the same.
const BREAK: u8 = b'\n';
/// Bytes of a hash. A row has those of all of its lines, so that a fault is found in its very line.
const HASH: usize = 32;
/// Bytes of entries in a row, before they are packed; only the last commit in it may exceed that. Whoever reads a line reads its row.
const ROW: usize = 256 << 10;

/// The entries of one commit, in one piece: they are freed on another thread than they are made on, which costs more than to fill them.
pub(super) struct Entries {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

/// Bytes of most entries, or more.
const USUAL: usize = 448;

impl Entries {
    pub(super) fn of(entries: &[Entry]) -> Entries {
        let mut of = Entries { bytes: Vec::with_capacity(entries.len() * USUAL), ends: Vec::with_capacity(entries.len()) };
        for entry in entries {
            crate::ledger::write(entry, &mut of.bytes);
            of.ends.push(of.bytes.len());
        }
        of
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}

/// Lines that are sealed and still have to be put down, in the transaction that sealed them. It is used again: a fresh one for each transaction
/// would be fresh memory, which the system clears.
pub(super) struct Row {
    first: u64,
    entries: Vec<u8>,
    hashes: Vec<u8>,
    packed: Vec<u8>,
}

/// How far a row was, to go back to.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    entries: usize,
    hashes: usize,
}

impl Row {
    pub(super) fn new() -> Row {
        Row { first: 0, entries: vec![], hashes: vec![], packed: vec![] }
    }

    /// Empties it; it begins with this link now.
    pub(super) fn begin(&mut self, link: &Link) {
        self.first = link.n;
        self.entries.clear();
        self.hashes.clear();
        // One large commit must not hold its memory for ever.
        self.entries.shrink_to(2 * ROW);
        self.packed.shrink_to(2 * ROW);
    }

    /// Adds a line that was sealed with this hash, after those that were added before.
    pub(super) fn push(&mut self, entry: &[u8], hash: Digest) {
        debug_assert!(!entry.contains(&BREAK), "it is JSON in one line");
        if !self.hashes.is_empty() {
            self.entries.push(BREAK);
        }
        self.entries.extend_from_slice(entry);
        self.hashes.extend_from_slice(&hash.0);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { entries: self.entries.len(), hashes: self.hashes.len() }
    }

    /// Forgets what was added since.
    pub(super) fn go_back(&mut self, to: Mark) {
        self.entries.truncate(to.entries);
        self.hashes.truncate(to.hashes);
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= ROW
    }

    /// Writes it, if anything is in it.
    pub(super) fn put(&mut self, db: &Connection) -> Result<(), StoreError> {
        if !self.hashes.is_empty() {
            let mut insert = db.prepare_cached("INSERT INTO ledger(seq, entry, hash) VALUES(?1, ?2, ?3)")?;
            let entries = pack_into(&self.entries, &mut self.packed).unwrap_or(&self.entries);
            insert.execute(params![self.first.cast_signed(), entries, self.hashes])?;
        }
        Ok(())
    }
}

/// What follows a row: the number of the line after its last one, and the hash of that one.
type End = (u64, Digest);

/// What follows the last row, if there is one.
pub(super) fn end(db: &Connection) -> Result<Option<End>, StoreError> {
    end_before(db, i64::MAX)
}

/// What follows the last row that begins before line `n`.
pub(super) fn end_before(db: &Connection, n: i64) -> Result<Option<End>, StoreError> {
    let mut find = db.prepare_cached("SELECT seq, hash FROM ledger WHERE seq < ?1 ORDER BY seq DESC LIMIT 1")?;
    let found = find.query_row([n], |row| Ok((row.get(0)?, row.get(1)?)));
    found.optional()?.map(|(seq, hashes): (i64, Vec<u8>)| end_of(seq, &hashes)).transpose()
}

/// Hands `each` the lines of one row after the other, from the row that holds line `first` on, for as long as it says `true`.
pub(super) fn each_row(
    db: &Connection,
    stream: &str,
    first: u64,
    mut each: impl FnMut(Vec<LedgerLine>) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let from = "SELECT seq, entry, hash FROM ledger WHERE seq >= coalesce((SELECT max(seq) FROM ledger WHERE seq <= ?1), 0) ORDER BY seq";
    let mut list = db.prepare_cached(from)?;
    let mut rows = list.query([i64::try_from(first).unwrap_or(i64::MAX)])?;
    let mut before: Option<End> = None;
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)?;
        let (entries, hashes): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?);
        let previous = match before {
            None => previous_to(db, seq)?,
            Some((n, hash)) if n == seq.cast_unsigned() => hash,
            Some(_) => Digest([0; HASH]),
        };
        before = Some(end_of(seq, &hashes)?);
        let entries = unpack(&entries).map_err(|_| torn(seq))?;
        if !each(split(stream, seq, previous, &entries, &hashes)?)? {
            break;
        }
    }
    Ok(())
}

/// The hash of the line before `n`, which may have been removed; zeros where there never was one, or it is missing.
fn previous_to(db: &Connection, n: i64) -> Result<Digest, StoreError> {
    if let Some((_, hash)) = end_before(db, n)?.filter(|(next, _)| *next == n.cast_unsigned()) {
        return Ok(hash);
    }
    let pruned = db.query_row("SELECT hash FROM pruned WHERE n = ?1", [n - 1], |row| row.get(0)).optional()?;
    Ok(Digest(pruned.unwrap_or([0; HASH])))
}

fn end_of(seq: i64, hashes: &[u8]) -> Result<End, StoreError> {
    let (hashes, rest) = hashes.as_chunks::<HASH>();
    let last = hashes.last().filter(|_| rest.is_empty()).ok_or_else(|| torn(seq))?;
    Ok((seq.cast_unsigned() + hashes.len() as u64, Digest(*last)))
}

fn split(stream: &str, seq: i64, mut previous: Digest, entries: &[u8], hashes: &[u8]) -> Result<Vec<LedgerLine>, StoreError> {
    let (mut lines, hashes) = (vec![], hashes.as_chunks::<HASH>().0);
    let entries: Vec<&[u8]> = entries.split(|byte| *byte == BREAK).collect();
    if entries.len() != hashes.len() {
        return Err(torn(seq));
    }
    for ((n, entry), hash) in (seq.cast_unsigned()..).zip(entries).zip(hashes) {
        let hash = Digest(*hash);
        lines.push(LedgerLine { stream: stream.into(), n, previous, entry: entry.to_vec(), hash });
        previous = hash;
    }
    Ok(lines)
}

fn torn(seq: i64) -> StoreError {
    StoreError::Damaged(format!("ledger: the row that begins with line {seq} was changed: its entries and its hashes do not match"))
}

#[cfg(test)]
mod tests {
    use super::super::Sqlite;
    use super::super::tests::{folder, held_up, host, meddle};
    use super::*;
    use crate::conformance::plain;
    use crate::{Doomed, Position, Runs, Upkeep, Verifier};
    use aegis_core::{Event, Principal, Run, Time};
    use rusqlite::types::Value;
    use std::sync::Arc;
    use tempfile::TempDir;

    const MANY: u16 = 40;

    /// A run of two lines that are committed together, and of this many bytes or more.
    fn ended(n: u16, bytes: usize) -> Run {
        let mut run = plain(n);
        run.handle(Event::Cancelled { by: Principal { id: "x".repeat(bytes), ..Principal::anonymous() } }, Time(n.into()))
            .expect("it is open");
        run
    }

    /// Many runs that are committed in one transaction.
    async fn filled(folder: &TempDir, bytes: usize) -> Arc<Sqlite> {
        let store = Arc::new(host(folder).expect("a database"));
        let (first, go_on) = held_up(&store).await;
        let create = |n| {
            let (store, mut run) = (store.clone(), ended(n, bytes));
            tokio::spawn(async move { store.run_create(run.commit()).await })
        };
        let all: Vec<_> = (1..=MANY).map(create).collect();
        tokio::task::yield_now().await;
        drop(go_on);
        first.await.expect("no panic").expect("it is over");
        for it in all {
            it.await.expect("no panic").expect("a new run");
        }
        store
    }

    fn rows(folder: &TempDir) -> Vec<(i64, Vec<u8>, Vec<u8>)> {
        let db = Connection::open(folder.path().join("test.db")).expect("a database");
        let mut list = db.prepare("SELECT seq, entry, hash FROM ledger ORDER BY seq").expect("a table");
        let rows = list.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    }

    async fn all(store: &Sqlite) -> Vec<LedgerLine> {
        store.ledger_list(&Position::default(), usize::MAX).await.expect("lines")
    }

    #[tokio::test]
    async fn lines_of_one_transaction_share_a_row_and_are_read_one_by_one_from_anywhere() {
        let folder = folder();
        let store = filled(&folder, 1).await;
        assert_eq!(rows(&folder).len(), 1);
        let lines = all(&store).await;
        let mut verifier = Verifier::default();
        lines.iter().for_each(|line| verifier.follow(line).expect("a chain"));
        let count = usize::from(2 * MANY);
        assert_eq!(lines.len(), count);
        for after in 0..=count {
            let mut position = Position::default();
            lines[..after].iter().for_each(|line| position.pass(line));
            for limit in [1, 7, usize::MAX] {
                let page = store.ledger_list(&position, limit).await.expect("lines");
                assert_eq!(page, lines[after..count.min(after.saturating_add(limit))], "{limit} after {after}");
            }
        }
    }

    #[tokio::test]
    async fn a_row_ends_where_it_would_become_long_to_read() {
        let folder = folder();
        let store = filled(&folder, ROW / 4).await;
        assert_eq!(store.transactions(), 1, "that of the first, and of all others");
        let rows = rows(&folder);
        assert!(rows.len() >= usize::from(MANY) / 4, "{} rows", rows.len());
        assert!(rows.iter().all(|(_, entries, _)| unpack(entries).expect("packed").len() < 2 * ROW));
        let report = store.check().await.expect("a report");
        assert_eq!((report.lines, report.faults), (2 * u64::from(MANY), vec![]));
    }

    #[tokio::test]
    async fn a_change_inside_of_a_row_is_found_in_its_line() {
        let folder = folder();
        let store = filled(&folder, 1).await;
        store.run_create(ended(500, 1).commit()).await.expect("a row that is as it was");
        drop(store);
        let (seq, entries, hashes) = rows(&folder).remove(0);
        let text = String::from_utf8(unpack(&entries).expect("packed").into_owned()).expect("JSON");
        let lines: Vec<&str> = text.split('\n').collect();
        let changed = |at: usize, line: Option<&str>| -> Vec<u8> {
            let other = lines.iter().enumerate().filter_map(|(n, it)| if n == at { line } else { Some(it) });
            other.collect::<Vec<_>>().join("\n").into_bytes()
        };
        let mut hash = hashes.clone();
        hash[11 * HASH] ^= 1;
        let fewer = [&hashes[..11 * HASH], &hashes[12 * HASH..]].concat();
        for (entries, hashes, fault) in [
            (changed(11, Some("{}")), hashes.clone(), "line 12 or the one before was changed"),
            (entries.clone(), hash, "line 12 or the one before was changed"),
            (changed(11, None), hashes.clone(), "its entries and its hashes do not match"),
            (changed(11, None), fewer.clone(), "line 12 or the one before was changed"),
            (entries.clone(), fewer, "its entries and its hashes do not match"),
            (entries.clone(), hashes[1..].to_vec(), "its entries and its hashes do not match"),
            (entries[..entries.len() - 1].to_vec(), hashes.clone(), "its entries and its hashes do not match"),
            (entries.clone(), vec![], "its entries and its hashes do not match"),
        ] {
            let db = Connection::open(folder.path().join("test.db")).expect("a database");
            db.execute("UPDATE ledger SET entry = ?2, hash = ?3 WHERE seq = ?1", params![seq, entries, hashes]).expect("it may");
            drop(db);
            let command = Sqlite::open(folder.path().join("test.db"), crate::Access::Command).expect("to look at it");
            let report = command.check().await.expect("a report");
            assert!(report.faults.iter().any(|it| it.contains(fault)), "{fault}: {report:?}");
        }
    }

    #[tokio::test]
    async fn rows_go_whole_and_only_when_none_of_their_runs_is_there() {
        let folder = folder();
        let store = filled(&folder, 1).await;
        let young = ended(500, 1).commit();
        store.run_create(young).await.expect("a new run");
        let gone = |doomed| {
            let store = store.clone();
            async move { store.remove(&doomed, Time(600), usize::from(MANY) - 1).await.expect("it goes").count }
        };
        let lines = || Doomed::Lines { written_before: Time(100) };
        let count = usize::from(MANY);
        assert_eq!(gone(Doomed::Runs { ended_before: Time(100) }).await, count - 1);
        assert_eq!(gone(lines()).await, 0, "one of its runs is there");
        assert_eq!(gone(Doomed::Runs { ended_before: Time(100) }).await, 1);
        assert_eq!(gone(lines()).await, 2 * count, "all lines of the row");
        assert_eq!(store.check().await.expect("a report").faults, Vec::<String>::new());
        assert_eq!(all(&store).await[0].n, 2 * u64::from(MANY) + 1);
        drop(store);
        let store = host(&folder).expect("a database");
        store.run_create(ended(501, 1).commit()).await.expect("the ledger goes on where it was");
        assert_eq!(store.check().await.expect("a report").faults, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_ledger_of_a_row_for_each_line_reads_as_before_and_goes_on() {
        let folder = folder();
        let store = filled(&folder, 1).await;
        let lines = all(&store).await;
        drop(store);
        meddle(
            &folder,
            "DELETE FROM ledger; ALTER TABLE ledger ADD COLUMN run BLOB NOT NULL DEFAULT x''; DROP INDEX approver_name;
             ALTER TABLE approver DROP COLUMN id; PRAGMA user_version = 4",
        );
        let db = Connection::open(folder.path().join("test.db")).expect("a database");
        for LedgerLine { n, entry, hash, .. } in &lines {
            let row = [Value::Integer(n.cast_signed()), Value::Blob(entry.clone()), Value::Blob(hash.0.to_vec())];
            db.execute("INSERT INTO ledger(seq, entry, hash) VALUES(?1, ?2, ?3)", row).expect("it may");
        }
        drop(db);
        let store = host(&folder).expect("it is brought up");
        assert_eq!(all(&store).await, lines);
        store.run_create(ended(500, 1).commit()).await.expect("a new run");
        let report = store.check().await.expect("a report");
        assert_eq!((report.lines, report.faults), (2 * u64::from(MANY) + 2, vec![]));
    }
}
