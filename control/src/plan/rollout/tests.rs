//! The rollout, step by step: what is written, and what is waited for.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use v1::NodePhase::{Drained, Draining, Ready};

use self::world::{ACK_DEADLINE, MIN_HEALTHY, World, id, revision};
use super::*;

mod away;
mod deadlines;
mod doubt;
mod health;
mod losses;
mod lost;
mod model;
mod orders;
mod outcomes;
mod pins;
mod waves;
mod world;

#[test]
fn the_first_revision_is_stable_at_once() {
    let mut world = World::new(0);
    assert_eq!((world.stable(), world.next()), (1, None));
    assert_eq!((world.rollout().id, world.rollout().phase()), (1, Phase::Completed));
    assert_eq!(world.rollout().reason, "first revision of the pool");
    assert_eq!(world.reasons, ["RolloutCompleted"]);
    assert_eq!(world.waits(), None, "and then nothing is left to do");
}

#[test]
fn all_nodes_acknowledge() {
    let mut world = World::new(2);
    world.apply(2);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!((world.stable(), world.next()), (1, Some(2)));
    assert_eq!(world.assignment.as_ref().unwrap().cut, u64::MAX);
    assert_eq!(world.assignment.as_ref().unwrap().rollout, world.rollout().id);
    world.ack(1, 2);
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
    world.ack(2, 2);
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!((world.stable(), world.next()), (2, None));
    assert_eq!(world.rollout().reason, "2 of 2 nodes run revision 2");
    assert_eq!(world.reasons, ["RolloutCompleted", "RolloutStarted", "RolloutCompleted"]);
    assert_eq!(world.waits(), None);
}

#[test]
fn one_rejection_takes_it_back_and_it_is_not_tried_again() {
    let mut world = World::new(2);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.nack(2, 2);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!((world.stable(), world.next()), (1, None));
    let problem = world.rollout().problems.first().unwrap().clone();
    assert_eq!((problem.node.as_str(), problem.listener.as_str()), ("node-2", "echo-tcp"));
    assert_eq!(world.waits(), Some(ACK_DEADLINE), "node-1 still runs revision 2");
    world.ack(1, 1);
    assert_eq!(world.writes(), Phase::Reverted);
    assert_eq!(world.rollout().reason, "node-2: listener echo-tcp: bind 127.0.0.1:7: address in use");
    assert_eq!(world.waits(), None, "revision 2 is not assigned again by itself");
    world.apply(3);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.next(), Some(3));
    assert_eq!(world.waits(), Some(ACK_DEADLINE), "the old rejection is not of this rollout");
}

#[test]
fn who_leaves_or_is_drained_does_not_block() {
    let mut world = World::new(3);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.node(2).set_phase(Draining);
    world.node(3).set_phase(Drained);
    assert_eq!(world.writes(), Phase::Completed);
}

#[test]
fn a_newer_revision_clears_next_first_and_skips_those_between() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.apply(5);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!((world.rollout().reason.as_str(), world.next()), ("superseded by revision 5", None));
    assert_eq!(world.waits(), Some(ACK_DEADLINE), "the node must return first");
    world.ack(1, 1);
    assert_eq!(world.writes(), Phase::Superseded);
    world.reasons.clear();
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!((world.next(), world.rollout().id), (Some(5), 3));
    assert_eq!(world.reasons, ["RolloutStarted", "RevisionSkipped"]);
}

#[test]
fn phases_of_a_newer_control_are_left_alone() {
    let mut world = World::new(1);
    world.rollout.as_mut().unwrap().phase = 99;
    world.apply(2);
    assert_eq!(world.waits(), None);
}
