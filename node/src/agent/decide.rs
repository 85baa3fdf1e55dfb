//! What a node holds + what it is offered -> what it does. Pure: no clock, no I/O.
//!
//! Used by the applier only. Three rules: what is applied already is never applied again; a `next` that was refused is
//! not tried again in the same rollout, and the node runs `stable` meanwhile; `stable` is tried until it works. What a
//! node is pinned to is its `next`, whatever the rollout: one that it died with is not tried again by the next rollout. A revision that the process before this one died with was refused.

use echo_proto::v1;

use super::assignment::{Assignment, Offer};
use super::trial::CRASHED;

/// What the node stands on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Held {
    /// What it serves.
    pub applied: Option<v1::RevisionRef>,
    /// What it refused last; kept until that revision or a newer one was applied.
    pub rejection: Option<v1::Rejection>,
}

/// Which of the two offers one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What every node falls back to.
    Stable,
    /// What is being rolled out, or pinned.
    Next,
}

/// What to do.
#[derive(Debug)]
pub enum Decision<'a> {
    /// Nothing: what is served is what is wanted.
    Keep,
    /// Apply this one.
    Apply(Role, &'a Offer),
}

impl Held {
    /// What to do about `assignment`.
    pub fn decide<'a>(&self, assignment: &'a Assignment) -> Decision<'a> {
        let next = assignment.next.as_ref().filter(|next| !self.refused(next, assignment));
        let (role, offer) = match next {
            Some(next) => (Role::Next, next),
            None => (Role::Stable, &assignment.stable),
        };
        if self.applied.as_ref() == Some(&offer.revision) { Decision::Keep } else { Decision::Apply(role, offer) }
    }

    fn next_refused(&self, assignment: &Assignment) -> bool {
        assignment.next.as_ref().is_some_and(|next| self.refused(next, assignment))
    }

    fn refused(&self, offer: &Offer, assignment: &Assignment) -> bool {
        self.rejection.as_ref().filter(|r| r.revision.as_ref() == Some(&offer.revision)).is_some_and(|refused| {
            refused.rollout == assignment.rollout || (assignment.pinned && refused.reason == CRASHED)
        })
    }

    /// Notes that `revision` is served now. A refusal of a newer revision stands, so that people can see why it failed; so
    /// does that of the `next` of `assignment`, which would be tried again at once.
    pub fn acked(&mut self, revision: v1::RevisionRef, assignment: Option<&Assignment>) {
        let stands = assignment.is_some_and(|assignment| self.next_refused(assignment));
        let over = |refused: &v1::RevisionRef| {
            *refused == revision || refused.uid != revision.uid || (refused.n <= revision.n && !stands)
        };
        if self.rejection.as_ref().is_some_and(|r| r.revision.as_ref().is_none_or(over)) {
            self.rejection = None;
        }
        self.applied = Some(revision);
    }

    /// Notes that `rejection` is why an offer was refused.
    ///
    /// A refusal of `stable` does not hide one of `next`, which the rollout waits for; the same refusal again keeps its
    /// time, so that retries do not rewrite the node's record.
    pub fn nacked(&mut self, role: Role, assignment: &Assignment, rejection: v1::Rejection) {
        let same = |old: &v1::Rejection| {
            (&old.revision, old.rollout, &old.listener, &old.cause)
                == (&rejection.revision, rejection.rollout, &rejection.listener, &rejection.cause)
        };
        if (role == Role::Stable && self.next_refused(assignment)) || self.rejection.as_ref().is_some_and(same) {
            return;
        }
        self.rejection = Some(rejection);
    }
}

#[cfg(test)]
mod tests;
