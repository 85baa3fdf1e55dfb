//! What a rollout's changes mean to the person who waits for its end. Pure.
//!
//! Used by `rollout status`.

use std::fmt::Write as _;
use std::ops::Range;

use echo_control::words::add_nobody;
use echo_proto::ids::PoolName;
use echo_proto::v1::{self, RolloutPhase, SyncState};

use super::aim::Aim;
use crate::object::{Object as _, cause, revision, short_name};

/// Most nodes that one message names.
const MAX_NAMED: usize = 16;

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The newest revision is the stable one; its nodes may still be on their way.
    Completed,
    /// The revision was completed, and another one applied since; in words.
    Passed(String),
    /// It has not ended, and is not waited for.
    Unfinished(String),
    /// It is not, and will not be; why, and who is to blame.
    Failed(String),
    /// The pool was deleted meanwhile.
    Gone,
}

/// Something to show while it goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    /// What happens.
    pub(super) line: String,
    /// Nodes that did their part, of nodes that should.
    pub(super) share: Option<(u32, u32)>,
}

/// What was told so far.
#[derive(Debug)]
pub(super) struct Progress {
    pool: String,
    aim: Aim,
    told: String,
    last: v1::Rollout,
    /// Steps that nobody was in: the ones before had given it to as many already.
    empty: Range<u32>,
    /// Nodes that were told to hold it up, with the reason.
    blamed: Vec<String>,
}

impl Progress {
    /// Of this revision's rollout, or the newest one's.
    pub(super) fn new(pool: &PoolName, revision: Option<u32>) -> Self {
        Self {
            pool: pool.to_string(),
            aim: Aim::new(pool.as_str(), revision),
            told: String::new(),
            last: v1::Rollout::default(),
            empty: 0..0,
            blamed: Vec::new(),
        }
    }

    /// What to show, if it is news, and the end, if this is it.
    pub(super) fn take(&mut self, message: v1::WatchRolloutResponse) -> (Option<News>, Option<End>) {
        // A stored pool always has a revision, hence a rollout: one to be seen, or a pending one.
        if message.rollout.is_none() && !message.pending {
            return (None, Some(End::Gone));
        }
        if let Some(end) = self.aim.missed(&message) {
            return (None, Some(end));
        }
        let rollout = message.rollout.unwrap_or_default();
        if (rollout.id, rollout.step) != (self.last.id, self.last.step) {
            let passed = self.last.step.saturating_add(1)..rollout.step;
            self.empty = if rollout.id == self.last.id { passed } else { 0..0 };
        }
        self.last = rollout;
        if message.pending && !self.aim.is_at(&self.last) {
            return (self.news(format!("waiting for the rollout of pool/{} to begin", self.pool), None), None);
        }
        match self.last.phase() {
            RolloutPhase::Completed => (None, Some(End::Completed)),
            RolloutPhase::Reverted | RolloutPhase::Superseded | RolloutPhase::RevertIncomplete => {
                (None, Some(End::Failed(self.failed())))
            }
            RolloutPhase::Unspecified => (None, None),
            phase => {
                let share = (phase == RolloutPhase::Progressing).then_some((self.last.acked, self.last.nodes));
                (self.news(self.how_far(), share), None)
            }
        }
    }

    /// What is said of a rollout that has not ended.
    pub(super) fn unfinished(&self) -> String {
        let pool = &self.pool;
        if self.last.phase() == RolloutPhase::Paused {
            return format!("the rollout of pool/{pool} is paused, and has not ended");
        }
        format!("the rollout of pool/{pool} has not ended; leave out --watch=false to wait for it")
    }

    /// How far it got, and which nodes do not run what they should.
    pub(super) fn blocked_by(&self, nodes: &[v1::Node]) -> String {
        let mut text = if self.told.is_empty() { "control has told nothing yet".to_owned() } else { self.told.clone() };
        for why in nodes.iter().filter_map(blocks).take(MAX_NAMED) {
            let _ = write!(text, "\n  {why}");
        }
        text
    }

    /// The line, unless it was the last one told.
    pub(super) fn news(&mut self, line: String, share: Option<(u32, u32)>) -> Option<News> {
        if self.told == line {
            return None;
        }
        self.told.clone_from(&line);
        Some(News { line, share })
    }

