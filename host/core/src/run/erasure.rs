//! What is left of a run when its content is taken out: who, when, which guards, which decisions, and digests that nobody can
//! compare with anything any more.

use super::{Refused, Request, Run};
use crate::{Answer, Content, Digest, Message, Role, Time};

/// Erasing.
impl Run {
    /// Takes out all that a client, a model, a guard or an editor has said, and the salt, without which no text can be guessed from the
    /// digests that stay. Doing it again changes nothing. It is no step of the run: its version stays, and its entries do.
    ///
    /// # Errors
    /// When the run is not over, or not all of it is committed: what may still be needed is never erased.
    pub fn erase(&mut self, now: Time) -> Result<(), Refused> {
        if !self.status().is_final() || self.uncommitted() > 0 {
            return Err(Refused::Illegal);
        }
        self.erased.get_or_insert(now);
        self.salt = Digest([0; 32]);
        self.request = Request { approvers: std::mem::take(&mut self.request.approvers), ..Request::default() };
        self.reply = self.reply.take().map(|it| Answer { message: nothing(), finish_reason: None, usage: it.usage });
        self.revisions = vec![0; usize::from(self.reply.is_some())];
        self.labels.clear();
        self.memory.clear();
        self.judged.clear();
        self.words.clear();
        self.originals.clear();
        self.rewritten.clear();
        self.approvals.iter_mut().for_each(|it| it.prompt.clear());
        Ok(())
    }

    /// When its content was erased; `None` as long as it is there.
    pub fn erased(&self) -> Option<Time> {
        self.erased
    }
}

fn nothing() -> Message {
    Message { content: Content::None, ..Message::text(Role::Assistant, "") }
}
