//! What the looks at draining nodes mean to the person who waits. Pure.
//!
//! Used by `drain`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use echo_proto::v1::{self, DrainStage, NodePhase, SyncState};
use tokio::time::Instant;

use crate::object::Object as _;
use echo_control::words::count;

/// A node begins to drain within moments; one that has not by then will not.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);
/// A node ends its drain at its deadline; one that has not so long after it hangs.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// Most nodes that one message names.
const MAX_NAMED: usize = 16;

/// What one look at a node found.
#[derive(Debug)]
pub(super) enum Sight {
    Node(Box<v1::Node>),
    /// Control no longer knows it.
    Gone,
}

/// How a drain ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Drained(String),
    Failed(String),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The node has not said that it drains.
    Asked,
    Draining,
    Drained,
    Failed,
}

/// One node's drain.
#[derive(Debug)]
pub(super) struct Drain {
    node: v1::Node,
    state: State,
    /// Since the last change of `state`.
    since: Instant,
    /// Why connections that this drain closes are closed.
    cut: &'static str,
    /// Connections of the lives that ended before their drain did.
    torn: Option<u64>,
}

impl Drain {
    pub(super) fn new(node: &v1::Node, forced: bool, now: Instant) -> Self {
        let cut = match (node.status.as_ref().map(v1::NodeStatus::phase), forced) {
            // By an earlier drain, of which this command knows nothing.
            (Some(NodePhase::Drained), _) => "",
            (_, true) => " by force",
            (_, false) => " at the deadline",
        };
        Self { node: node.clone(), state: State::Asked, since: now, cut, torn: None }
    }

    pub(super) fn goes_on(&self) -> bool {
        matches!(self.state, State::Asked | State::Draining)
    }

    pub(super) fn failed(&self) -> bool {
        self.state == State::Failed
    }

    /// How to look at the node.
    pub(super) fn request(&self) -> v1::NodesGetRequest {
        v1::NodesGetRequest { name: self.node.name().to_owned(), pool: self.pool().to_owned() }
    }

    fn pool(&self) -> &str {
        self.node.status.as_ref().map_or("", |status| &status.pool)
    }

    /// Takes a look's result; the end, if this is it.
    pub(super) fn see(&mut self, sight: Sight, now: Instant) -> Option<End> {
        let path = self.node.path();
        let Sight::Node(node) = sight else {
            // Control forgets a node that left, but a control that was restarted does not know of one that died, either.
            return Some(if self.exits() {
                self.end(State::Drained, format!("{path} left{}", self.torn_away()))
            } else {
                let text = format!(
                    "{path} ended before it had drained, as far as was seen; `echoctl get events --for {path}` tells more"
                );
                self.end(State::Failed, text)
            });
        };
        self.meet(*node, now);
        let status = self.node.status.clone().unwrap_or_default();
        let drain = status.drain.clone().unwrap_or_default();
        match (status.sync(), status.phase(), drain.stage()) {
            (SyncState::Lost, ..) => {
                let text = format!("{path} vanished; `echoctl describe {path}` tells what is known of it");
                Some(self.end(State::Failed, text))
            }
            (_, NodePhase::Drained, _) | (_, _, DrainStage::Drained) => {
                let cut = match drain.cut_connections {
                    0 => String::new(),
                    1 => format!("; 1 connection was cut{}", self.cut),
                    cut => format!("; {cut} connections were cut{}", self.cut),
                };
                Some(self.end(State::Drained, format!("{path} drained{cut}{}", self.torn_away())))
            }
            (_, NodePhase::Draining, _) => {
                if self.state == State::Asked {
                    (self.state, self.since) = (State::Draining, now);
                }
                let late = now.duration_since(self.since) > span(&drain) + ENDS_WITHIN;
                late.then(|| self.end(State::Failed, format!("{path} has passed its deadline and still drains")))
            }
            _ if self.state == State::Draining => {
                Some(self.end(State::Failed, format!("{path} serves again: its drain was taken back")))
            }
            _ if now.duration_since(self.since) > BEGINS_WITHIN => {
                let text = format!("{path} has not begun to drain within {} s", BEGINS_WITHIN.as_secs());
                Some(self.end(State::Failed, text))
            }
            _ => None,
        }
    }

    /// Takes what is known of the node now. Another life of it has the drain before it again.
    fn meet(&mut self, node: v1::Node, now: Instant) {
        let life = |node: &v1::Node| node.status.as_ref().map(|status| status.incarnation.clone()).unwrap_or_default();
        let (before, after) = (life(&self.node), life(&node));
        if !before.is_empty() && !after.is_empty() && before != after {
            if !self.exits() {
                let open = Load::of(self.node.status.as_ref().and_then(|status| status.live.as_ref())).connections;
                self.torn = Some(self.torn.unwrap_or_default().saturating_add(open));
            }
            (self.state, self.since) = (State::Asked, now);
        }
        self.node = node;
    }