    /// The line told last.
    pub(super) fn told(&self) -> &str {
        &self.told
    }

    /// Lines on the nodes that do not run what they should, and why, unless they were told last.
    pub(super) fn blockers(&mut self, nodes: &[v1::Node]) -> Vec<String> {
        let blocking = nodes.iter().filter_map(blocks).take(MAX_NAMED);
        let lines: Vec<String> = blocking.map(|why| format!("  waiting for {why}")).collect();
        if lines == self.blamed {
            return Vec::new();
        }
        self.blamed.clone_from(&lines);
        lines
    }

    fn how_far(&self) -> String {
        let Self { last, .. } = self;
        let to = revision(last.to.as_ref());
        let acked = match (last.nodes, last.pinned) {
            (0, 1..) => format!("no node tries revision {to}: all that pool/{} has are pinned", self.pool),
            (nodes, _) => format!("{} of {nodes} nodes run revision {to}", last.acked),
        };
        match last.phase() {
            RolloutPhase::Reverting => {
                format!("going back to revision {}{}", revision(last.from.as_ref()), because(&last.reason))
            }
            RolloutPhase::Paused => {
                let why = if last.reason.is_empty() { String::new() } else { format!("; {}", last.reason) };
                // A node that refused it does not try it again.
                let (pool, verb) = (&self.pool, if last.problems.is_empty() { "resume" } else { "abort" });
                format!("paused: {acked}{}{why}; it waits for `echoctl rollout {verb} pool/{pool}`", self.step())
            }
            _ => acked + &self.step(),
        }
    }

    fn failed(&self) -> String {
        let Self { last, pool, .. } = self;
        let (to, from) = (revision(last.to.as_ref()), revision(last.from.as_ref()));
        let what = match last.phase() {
            RolloutPhase::Superseded => format!("revision {to} of pool/{pool} was overtaken by a newer one"),
            RolloutPhase::RevertIncomplete => {
                format!("revision {to} of pool/{pool} failed, and some nodes did not go back to revision {from}")
            }
            _ => format!("revision {to} of pool/{pool} failed; all nodes went back to revision {from}"),
        };
        let problems = last.problems.iter().take(MAX_NAMED);
        let problems: Vec<_> = problems.map(|p| format!("{}: {}", p.node, cause(&p.listener, &p.cause))).collect();
        // A reason that only names a problem would say it twice.
        let reason = if problems.iter().any(|p| last.reason.contains(p)) { "" } else { &last.reason };
        let lines = problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>();
        what + &because(reason) + &lines
    }

    /// `; step 1 of 3: canaries node-1, node-4; 0 of 51234 messages failed`, `; step 3 of 3 (step 2 adds nobody)`.
    fn step(&self) -> String {
        let Self { last: rollout, empty, .. } = self;
        if rollout.steps == 0 {
            return String::new();
        }
        let at = format!("; step {} of {}", rollout.step.saturating_add(1), rollout.steps);
        let named = rollout.canaries.len().min(MAX_NAMED);
        let canaries = match rollout.canaries.get(..named).unwrap_or_default() {
            names if rollout.step > 0 || names.is_empty() => String::new(),
            [one] => format!(": canary {one}"),
            names => format!(": canaries {}", names.join(", ")),
        };
        let health = if rollout.health.is_empty() { String::new() } else { format!("; {}", rollout.health) };
        at + &add_nobody(empty) + &canaries + &health
    }
}

/// `node-2: PENDING, runs revision 3`, of a node that does not do what it is told.
fn blocks(node: &v1::Node) -> Option<String> {
    let status = node.status.as_ref().filter(|status| status.pinned_revision == 0)?;
    if matches!(status.sync(), SyncState::Synced | SyncState::Unspecified) {
        return None;
    }
    let sync = short_name(status.sync().as_str_name(), "SYNC_STATE_");
    let runs = || format!("{}: {sync}, runs revision {}", node.name(), revision(status.applied.as_ref()));
    Some(node.note().unwrap_or_else(runs))
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

#[cfg(test)]
mod tests;
