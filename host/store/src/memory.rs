//! A store without a disk: what it holds ends with the process. For trying and for tests; it keeps to every promise but
//! that of surviving.

use crate::blobs::needed;
use crate::columns::decode;
use crate::{
    ApprovalFilter, Blobs, CheckReport, CommitError, Description, Doomed, Earlier, Gone, Held, Hosts, Key, Keys, LedgerLine, NewKey, Page,
    Paged, Position, Removals, Requests, RunFilter, Runs, Session, StoreError, Upkeep, Verifier,
};
use aegis_core::{
    Approver, Checkpoint, Commit, Digest, Link, Principal, PrincipalRole, Record, Removal, Removed, RequestKey, Run, RunId, Status, Time,
};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// Runs, ledger, keys and sessions in memory.
#[derive(Debug)]
pub struct Memory {
    world: Arc<Mutex<World>>,
    host: u64,
}

#[derive(Debug)]
struct World {
    hosts: u64,
    runs: BTreeMap<RunId, Kept>,
    lines: Vec<LedgerLine>,
    link: Link,
    keys: Vec<(Digest, Key)>,
    sessions: BTreeMap<Digest, Session>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    /// By principal and key.
    requests: BTreeMap<(String, Digest), Request>,
}

#[derive(Debug)]
struct Request {
    body: Digest,
    run: RunId,
    expires_at: Time,
}

#[derive(Debug)]
struct Kept {
    host: u64,
    checkpoint: Checkpoint,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Memory {
        let world = World {
            hosts: 1,
            runs: BTreeMap::new(),
            lines: vec![],
            link: Link::first("memory"),
            keys: vec![],
            sessions: BTreeMap::new(),
            blobs: BTreeMap::new(),
            requests: BTreeMap::new(),
        };
        Memory { world: Arc::new(Mutex::new(world)), host: 1 }
    }

    /// The same store as the next host finds it after this one has died: what was unfinished can be claimed.
    pub fn heir(&self) -> Memory {
        let mut world = self.world();
        world.hosts += 1;
        Memory { world: self.world.clone(), host: world.hosts }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nothing panics while it holds this lock")
    }

    fn write(&self, commit: Commit, creates: bool) -> Result<(), CommitError> {
        let entries: Vec<Vec<u8>> = commit.entries.iter().map(crate::ledger::bytes).collect();
        let (id, mut world) = (commit.checkpoint.run, self.world());
        if let Some(earlier) = commit.request.as_ref().and_then(|it| world.earlier(it)) {
            return Err(CommitError::Earlier(earlier));
        }
        let stored = world.runs.get(&id).map_or(0, |it| it.checkpoint.version);
        if creates != (stored == 0) || commit.checkpoint.version != stored + 1 {
            return Err(CommitError::Conflict);
        }
        if let Some(RequestKey { principal, key, body, expires_at, .. }) = commit.request {
            world.requests.insert((principal, key), Request { body, run: id, expires_at });
        }
        world.runs.insert(id, Kept { host: self.host, checkpoint: commit.checkpoint });
        entries.into_iter().for_each(|entry| world.append(entry));
        Ok(())
    }

    /// Newest first.
    fn list(&self, page: &Page, wanted: impl Fn(&Checkpoint) -> bool) -> Result<Paged<Run>, StoreError> {
        let world = self.world();
        let before = world.runs.iter().rev().filter(|(id, _)| page.after.is_none_or(|after| **id < after));
        let found = before.map(|(_, kept)| &kept.checkpoint).filter(|it| wanted(it)).take(page.limit.saturating_add(1));
        Paged::read(found.map(|it| Ok((it.run, &it.bytes))), page.limit)
    }
}

impl World {
    fn append(&mut self, entry: Vec<u8>) {
        let Link { stream, n, previous } = self.link.clone();
        let hash = self.link.seal(&entry);
        self.lines.push(LedgerLine { stream, n, previous, entry, hash });
        self.link = self.link.clone().next(hash);
    }

    /// Runs that are over, oldest first.
    fn over(&mut self) -> impl Iterator<Item = (&RunId, &mut Checkpoint)> {
        self.runs.iter_mut().map(|(id, kept)| (id, &mut kept.checkpoint)).filter(|(_, it)| it.status.is_final())
    }

