//! What became of a flow's probes on their way, as far as the nodes tell: which never arrived, and whose answers got
//! lost.
//!
//! Used by [`super::book`]. Pure. What a node says it dropped itself is never loss.

mod life;

use echo_proto::stamp::Seen;

use life::{Life, gaps};

/// Most nodes, or lives of nodes, that one flow is followed through; later ones are not known.
const MAX_LIVES: usize = 64;

/// Probes of a flow by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Never arrived at a node.
    pub there: u64,
    /// Arrived, and their answers did not.
    pub back: u64,
    /// Unanswered, and nobody tells whether they arrived.
    pub unknown: u64,
    /// Dropped by the node itself after they arrived: no loss of the network's.
    pub by_node: u64,
    /// Did not arrive while the node's receive queue overflowed: dropped by it, or lost on the way there.
    pub by_queue: u64,
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

/// What all nodes told of one flow.
#[derive(Debug, Default)]
pub(super) struct Path {
    lives: Vec<Life>,
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
    /// Takes what an answer tells; `next` is the sequence of the probe that is sent next.
    pub(super) fn hear(&mut self, node: &str, sequence: u64, seen: Seen, next: u64) -> Order {
        let overtaken_there = seen.highest > sequence;
        match self.lives.iter_mut().find(|known| known.is(node, &seen)) {
            Some(known) if known.seen.count >= seen.count => {
                Order { overtaken_there, overtaken_back: known.seen.count > seen.count }
            }
            Some(known) => {
                known.step(seen, gaps(&seen).saturating_sub(gaps(&known.seen)), next);
                Order { overtaken_there, overtaken_back: false }
            }
            None => {
                if self.lives.len() < MAX_LIVES {
                    self.lives.push(Life::new(node, seen, gaps(&seen), next));
                }
                Order { overtaken_there, overtaken_back: false }
            }
        }
    }

    /// Takes what a flow's only node told when it was asked at the end. `whole`: it remembers all since before the first
    /// probe.
    pub(super) fn learn(&mut self, node: &str, seen: Seen, whole: bool) {
        if !whole {
            // Its memory may begin there because it forgot the flow, or began anew, after the first probe.
            self.forgotten = self.forgotten.max(seen.lowest);
        }
        let heard = self.lives.iter().filter(|known| known.node == node);
        let heard = heard.map(|known| known.seen.count).fold(0, u64::saturating_add);
        // What it told in its answers is a part of this, unless it forgot some of it since.
        if seen.count < heard {
            return;
        }
        self.complete = true;
        // What is missing at the end shows in no gap.
        let any = u64::MAX;
        let known =
            self.lives.iter().position(|known| known.is(node, &seen)).map(|place| self.lives.swap_remove(place));
        let life = match known {
            Some(mut known) => {
                known.step(seen, any, any);
                known
            }
            None => Life::new(node, seen, any, any),
        };
        self.lives.retain(|known| known.node != node);
        self.lives.push(life);
    }

    /// The highest sequence up to which it is known what arrived; `None`: of none.
    pub(super) fn horizon(&self) -> Option<u64> {
        if self.complete { Some(u64::MAX) } else { self.lives.iter().map(|known| known.seen.highest).max() }
    }

    /// The sequence before which nobody may remember what came.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Requests that arrived more than once.
    pub(super) fn duplicates(&self) -> u64 {
        self.sum(|life| life.seen.duplicates)
    }

    /// What became of the unanswered probes; `known` are those of `all` that the horizon covers. It covers `apart` more,
    /// which are not of `all`, and may have arrived or not: what could be either is not known. Of those before
    /// [`Self::forgotten`] so many are unanswered.
    pub(super) fn loss(&self, all: Sent, known: u64, apart: u64, forgotten: u64) -> Loss {
        let unanswered = all.all.saturating_sub(all.answered);
        let arrived = self.sum(|life| life.seen.count.saturating_sub(life.seen.duplicates));
        let arrived = arrived.min(known.saturating_add(apart));
        let untold = forgotten.saturating_add(self.untold());
        let missing = known.saturating_sub(arrived.max(all.answered)).saturating_sub(untold);
        let by_queue = self.sum(|life| life.unread).min(missing);
        let lost_answers = arrived.saturating_sub(apart).saturating_sub(all.answered);
        let by_node = self.sum(|life| life.seen.dropped).min(lost_answers);
        let by_us = all.overflow.min(lost_answers - by_node);
        let back = lost_answers - by_node - by_us;
        // Without stamps nobody tells; but our own drops we know.
        let rest = unanswered.saturating_sub(missing + lost_answers);
        let ours_of_rest = (all.overflow - by_us).min(rest);
        Loss {
            there: missing - by_queue,
            back,
            unknown: rest - ours_of_rest,
            by_node,
            by_queue,
            by_us: by_us + ours_of_rest,
        }
    }

    /// Sequences between two lives: who would have counted them has not told, or forgot it.
    fn untold(&self) -> u64 {
        let mut lives: Vec<(u64, u64)> = self.lives.iter().map(|life| (life.seen.lowest, life.seen.highest)).collect();
        lives.sort_unstable();
        let (mut untold, mut end) = (0_u64, None::<u64>);
        for (lowest, highest) in lives {
            let before = end.map_or(0, |end| lowest.saturating_sub(end.saturating_add(1)));
            untold = untold.saturating_add(before);
            end = end.max(Some(highest));
        }
        untold
    }

    /// Over all lives; what they say may be anything.
    fn sum(&self, what: impl Fn(&Life) -> u64) -> u64 {
        self.lives.iter().map(what).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests;
