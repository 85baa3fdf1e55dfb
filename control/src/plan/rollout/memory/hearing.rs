//! Whether the nodes that were given `next` answer when they are asked: a record tells nothing of that before its time to
//! live is over.
//!
//! Kept by [`super::Memory`] only. Of a large pool some nodes are asked for all: they are compared with each other.

use std::time::Duration;

use echo_proto::ids::NodeId;

use super::super::facts::Since;
use super::life::Life;
use crate::fleet::natural_order;

/// One answer is late where a machine is busy; after so many in a row that are missing a node hangs.
const HANGS_AFTER: u32 = 2;

/// What came of the questions to a node's Agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hearing {
    /// How many in a row this process has not answered.
    pub missed: u32,
    /// How long ago the last one was asked that it did answer; `None`: that is too long ago, or there was none.
    pub ago: Option<Duration>,
}

/// Of a node that was given `next`, is there, is asked, and has answered before.
fn hearing(life: &Life) -> Option<Hearing> {
    let is_there = life.asked && life.gone.is_none() && life.lost.is_none();
    life.hearing.filter(|_| life.given && is_there && life.heard)
}

/// Tells who hangs, and of whom it is not known what they do.
pub(super) fn tell<'a>(lives: impl Iterator<Item = (&'a NodeId, &'a Life)>, since: &mut Since) {
    for (id, life) in lives {
        if let Some(hearing) = hearing(life) {
            since.heard += 1;
            since.hanging.extend((hearing.missed >= HANGS_AFTER).then(|| id.to_string()));
        }
        let is_asked = life.asked && life.gone.is_none() && life.hearing.is_some();
        since.uncounted += usize::from(is_asked && !life.given && life.counted.is_none());
    }
    since.hanging.sort_unstable_by(|a, b| natural_order(a, b));
}

/// How many have not answered a question of the last so long.
pub(super) fn unheard<'a>(lives: impl Iterator<Item = &'a Life>, healthy: Duration) -> usize {
    lives.filter_map(hearing).filter(|hearing| hearing.ago.is_none_or(|ago| ago > healthy)).count()
}