    /// Takes the content out of so many runs that are `wanted`.
    fn empty(&mut self, wanted: impl Fn(&Checkpoint) -> bool, now: Time, limit: usize) -> Vec<RunId> {
        let mut gone = vec![];
        for (id, checkpoint) in self.over().filter(|(_, it)| wanted(it)) {
            // One that cannot be read is left as it is: a check names it.
            let Some(mut run) = read(checkpoint).ok().filter(|it| it.erased().is_none() && gone.len() < limit) else { continue };
            if run.erase(now).is_ok() {
                checkpoint.bytes = run.packed();
                gone.push(*id);
            }
        }
        self.requests.retain(|_, it| !gone.contains(&it.run));
        gone
    }

    fn remove_runs(&mut self, ended_before: Time, limit: usize) -> Vec<RunId> {
        let gone: Vec<RunId> = self.over().filter(|(_, it)| it.updated_at < ended_before).take(limit).map(|(id, _)| *id).collect();
        self.runs.retain(|id, _| !gone.contains(id));
        self.requests.retain(|_, it| !gone.contains(&it.run));
        gone
    }

    /// So many of the first lines are old enough and of no run that is there.
    fn lines_to_go(&self, written_before: Time, limit: usize) -> usize {
        let (mut count, mut worth_it) = (0, false);
        for line in self.lines.iter().take(limit) {
            match Record::read(&line.entry) {
                Ok(record) if record.time() >= written_before => break,
                Ok(Record::Run(entry)) if self.runs.contains_key(&entry.run) => break,
                Ok(Record::Run(_)) => worth_it = true,
                Ok(Record::Removal(_)) => {}
                Err(_) => break,
            }
            count += 1;
        }
        if worth_it || count == limit { count } else { 0 }
    }

    fn tell(&mut self, runs: Vec<RunId>, now: Time, what: impl FnOnce(Vec<RunId>) -> Removed) -> Gone {
        let gone = Gone { count: runs.len(), last: runs.last().copied() };
        if !runs.is_empty() {
            self.append(Removal { time: now, what: what(runs) }.to_json());
        }
        gone
    }

    fn earlier(&self, request: &RequestKey) -> Option<Earlier> {
        let found = self.requests.get(&(request.principal.clone(), request.key))?;
        (found.expires_at > request.at).then_some(Earlier { run: found.run, same: found.body == request.body })
    }

    fn valid_key(&self, id: &str) -> Option<&Key> {
        self.keys.iter().map(|(_, key)| key).find(|key| key.id == id && key.revoked_at.is_none())
    }
}

fn read(checkpoint: &Checkpoint) -> Result<Run, StoreError> {
    decode(checkpoint.run, &checkpoint.bytes)
}

/// Whether every list of the open question names `who`.
fn asks(checkpoint: &Checkpoint, who: &Principal) -> bool {
    let names: Vec<Approver> = who.names().collect();
    let named = |list: &Vec<Approver>| list.iter().any(|it| names.contains(it));
    checkpoint.approval.as_ref().is_some_and(|it| it.lists.iter().all(named))
}

fn excludes(checkpoint: &Checkpoint, who: &Principal) -> bool {
    checkpoint.approval.as_ref().is_some_and(|it| it.excluded.contains(&who.id))
}

#[async_trait]
impl Runs for Memory {
    async fn run_create(&self, commit: Commit) -> Result<(), CommitError> {
        self.write(commit, true)
    }

