//! What was told of one node, and what is still to be told: one step an event.
//!
//! Used by the pass over all nodes. Pure. A step's `to` says enough to know later what was told; what a node says is cut
//! to what an event may hold. What an operator wishes, the API tells with the wish: here is what came of it.

use std::collections::BTreeMap;

use echo_proto::v1;
use v1::NodePhase as Phase;

use super::Name;
use super::words::{MAX_CHARS, because, cut, last_words, phase};
use crate::event;
use crate::fleet::{Node, Presence};
use crate::words::count;

/// Longest message.
const MAX_MESSAGE_CHARS: usize = 1_024;
/// Longest type or reason of a condition.
const MAX_WORD_CHARS: usize = 64;
/// Conditions of a node that are looked at; by contract it has no more.
const MAX_CONDITIONS: usize = 8;
/// Told as [`REJECTED`], with the listener at fault.
const CONFIG_ACCEPTED: &str = "ConfigAccepted";

const JOINED: &str = "NodeJoined";
const RETURNED: &str = "NodeReturned";
const VANISHED: &str = "NodeVanished";
const LEFT: &str = "NodeLeft";
const REJECTED: &str = "NodeRejected";
const READY: &str = "NodeReady";
const DRAINING: &str = "NodeDraining";
const DRAINED: &str = "NodeDrained";
const NO_POOL: &str = "NodeNoPool";

/// What was told of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Its phase, or STALE, LOST, UNKNOWN, LEFT; empty: nothing was told of it.
    standing: String,
    /// `None`: not known, since an earlier leader told it.
    incarnation: Option<String>,
    /// The revision that it refused.
    rejected: String,
    /// Type -> reason.
    conditions: BTreeMap<String, String>,
    /// etcd's revision of the last event of an earlier leader.
    at: i64,
}

/// One event, and what is told after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) reason: String,
    pub(super) warning: bool,
    actor: Option<String>,
    from: String,
    pub(super) to: String,
    message: String,
    pub(super) after: Told,
}

impl Step {
    pub(super) fn event(&self, (pool, node): &Name) -> v1::Event {
        let build = if self.warning { event::warning } else { event::normal };
        let event = event::in_pool(pool, build(&self.reason, event::of_node(node), self.message.clone()));
        let actor = self.actor.clone().unwrap_or_else(|| event.object.clone());
        v1::Event { actor, from: self.from.clone(), to: self.to.clone(), ..event }
    }
}

impl Told {
    /// As if all of a node had been told.
    pub(super) fn of(node: &Node) -> Self {
        Self::default().steps(node).1
    }

    /// Notes an event that is stored.
    pub(super) fn recall(&mut self, event: &v1::Event, mod_revision: i64) {
        let to = || event.to.clone();
        match event.reason.as_str() {
            REJECTED => self.rejected = to(),
            JOINED | RETURNED | VANISHED | LEFT | READY | DRAINING | DRAINED | NO_POOL => self.standing = to(),
            reason => match event.to.split_once('=') {
                Some((kind, "False")) => drop(self.conditions.insert(kind.to_owned(), reason.to_owned())),
                Some((kind, "True")) => drop(self.conditions.remove(kind)),
                // Of the scaler, or of an operator.
                _ => return,
            },
        }
        self.at = mod_revision;
    }

    /// Whether nothing will ever be told of it again.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.standing.as_str(), "" | "LEFT" | "UNKNOWN")
    }

    /// What is to be told of a node that is known, and what is told then.
    pub(super) fn steps(&self, node: &Node) -> (Vec<Step>, Self) {
        let mut telling = Telling { node, told: self.clone(), steps: Vec::new() };
        match node.presence {
            // The roll call will tell.
            Presence::Vanished { answers: None, .. } | Presence::Left => {}
            Presence::Vanished { answers: Some(answers), .. } => telling.vanished(answers),
            Presence::Sure | Presence::Doubtful { .. } => telling.present(),
        }
        let Telling { told, mut steps, .. } = telling;
        if let Some(last) = steps.last_mut() {
            last.after.clone_from(&told);
        }
        (steps, told)
    }

    /// What is to be told of a node that said that it leaves, and did.
    pub(super) fn left(&self, node: &Node) -> Option<Step> {
        if self.is_over() {
            return None;
        }
        let mut telling = Telling { node, told: self.clone(), steps: Vec::new() };
        let reason = node.status.drain.as_ref().map_or("", |drain| drain.reason.as_str());
        telling.stand(LEFT, "LEFT", format!("drained and left{}", because(reason)));
        telling.steps.pop()
    }

    /// What is to be told of a node of which there is nothing left.
    pub(super) fn missing(&self) -> Option<Step> {
        // One that vanished was told of, and is forgotten after a while.
        if self.is_over() || matches!(self.standing.as_str(), "LOST" | "STALE") {
            return None;
        }
        let after = Self { standing: "UNKNOWN".to_owned(), ..Self::default() };
        let message = "its record went away while no control looked; it left or died".to_owned();
        let (from, to) = (self.standing.clone(), after.standing.clone());
        let actor = Some("echo-control".to_owned());
        Some(Step { reason: VANISHED.to_owned(), warning: true, actor, from, to, message, after })
    }
}

/// Collects the steps of one node.
struct Telling<'a> {
    node: &'a Node,
    told: Told,
    steps: Vec<Step>,
}

