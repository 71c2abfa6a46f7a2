//! Who may decide, and on what.

use super::Run;
use crate::{Approver, Digest, Guard, Question, Stage};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Who may decide, and on what.
impl Run {
    pub(super) fn excluded(&self, guard: &Guard) -> Option<&str> {
        (!guard.approval.self_approval).then_some(self.principal.id.as_str())
    }

    /// The lists that are not empty: of the configuration, of the request, of the guard's question.
    pub(super) fn lists(&self, guard: &Guard, question: &Question) -> Result<Vec<Vec<Approver>>, String> {
        let asked: Result<Vec<Approver>, _> = question.approvers.iter().map(|it| it.parse()).collect();
        let lists = [
            guard.approval.approvers.clone(),
            self.request.approvers.clone(),
            asked.map_err(|error: crate::ApproverError| error.to_string())?,
        ];
        Ok(lists.into_iter().filter(|list| !list.is_empty()).collect())
    }

    /// Digest of exactly what people are shown and what is let through.
    pub(super) fn shown(&self, stage: Stage, guard: &Guard) -> Digest {
        let (request, reply) = (self.content(Stage::Ingress), self.reply.as_ref().map(|_| self.content(Stage::Egress)));
        let reply = reply.map_or(vec![], |it| it.0.to_vec());
        let fields: [&[u8]; 7] = [
            stage.name().as_bytes(),
            guard.name.as_bytes(),
            &guard.component.0,
            &guard.settings.0,
            &self.plan.digest().0,
            &request.0,
            &reply,
        ];
        self.salted(&fields)
    }

    /// HMAC-SHA-256 under the run's salt, each field length-prefixed.
    pub(super) fn salted(&self, fields: &[&[u8]]) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.salt.0).expect("HMAC takes keys of any length");
        for field in fields {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        Digest(mac.finalize().into_bytes().into())
    }
}

/// So many people: a question can raise what the configuration says, and nobody at all is never enough.
pub(super) fn required(guard: &Guard, asked: u32) -> u32 {
    guard.approval.required.max(asked).max(1)
}