    async fn run_commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.write(commit, false)
    }

    async fn run_fetch(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.world().runs.get(&id).map(|kept| read(&kept.checkpoint)).transpose()
    }

    async fn run_list(&self, filter: &RunFilter, page: &Page) -> Result<Paged<Run>, StoreError> {
        let visible = |it: &Checkpoint, who: &Principal| who.is(PrincipalRole::Admin) || it.principal == who.id || asks(it, who);
        self.list(page, |it| {
            filter.status.is_none_or(|status| it.status == status)
                && filter.route.as_ref().is_none_or(|route| it.route == *route)
                && filter.principal.as_ref().is_none_or(|principal| it.principal == *principal)
                && filter.visible_to.as_ref().is_none_or(|who| visible(it, who))
        })
    }

    async fn run_claim(&self, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let mut world = self.world();
        let open = |status| matches!(status, Status::Pending | Status::Running);
        let left = world.runs.iter_mut().filter(|(_, it)| it.host != self.host && open(it.checkpoint.status));
        let claim = |(id, kept): (&RunId, &mut Kept)| {
            kept.host = self.host;
            *id
        };
        Ok(left.take(limit).map(claim).collect())
    }

    async fn run_due(&self, now: Time, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let world = self.world();
        let paused = world.runs.values().map(|it| &it.checkpoint).filter(|it| it.status == Status::Paused);
        let mut due: Vec<(Time, RunId)> = paused.filter_map(|it| Some((it.due.filter(|due| *due <= now)?, it.run))).collect();
        due.sort();
        Ok(due.into_iter().take(limit).map(|(_, id)| id).collect())
    }

    async fn approval_list(&self, filter: &ApprovalFilter, page: &Page) -> Result<Paged<Run>, StoreError> {
        let who = &filter.decidable_by;
        self.list(page, |it| asks(it, who) && !excludes(it, who))
    }

    async fn ledger_list(&self, after: &Position, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        let world = self.world();
        let removed = world.lines.first().map_or(0, |it| it.n - 1);
        let read = usize::try_from(after.of(&world.link.stream).saturating_sub(removed)).unwrap_or(usize::MAX);
        Ok(world.lines.iter().skip(read).take(limit).cloned().collect())
    }
}

#[async_trait]
impl Keys for Memory {
    async fn key_create(&self, key: &NewKey) -> Result<(), CommitError> {
        let mut world = self.world();
        if world.keys.iter().any(|(hash, it)| *hash == key.hash || it.id == key.id) {
            return Err(CommitError::Conflict);
        }
        let NewKey { id, hash, principal, created_at } = key.clone();
        world.keys.push((hash, Key { id, principal, created_at, revoked_at: None }));
        Ok(())
    }

    async fn key_find(&self, hash: Digest) -> Result<Option<Key>, StoreError> {
        let world = self.world();
        Ok(world.keys.iter().find(|(it, key)| *it == hash && key.revoked_at.is_none()).map(|(_, key)| key.clone()))
    }

    async fn key_list(&self) -> Result<Vec<Key>, StoreError> {
        Ok(self.world().keys.iter().map(|(_, key)| key.clone()).collect())
    }

    async fn key_revoke(&self, id: &str, now: Time) -> Result<bool, StoreError> {
        let mut world = self.world();
        let key = world.keys.iter_mut().map(|(_, key)| key).find(|key| key.id == id && key.revoked_at.is_none());
        Ok(key.map(|key| key.revoked_at = Some(now)).is_some())
    }

    async fn session_create(&self, session: &Session, now: Time) -> Result<(), CommitError> {
        let mut world = self.world();
        world.sessions.retain(|_, it| it.expires_at > now);
        if world.valid_key(&session.key).is_none() || world.sessions.contains_key(&session.hash) {
            return Err(CommitError::Conflict);
        }
        world.sessions.insert(session.hash, session.clone());
        Ok(())
    }

    async fn session_find(&self, hash: Digest, now: Time) -> Result<Option<(Session, Key)>, StoreError> {
        let world = self.world();
        let session = world.sessions.get(&hash).filter(|it| it.expires_at > now);
        Ok(session.and_then(|it| Some((it.clone(), world.valid_key(&it.key)?.clone()))))
    }

    async fn session_delete(&self, hash: Digest) -> Result<(), StoreError> {
        self.world().sessions.remove(&hash);
        Ok(())
    }
}

#[async_trait]
impl Blobs for Memory {
    async fn blob_keep(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        self.world().blobs.entry(digest).or_insert_with(|| bytes.to_vec());
        Ok(digest)
    }

    async fn blob_fetch(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.world().blobs.get(&digest).cloned())
    }

    async fn blob_sweep(&self, keep: &[Digest]) -> Result<Vec<Digest>, StoreError> {
        let mut world = self.world();
        let mut spare: BTreeSet<Digest> = world.blobs.keys().filter(|it| !keep.contains(it)).copied().collect();
        for kept in world.runs.values().filter(|it| !it.checkpoint.status.is_final()) {
            for digest in needed(read(&kept.checkpoint)?.plan()) {
                spare.remove(&digest);
            }
        }
        world.blobs.retain(|digest, _| !spare.contains(digest));
        Ok(spare.into_iter().collect())
    }
}