impl Telling<'_> {
    fn present(&mut self) {
        let status = &self.node.status;
        let phase = phase(status.phase());
        self.arrive(&phase);
        self.told.incarnation = Some(status.incarnation.clone());
        if self.told.standing != phase {
            self.moved(&phase);
        }
        self.reject();
        self.conditions();
    }

    /// It is new, back, or another life of itself.
    fn arrive(&mut self, phase: &str) {
        let status = &self.node.status;
        let place = format!("on host {}, Agent at {}", status.host, status.agent_address);
        let again = match &self.told.incarnation {
            Some(before) => *before != status.incarnation,
            // Not known; a record of the same life would be older than what was told of it.
            None => self.node.record.create_revision > self.told.at,
        };
        match self.told.standing.as_str() {
            "" | "LEFT" => {
                self.told = Told::default();
                self.stand(JOINED, "STARTING", format!("registered {place}, version {}", status.version));
            }
            "LOST" | "STALE" | "UNKNOWN" if !again || self.told.incarnation.is_none() => {
                self.stand(RETURNED, phase, format!("its record is back; {place}"));
            }
            _ if again => self.another_life(phase, &place),
            _ => {}
        }
    }

    fn another_life(&mut self, phase: &str, place: &str) {
        let what = match &self.told.incarnation {
            Some(_) => "another process of it runs; registered",
            None => "it registered anew while no control looked;",
        };
        let standing = std::mem::take(&mut self.told.standing);
        self.told = Told { standing, ..Told::default() };
        self.stand(RETURNED, phase, format!("{what} {place}"));
    }

    fn moved(&mut self, phase: &str) {
        let status = &self.node.status;
        let drain = status.drain.clone().unwrap_or_default();
        match status.phase() {
            Phase::Ready => {
                let n = status.applied.as_ref().map_or(0, |applied| applied.n);
                self.stand(
                    READY,
                    phase,
                    format!("serves revision {n} on {}", count(status.listeners.len(), "listener")),
                );
            }
            Phase::Draining if drain.exits => self.stand(DRAINING, phase, format!("drains{}", because(&drain.reason))),
            Phase::Drained => {
                let cut = match drain.cut_connections {
                    0 => String::new(),
                    n => format!("; {} cut at its deadline", count(n, "connection")),
                };
                self.stand(DRAINED, phase, format!("serves nothing{}{cut}", because(&drain.reason)));
            }
            Phase::NoPool => self.stand(NO_POOL, phase, format!("pool {} does not exist", status.pool)),
            // Told by the wish or the rejection itself, or by what comes of it.
            Phase::Draining | Phase::Rejected | Phase::Starting | Phase::Unspecified => {
                phase.clone_into(&mut self.told.standing)
            }
        }
    }

    fn reject(&mut self) {
        let Some(rejection) = &self.node.status.rejection else { return self.told.rejected.clear() };
        let refused = format!("revision {}", rejection.revision.as_ref().map_or(0, |revision| revision.n));
        if self.told.rejected == refused {
            return;
        }
        let from = self.node.status.applied.as_ref().map_or_else(String::new, |a| format!("revision {}", a.n));
        self.told.rejected.clone_from(&refused);
        let cause = cut(&rejection.cause, MAX_CHARS);
        let listener = match rejection.listener.as_str() {
            "" => String::new(),
            // The cause may name it itself.
            name if cause.contains(name) => String::new(),
            name => format!("listener {name}: "),
        };
        self.step(REJECTED, true, from, refused.clone(), format!("refused {refused}: {listener}{cause}"));
    }

    fn conditions(&mut self) {
        let mut now = BTreeMap::new();
        for condition in self.node.status.conditions.iter().take(MAX_CONDITIONS) {
            if !condition.status && condition.r#type != CONFIG_ACCEPTED && !condition.reason.is_empty() {
                now.insert(cut(&condition.r#type, MAX_WORD_CHARS), condition);
            }
        }
        let gone: Vec<String> = self.told.conditions.keys().filter(|kind| !now.contains_key(*kind)).cloned().collect();
        for kind in gone {
            let reason = self.told.conditions.remove(&kind).unwrap_or_default();
            let (from, to) = (format!("{kind}=False"), format!("{kind}=True"));
            self.step(&reason, false, from, to, "no longer so".to_owned());
        }
        for (kind, condition) in now {
            let reason = cut(&condition.reason, MAX_WORD_CHARS);
            let before = self.told.conditions.insert(kind.clone(), reason.clone());
            if before.as_ref() != Some(&reason) {
                let from = if before.is_some() { format!("{kind}=False") } else { format!("{kind}=True") };
                self.step(&reason, true, from, format!("{kind}=False"), cut(&condition.message, MAX_CHARS));
            }
        }
    }

    fn vanished(&mut self, answers: bool) {
        let to = if answers { "STALE" } else { "LOST" };
        self.conditions();
        if self.told.standing == to {
            return;
        }
        let message = match answers {
            true => "its record is gone, but its Agent answers: it serves without etcd".to_owned(),
            false => format!("its record is gone, and its Agent does not answer{}", last_words(&self.node.status)),
        };
        self.stand(VANISHED, to, message);
        if let Some(step) = self.steps.last_mut() {
            step.warning = true;
            step.actor = Some("echo-control".to_owned());
        }
    }

    fn stand(&mut self, reason: &str, standing: &str, message: String) {
        let from = std::mem::replace(&mut self.told.standing, standing.to_owned());
        self.step(reason, false, from, standing.to_owned(), message);
    }

    fn step(&mut self, reason: &str, warning: bool, from: String, to: String, message: String) {
        let (reason, message, after) = (reason.to_owned(), cut(&message, MAX_MESSAGE_CHARS), self.told.clone());
        self.steps.push(Step { reason, warning, actor: None, from, to, message, after });
    }
}
