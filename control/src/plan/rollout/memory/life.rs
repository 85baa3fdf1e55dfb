//! What is remembered of one node, and of the stage that a rollout is in.
//!
//! Kept by [`super::Memory`] only.

use std::time::Duration;

use echo_proto::v1;
use tokio::time::Instant;
use v1::RolloutPhase as Phase;

use super::super::facts::Facts;
use super::super::health::Counted;
use super::hearing::Hearing;

/// Why a node counts as lost.
pub(super) const RESTARTED: &str = "lost: another process came up in its place";
pub(super) const GONE: &str = "lost: its record is gone";
pub(super) const FLAPS: &str = "lost: its record went away again and again";
/// So often a node's record may go away for less than its time to live.
const MAX_GAPS: u32 = 2;

/// What, when it changes, begins all timers anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) rollout: u32,
    pub(super) phase: i32,
    pub(super) step: u32,
    pub(super) next: Option<u32>,
    pub(super) picked: Vec<String>,
    pub(super) cut: u64,
    pub(super) canaries: usize,
}

/// One node.
#[derive(Debug)]
pub(super) struct Life {
    /// When it was seen first in this stage, or since it is asked anew.
    pub(super) since: Instant,
    /// The number of the last stage in which it was seen; 0: a canary of an earlier leader that never was.
    pub(super) stage: u64,
    /// The process that was there when it was given what it is to run.
    pub(super) incarnation: String,
    pub(super) given: bool,
    /// Whether the rollout was about it when it was seen last: it neither drained nor was pinned.
    pub(super) asked: bool,
    /// Whether it was lost on what it was given.
    pub(super) lost: Option<&'static str>,
    pub(super) gone: Option<Instant>,
    /// How often it has gone without a word.
    pub(super) gaps: u32,
    /// What it had counted until it was given `next`, and what it counted until now.
    pub(super) counted: Option<(Counted, Counted)>,
    /// Whether the process that was given what it is to run has said what it does, and whether it does now.
    pub(super) heard: bool,
    pub(super) hearing: Option<Hearing>,
    pub(super) look: u64,
}

impl Stage {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let (rollout, assignment) = (facts.rollout, facts.assigned());
        Self {
            rollout: rollout.map_or(0, |r| r.id),
            phase: rollout.map_or(0, |r| r.phase),
            step: rollout.map_or(0, |r| r.step),
            next: assignment.and_then(|a| a.next.as_ref()).map(|next| next.n),
            picked: assignment.map_or_else(Vec::new, |a| a.picked.clone()),
            cut: assignment.map_or(0, |a| a.cut),
            canaries: rollout.map_or(0, |r| r.canaries.len()),
        }
    }

    /// Whether only canaries have `next`.
    pub(super) fn is_canary(&self) -> bool {
        self.step == 0 && self.canaries > 0
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::try_from(self.phase).unwrap_or_default()
    }
}

impl Life {
    pub(super) fn new(since: Instant) -> Self {
        Self {
            since,
            stage: 0,
            incarnation: String::new(),
            given: false,
            asked: false,
            lost: None,
            gone: None,
            gaps: 0,
            counted: None,
            heard: false,
            hearing: None,
            look: 0,
        }
    }

    pub(super) fn is_met(&self) -> bool {
        self.stage > 0
    }

    /// It is not there, or has no record though it `serves`; whether it counts as lost for that from now on.
    pub(super) fn is_missed(&mut self, now: Instant, lease_ttl: Duration, serves: bool) -> bool {
        if self.gone.is_none() {
            self.gaps = self.gaps.saturating_add(1);
        }
        let gone = *self.gone.get_or_insert(now);
        if self.lost.is_some() {
            return false;
        }
        self.lost = match now.saturating_duration_since(gone) {
            absent if absent >= lease_ttl && !serves => Some(GONE),
            _ if self.gaps > MAX_GAPS => Some(FLAPS),
            _ => None,
        };
        self.lost.is_some()
    }
}

/// How long it `holds`.
pub(super) fn held(since: &mut Option<Instant>, holds: bool, now: Instant) -> Option<Duration> {
    *since = since.filter(|_| holds).or(holds.then_some(now));
    since.map(|since| now.saturating_duration_since(since))
}