#[async_trait]
impl Requests for Memory {
    async fn request_find(&self, request: &RequestKey) -> Result<Option<Earlier>, StoreError> {
        Ok(self.world().earlier(request))
    }

    async fn request_forget(&self, now: Time, limit: usize) -> Result<usize, StoreError> {
        let mut world = self.world();
        let over = world.requests.iter().filter(|(_, it)| it.expires_at <= now).map(|(key, _)| key.clone());
        let over: Vec<_> = over.take(limit).collect();
        world.requests.retain(|key, _| !over.contains(key));
        Ok(over.len())
    }
}

impl Hosts for Memory {}

#[async_trait]
impl Upkeep for Memory {
    async fn check(&self) -> Result<CheckReport, StoreError> {
        let world = self.world();
        let mut report = CheckReport { runs: world.runs.len() as u64, lines: world.lines.len() as u64, faults: vec![] };
        let mut verifier = Verifier::default();
        for line in &world.lines {
            verifier.follow(line).unwrap_or_else(|fault| report.fault(fault));
        }
        let removals = verifier.end().unwrap_or_else(|fault| {
            report.fault(fault);
            Removals::default()
        });
        for kept in world.runs.values() {
            let read = read(&kept.checkpoint).map_err(|error| error.to_string());
            read.and_then(|run| removals.explain_content(&run)).unwrap_or_else(|fault| report.fault(fault));
        }
        let told = world.lines.iter().filter_map(|line| Record::read(&line.entry).ok());
        let told: BTreeSet<RunId> = told.filter_map(|it| if let Record::Run(entry) = it { Some(entry.run) } else { None }).collect();
        for id in told.into_iter().filter(|id| !world.runs.contains_key(id)) {
            removals.explain_run(id).unwrap_or_else(|fault| report.fault(fault));
        }
        Ok(report)
    }

    async fn remove(&self, doomed: &Doomed, now: Time, limit: usize) -> Result<Gone, StoreError> {
        let mut world = self.world();
        Ok(match doomed.clone() {
            Doomed::Content { ended_before } => {
                let runs = world.empty(|it| it.updated_at < ended_before, now, limit);
                Gone { last: None, ..world.tell(runs, now, |runs| Removed::Content { runs, ended_before }) }
            }
            Doomed::ContentOf { principal, by, after } => {
                let runs = world.empty(|it| it.principal == principal && after.is_none_or(|after| it.run > after), now, limit);
                world.tell(runs, now, |runs| Removed::Erased { runs, principal, by })
            }
            Doomed::Runs { ended_before } => {
                let runs = world.remove_runs(ended_before, limit);
                Gone { last: None, ..world.tell(runs, now, |runs| Removed::Runs { runs, ended_before }) }
            }
            Doomed::Lines { written_before } => {
                let count = world.lines_to_go(written_before, limit);
                let last = world.lines.drain(..count).next_back();
                if let Some(last) = last {
                    let what = Removed::Lines { first: last.n + 1, previous: last.hash, written_before };
                    world.append(Removal { time: now, what }.to_json());
                }
                Gone { count, last: None }
            }
        })
    }

    async fn held(&self, principal: &str) -> Result<Held, StoreError> {
        let world = self.world();
        let mut held = Held::default();
        for it in world.runs.values().map(|it| &it.checkpoint).filter(|it| it.principal == principal) {
            if !it.status.is_final() {
                held.open += 1;
                held.open_runs.extend(Some(it.run).filter(|_| held.open_runs.len() < Held::LISTED));
            } else if read(it).is_ok_and(|run| run.erased().is_none()) {
                held.erasable += 1;
            }
        }
        Ok(held)
    }

    /// There is no file.
    async fn shrink(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Nothing is written anywhere.
    async fn scrub(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// There is no disk.
    fn transactions(&self) -> u64 {
        0
    }

    fn describe(&self) -> Description {
        Description { kind: "memory", path: None, stream: self.world().link.stream.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::conformance::{Place, conformance};

    impl Place for Memory {
        fn open(&self) -> Arc<dyn Store> {
            Arc::new(self.heir())
        }
    }

    conformance!(Memory::new());
}
