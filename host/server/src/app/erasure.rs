//! Erasing what one principal has said, because it or somebody else asks for it.

use super::{App, AppError};
use crate::clock;
use crate::detached::Detached;
use aegis_core::{Principal, PrincipalRole, RunId};
use aegis_store::{Doomed, Held, Page, RunFilter, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// Runs that one transaction erases, at most.
const STEP: usize = 50;
/// Between two of them, and before the files are tried again: somebody may be reading in them.
const PAUSE: Duration = Duration::from_millis(20);
/// How often the files are tried.
const SCRUBS: usize = 3;
/// How often runs are looked for that have ended meanwhile.
const ROUNDS: usize = 3;
/// Runs that are looked at once for whether they can be read.
const LOOK: usize = 100;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct NewErasure {
    /// Whose content, by id.
    pub principal: String,
    /// Whether runs that are not over are ended and erased, too; otherwise they are left as they are.
    pub cancel: bool,
    /// Whether nothing is done but to say what would be.
    pub dry_run: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// So many runs have lost their content, or would.
    pub erased: u64,
    /// So many runs were ended for it, or would be.
    pub cancelled: u64,
    /// So many runs are not over, and were not touched.
    pub open: u64,
    /// The oldest of those.
    pub open_runs: Vec<RunId>,
}

impl App {
    /// Erases the content of every run that a principal has created and that is over. Comes back when no byte of it is left in the store's
    /// files. What has begun goes on when the caller has gone; asked again, it does what is left.
    ///
    /// # Errors
    /// When the caller is no admin, or the store fails; then some of it may be erased already.
    pub async fn erase(self: &Arc<Self>, who: &Principal, new: NewErasure) -> Result<Erasure, AppError> {
        if !who.is(PrincipalRole::Admin) {
            return Err(AppError::Role(PrincipalRole::Admin));
        }
        let (app, who) = (self.clone(), who.clone());
        Detached::new(async move { app.erase_now(&who, new).await }).await
    }

    async fn erase_now(self: &Arc<Self>, who: &Principal, new: NewErasure) -> Result<Erasure, AppError> {
        let held = self.store.held(&new.principal).await?;
        if new.dry_run {
            return Ok(foreseen(held, new.cancel));
        }
        let cancelled = if new.cancel { self.end_all(who, &new.principal).await? } else { 0 };
        let (mut erased, mut left) = (0, self.store.held(&new.principal).await?);
        for _ in 0..ROUNDS {
            erased += self.erase_all(who, &new.principal, left.erasable).await?;
            left = self.store.held(&new.principal).await?;
            if left.erasable == 0 {
                break;
            }
        }
        // Before anything is said of what could not be erased: the rest has to be gone from the files all the same.
        self.scrub().await?;
        tracing::info!(runs = erased, by = who.id, "erased what a principal has said");
        if left.erasable > 0 || (new.cancel && left.open > 0) {
            self.all_readable(&new.principal).await?;
        }
        Ok(Erasure { erased, cancelled, open: left.open, open_runs: left.open_runs })
    }

    async fn end_all(self: &Arc<Self>, who: &Principal, principal: &str) -> Result<u64, AppError> {
        let (mut cancelled, there) = (0, self.store.held(principal).await?.open);
        // Whoever goes on sending new ones meanwhile keeps nobody here for ever.
        for _ in 0..=there / Held::LISTED as u64 {
            for id in self.store.held(principal).await?.open_runs {
                match self.end(who, id).await {
                    Ok(_) => cancelled += 1,
                    // It came to its end by itself.
                    Err(AppError::Finished(_) | AppError::UnknownRun) => {}
                    // The others are ended; that it cannot be is said at the end.
                    Err(AppError::Store(StoreError::Damaged(_) | StoreError::Newer { .. })) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(cancelled)
    }

    /// Erases so many runs at most, the oldest: whoever goes on sending new ones meanwhile keeps nobody here for ever.
    async fn erase_all(&self, who: &Principal, principal: &str, most: u64) -> Result<u64, AppError> {
        let (mut erased, mut after) = (0, None);
        while erased < most {
            let doomed = Doomed::ContentOf { principal: principal.into(), by: who.id.clone(), after };
            let gone = self.store.remove(&doomed, clock::now(), STEP).await?;
            if gone.last.is_none() {
                break;
            }
            self.metrics.removed("erased", gone.count);
            (erased, after) = (erased + gone.count as u64, gone.last);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(erased)
    }

    /// What is left may have ended only now; or it cannot be read, and then asking again does not help.
    async fn all_readable(&self, principal: &str) -> Result<(), AppError> {
        let filter = RunFilter { principal: Some(principal.into()), ..RunFilter::default() };
        let (mut unreadable, mut page) = (0, Page { limit: LOOK, after: None });
        loop {
            let found = self.store.run_list(&filter, &page).await?;
            unreadable += found.unreadable.len();
            page.after = found.next;
            match page.after {
                Some(_) => {}
                None if unreadable == 0 => return Ok(()),
                None => {
                    let why = format!("{unreadable} runs cannot be read, and so not be erased: `aegis db check` names them");
                    return Err(StoreError::Damaged(why).into());
                }
            }
        }
    }

    /// Also when nothing was erased: what an earlier attempt has left in the files goes, too.
    async fn scrub(&self) -> Result<(), StoreError> {
        for _ in 1..SCRUBS {
            match self.store.scrub().await {
                Err(StoreError::Busy) => tokio::time::sleep(PAUSE).await,
                other => return other,
            }
        }
        self.store.scrub().await
    }
}

fn foreseen(held: Held, cancel: bool) -> Erasure {
    match held {
        Held { erasable, open, .. } if cancel => Erasure { erased: erasable + open, cancelled: open, open: 0, open_runs: vec![] },
        Held { erasable, open, open_runs } => Erasure { erased: erasable, cancelled: 0, open, open_runs },
    }
}