    /// Whether the node was about to leave when it was last seen.
    fn exits(&self) -> bool {
        self.node.status.as_ref().and_then(|status| status.drain.as_ref()).is_some_and(|drain| drain.exits)
    }

    /// What is said of lives that ended before their drain did.
    fn torn_away(&self) -> String {
        match self.torn {
            None => String::new(),
            Some(0) => "; its process ended before it had drained, and another took its place".to_owned(),
            Some(open) => {
                format!("; its process ended before it had drained, which cut {}", count(open, "connection"))
            }
        }
    }

    fn end(&mut self, state: State, text: String) -> End {
        self.state = state;
        if self.failed() { End::Failed(text) } else { End::Drained(text) }
    }

    /// `closing: 3 connections, 2 UDP flows left`.
    fn left(&self) -> String {
        let status = self.node.status.clone().unwrap_or_default();
        let stage = match (self.state == State::Asked, status.drain.unwrap_or_default().stage()) {
            (true, _) => "asked to drain",
            (_, DrainStage::LameDuck) => "not ready, still accepting",
            _ => "closing",
        };
        format!("{stage}, {} left", Load::of(status.live.as_ref()))
    }

    /// Time to the deadline, by the clocks of the node and of this machine.
    fn remaining(&self, now: SystemTime) -> Option<Duration> {
        let deadline = self.node.status.as_ref()?.drain.as_ref()?.deadline_time?;
        Some(SystemTime::try_from(deadline).ok()?.duration_since(now).unwrap_or_default())
    }
}

/// How long the drain may take, by the node's own clock.
fn span(drain: &v1::DrainStatus) -> Duration {
    let time = |time: Option<prost_types::Timestamp>| SystemTime::try_from(time.unwrap_or_default()).ok();
    let span = time(drain.start_time).and_then(|start| time(drain.deadline_time)?.duration_since(start).ok());
    span.unwrap_or_default()
}

/// What a node still serves.
#[derive(Debug, Default)]
struct Load {
    connections: u64,
    flows: u64,
    /// At least so many.
    capped: bool,
    /// Not every Agent has answered.
    unknown: bool,
}

impl Load {
    fn of(live: Option<&v1::LiveFigures>) -> Self {
        let unknown = live.is_none();
        let live = live.cloned().unwrap_or_default();
        Self {
            connections: live.connections.into(),
            flows: live.udp_flows.into(),
            capped: live.udp_flows_capped,
            unknown,
        }
    }

    fn add(self, other: Self) -> Self {
        Self {
            connections: self.connections.saturating_add(other.connections),
            flows: self.flows.saturating_add(other.flows),
            capped: self.capped || other.capped,
            unknown: self.unknown || other.unknown,
        }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let least = if self.unknown { ">=" } else { "" };
        let flows = if self.unknown || self.capped { ">=" } else { "" };
        let (connections, udp) = (count(self.connections, "connection"), count(self.flows, "UDP flow"));
        write!(f, "{least}{connections}, {flows}{udp}")
    }
}

/// What is left of all drains, with the time to the last deadline where `counting`; `None` when all have ended.
pub(super) fn left(drains: &[Drain], now: SystemTime, counting: bool) -> Option<String> {
    let going: Vec<&Drain> = drains.iter().filter(|drain| drain.goes_on()).collect();
    let text = match (going.as_slice(), drains.len()) {
        ([], _) => return None,
        ([one], 1) => format!("{}: {}", one.node.path(), one.left()),
        (several, all) => {
            let live = |drain: &&Drain| Load::of(drain.node.status.as_ref().and_then(|s| s.live.as_ref()));
            let load = several.iter().map(live).fold(Load::default(), Load::add);
            format!("{} of {all} nodes drained, {load} left", all - several.len())
        }
    };
    let remaining = going.iter().filter_map(|drain| drain.remaining(now)).max().filter(|_| counting);
    Some(remaining.map_or(text.clone(), |left| format!("{text}; deadline in {} s", left.as_secs())))
}

/// What is said when nobody waits any more: who still drains, and how to take that back.
pub(super) fn unfinished(drains: &[Drain], why: &str, now: SystemTime) -> String {
    let going: Vec<&Drain> = drains.iter().filter(|drain| drain.goes_on()).collect();
    let left = left(drains, now, true).map(|left| format!(" ({left})")).unwrap_or_default();
    // Names are the pool's: a node of another pool may have the same.
    let mut pools: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for drain in going.iter().take(MAX_NAMED) {
        pools.entry(drain.pool()).or_default().push(drain.node.name());
    }
    let undrain = |(pool, names): (&str, Vec<&str>)| format!("`echoctl undrain {} --pool {pool}`", names.join(" "));
    let commands: Vec<String> = pools.into_iter().map(undrain).collect();
    let takes = if commands.len() == 1 { "takes" } else { "take" };
    let more = match going.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" ({more} more are not named)"),
    };
    format!("{why}{left}; the drain goes on; {} {takes} it back{more}", commands.join(" and "))
}

#[cfg(test)]
mod tests;
