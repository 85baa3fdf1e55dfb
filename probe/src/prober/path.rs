//! What became of a flow's probes on their way, as far as the nodes tell: which never arrived, and whose answers got
//! lost.
//!
//! Used by [`super::book`]. Pure. What a node says it dropped itself is never loss.

use echo_proto::stamp::Seen;

/// Most nodes, or lives of nodes, that one flow is followed through; later ones are not known.
const MAX_REPORTERS: usize = 64;

/// Probes of a flow by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Never arrived at a node.
    pub there: u64,
    /// Arrived, and their answers did not.
    pub back: u64,
    /// Unanswered, and nobody tells whether they arrived.
    pub unknown: u64,
    /// Dropped by the node itself: after they arrived, or as far as it told, because its receive queue overflowed. No loss
    /// of the network's.
    pub by_node: u64,
    /// Were answered, and the answers dropped by our own socket: no loss of the network's either.
    pub by_us: u64,
}

impl Loss {
    /// What the network lost.
    pub fn network(&self) -> u64 {
        self.there + self.back + self.unknown
    }
}

/// What a flow's own side counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    /// Probes that were sent.
    pub(super) all: u64,
    /// Answered, in time or late.
    pub(super) answered: u64,
    /// Answers that our socket had no room for.
    pub(super) overflow: u64,
}

/// What one node saw of the flow in one life.
#[derive(Debug, Clone)]
struct Reporter {
    node: String,
    seen: Seen,
}

/// What all nodes told of one flow.
#[derive(Debug, Default)]
pub(super) struct Path {
    reporters: Vec<Reporter>,
    /// They told it after the last probe had its time: what they did not see did not arrive.
    complete: bool,
    /// Nobody may remember what came of those before this sequence.
    forgotten: u64,
}

/// How an answer stands to those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Its probe arrived after a later one.
    pub(super) overtaken_there: bool,
    /// It came after the answer to a probe that arrived later.
    pub(super) overtaken_back: bool,
}

impl Path {
    /// Takes what an answer tells.
    pub(super) fn hear(&mut self, node: &str, sequence: u64, seen: Seen) -> Order {
        let known = self.reporters.iter_mut().find(|known| known.node == node && same_life(&known.seen, &seen));
        let overtaken_there = seen.highest > sequence;
        match known {
            Some(known) if known.seen.count >= seen.count => {
                Order { overtaken_there, overtaken_back: known.seen.count > seen.count }
            }
            Some(known) => {
                known.seen = seen;
                Order { overtaken_there, overtaken_back: false }
            }
            None => {
                if self.reporters.len() < MAX_REPORTERS {
                    self.reporters.push(Reporter { node: node.to_owned(), seen });
                }
                Order { overtaken_there, overtaken_back: false }
            }
        }
    }

    /// Takes what a flow's only node told when it was asked at the end.
    pub(super) fn learn(&mut self, node: &str, seen: Seen) {
        // Its memory may begin there because it forgot the flow, or began anew, after the first probe.
        self.forgotten = self.forgotten.max(seen.lowest);
        let heard = self.reporters.iter().filter(|known| known.node == node);
        let heard = heard.map(|known| known.seen.count).fold(0, u64::saturating_add);
        // What it told in its answers is a part of this, unless it forgot some of it since.
        if seen.count >= heard {
            self.complete = true;
            self.reporters.retain(|known| known.node != node);
            self.reporters.push(Reporter { node: node.to_owned(), seen });
        }
    }

    /// The highest sequence up to which it is known what arrived; `None`: of none.
    pub(super) fn horizon(&self) -> Option<u64> {
        if self.complete { Some(u64::MAX) } else { self.reporters.iter().map(|known| known.seen.highest).max() }
    }

    /// The sequence before which nobody may remember what came.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Requests that arrived more than once.
    pub(super) fn duplicates(&self) -> u64 {
        self.sum(|seen| seen.duplicates)
    }

    /// What became of the unanswered probes; `known` are those of `all` that the horizon covers. It covers `apart` more,
    /// which are not of `all`, and may have arrived or not: what could be either is not known. Of those before
    /// [`Self::forgotten`] so many are unanswered.
    pub(super) fn loss(&self, all: Sent, known: u64, apart: u64, forgotten: u64) -> Loss {
        let unanswered = all.all.saturating_sub(all.answered);
        let arrived = self.sum(|seen| seen.count.saturating_sub(seen.duplicates)).min(known.saturating_add(apart));
        let missing = known.saturating_sub(arrived.max(all.answered)).saturating_sub(forgotten);
        let unread = self.sum(|seen| seen.overflowed.into()).min(missing);
        let lost_answers = arrived.saturating_sub(apart).saturating_sub(all.answered);
        let by_node = self.sum(|seen| seen.dropped).min(lost_answers);
        let by_us = all.overflow.min(lost_answers - by_node);
        let back = lost_answers - by_node - by_us;
        // Without stamps nobody tells; but our own drops we know.
        let rest = unanswered.saturating_sub(missing + lost_answers);
        let ours_of_rest = (all.overflow - by_us).min(rest);
        Loss {
            there: missing - unread,
            back,
            unknown: rest - ours_of_rest,
            by_node: by_node + unread,
            by_us: by_us + ours_of_rest,
        }
    }

    /// Over all nodes; what they say may be anything.
    fn sum(&self, what: impl Fn(&Seen) -> u64) -> u64 {
        self.reporters.iter().map(|known| what(&known.seen)).fold(0, u64::saturating_add)
    }
}

/// Whether both were told in one life of the node's memory of the flow: one that forgot it counts anew, from a later
/// probe on.
fn same_life(one: &Seen, other: &Seen) -> bool {
    one.lowest <= other.highest && other.lowest <= one.highest
}

#[cfg(test)]
mod tests;
