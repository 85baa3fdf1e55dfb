//! The crash guard: what kills the process soon after it is applied is noted before, and refused at the next start.
//!
//! Used by the applier only, and only with a state directory. What has served for long enough once is not watched any
//! more. A revision that killed the process is not tried again in the same rollout; as `stable` it is, after a wait that
//! grows with each death, and what was good before serves meanwhile.

use std::time::{Duration, SystemTime};

use echo_proto::backoff::Backoff;
use echo_proto::v1::{self, NodePhase};
use tokio::time::Instant;
use tracing::{error, warn};

use super::fallback::FORGET_AGAIN;
use super::{Applier, RETRY};
use crate::agent::decide::Role;
use crate::agent::report;
use crate::agent::trial::{Trial, Trials};
use crate::live::Doorway;

/// Deaths after which the wait before the next try does not grow any more.
const MAX_STEPS: u32 = 8;

/// What is on trial, and what failed.
#[derive(Debug)]
pub(super) struct Guard {
    trials: Trials,
    /// How long a revision must serve to pass.
    after: Duration,
    /// As it stands in the state directory.
    noted: Option<Trial>,
    /// What killed the process before this one, and when it may be tried again.
    held_back: Option<(v1::RevisionRef, Instant)>,
    /// When to try again to take a note away.
    pub(super) clear_at: Option<Instant>,
}

impl Guard {
    pub(super) fn new(trials: Trials, after: Duration) -> Self {
        Self { trials, after, noted: None, held_back: None, clear_at: None }
    }

    async fn note(&mut self, trial: Trial) {
        if let Err(error) = self.trials.store(&trial).await {
            warn!(%error, "should this config kill the node, its next start would not know");
        }
        self.noted = Some(trial);
    }

    async fn clear(&mut self) {
        self.clear_at = None;
        if let Err(error) = self.trials.remove().await {
            warn!(%error, "a start would hold the config that is served for one that killed the node; will try again");
            self.clear_at = Some(Instant::now() + FORGET_AGAIN);
        }
        self.noted = None;
    }

    fn is_open(&self) -> bool {
        self.noted.as_ref().is_some_and(Trial::is_open)
    }
}

/// How long what killed the process so often is left alone, as `stable`.
fn rest(deaths: u32) -> Duration {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    (0..deaths.min(MAX_STEPS)).map(|_| backoff.next_wait()).last().unwrap_or_default()
}

impl<D: Doorway> Applier<D> {
    /// At the start: what the process before this one died with, if it did. Before anything is applied.
    pub(super) async fn recall_trial(&mut self) {
        let Some(fallback) = &mut self.fallback else { return };
        fallback.recall(&self.own.node).await;
        let Some(found) = fallback.guard.trials.load().await else { return };
        let guard = &mut fallback.guard;
        if found.rejection.revision.as_ref().is_some_and(|tried| fallback.holds.as_ref() == Some(tried)) {
            // It passed, and was saved; only its note was not taken away any more.
            return guard.clear().await;
        }
        let failed = if found.is_open() {
            let failed = found.failed(guard.after, SystemTime::now());
            // With nothing good to serve meanwhile, one death alone is no reason to wait.
            let deaths = if fallback.holds.is_some() { failed.deaths } else { failed.deaths.saturating_sub(1) };
            let until = Instant::now() + rest(deaths);
            guard.held_back = failed.rejection.revision.clone().map(|revision| (revision, until));
            guard.note(failed.clone()).await;
            failed
        } else {
            guard.noted = Some(found.clone());
            found
        };
        let revision = failed.rejection.revision.as_ref().map(|revision| revision.n);
        error!(revision, reason = report::told(&failed.rejection), "config refused");
        self.held.rejection = Some(failed.rejection.clone());
        self.say(|report| report.rejection = Some(failed.rejection));
    }

    /// Until when `revision` is left alone, because the process before this one died with it.
    pub(super) fn held_back(&self, role: Role, revision: &v1::RevisionRef) -> Option<Instant> {
        let (killer, until) = self.fallback.as_ref()?.guard.held_back.as_ref()?;
        (role == Role::Stable && killer == revision && Instant::now() < *until).then_some(*until)
    }

    /// Serves what was good while `stable` is left alone, if there is such a config.
    pub(super) async fn serve_the_good(&mut self) {
        if self.held.applied.is_some() {
            return;
        }
        let good = match &self.fallback {
            Some(fallback) => fallback.load(&self.own.node).await,
            None => None,
        };
        if let Some(good) = good {
            warn!(revision = good.stable.revision.n, "serving the config of the state directory meanwhile");
            self.attempt(Role::Stable, &good.stable, &good, None).await;
        }
        if self.held.applied.is_none() {
            self.stands = NodePhase::Rejected;
            self.say(|_| {});
        }
    }

    /// Notes that `revision` is to be applied, unless it is known to be good; gives back what was noted before.
    pub(super) async fn begin_trial(&mut self, revision: &v1::RevisionRef, rollout: u32) -> Option<Trial> {
        let fallback = self.fallback.as_mut()?;
        let before = fallback.guard.noted.clone();
        if fallback.holds.as_ref() != Some(revision) {
            fallback.guard.note(Trial::begin(revision.clone(), rollout, before.as_ref())).await;
        }
        before
    }

    /// `revision` serves: the trial of another one is over.
    pub(super) async fn switched_to(&mut self, revision: &v1::RevisionRef) {
        let Some(fallback) = &mut self.fallback else { return };
        if fallback.guard.noted.as_ref().is_some_and(|trial| trial.is_open() && !trial.is_of(revision)) {
            fallback.guard.clear().await;
        }
    }

    /// What was to be applied was refused: `before` is what is noted again.
    pub(super) async fn drop_trial(&mut self, before: Option<Trial>) {
        let Some(fallback) = &mut self.fallback else { return };
        let guard = &mut fallback.guard;
        match before {
            same if same == guard.noted => {}
            Some(before) => guard.note(before).await,
            None => guard.clear().await,
        }
    }

    /// What is on trial has passed, or will not be judged: the node ends in good order. What failed stays noted.
    pub(super) async fn end_trial(&mut self) {
        let Some(fallback) = &mut self.fallback else { return };
        if fallback.guard.is_open() || fallback.guard.clear_at.is_some() {
            fallback.guard.clear().await;
        }
    }
}

#[cfg(test)]
mod tests;
