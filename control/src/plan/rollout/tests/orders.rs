//! What operators order: once, and for the rollout that they mean.

use v1::RolloutOrderKind::{Abort, Pause, Resume};

use super::*;

fn on_its_way() -> World {
    let mut world = World::staged(10);
    world.begin(2);
    world
}

#[test]
fn a_pause_gives_and_takes_nothing_and_a_resume_begins_the_timers_anew() {
    let mut world = on_its_way();
    world.order(Pause);
    assert_eq!(world.writes(), Phase::Paused);
    assert_eq!((world.rollout().reason.as_str(), world.rollout().order), ("paused by ann", 1));
    world.pass(ACK_DEADLINE * 2);
    assert_eq!(world.waits(), None, "not even who is silent counts");
    world.ack(1, 2);
    world.pass(MIN_HEALTHY * 2);
    assert_eq!(world.waits(), None);
    world.order(Resume);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.waits(), Some(MIN_HEALTHY));
    assert_eq!(world.reasons[2..], ["RolloutPaused", "RolloutResumed"]);
}

#[test]
fn a_rejection_during_a_pause_is_told_and_acted_on_after_it() {
    let mut world = on_its_way();
    world.order(Pause);
    world.writes();
    world.nack(1, 2);
    assert_eq!(world.writes(), Phase::Paused);
    assert_eq!(world.rollout().problems.len(), 1);
    assert_eq!(world.waits(), None, "it is told once");
    world.order(Resume);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.writes(), Phase::Reverting);
}

#[test]
fn an_abort_takes_it_back_for_good() {
    let mut world = on_its_way();
    world.ack(1, 2);
    world.order(Abort);
    assert_eq!(world.writes(), Phase::Reverting);
    world.ack(1, 1);
    assert_eq!(world.writes(), Phase::Reverted);
    assert_eq!(world.rollout().reason, "aborted by ann");
    assert_eq!(world.waits(), None);
    let mut paused = on_its_way();
    paused.order(Pause);
    paused.writes();
    paused.order(Abort);
    assert_eq!(paused.writes(), Phase::Reverting);
}

#[test]
fn an_order_is_for_the_rollout_that_it_names() {
    let mut world = on_its_way();
    world.order(Abort);
    world.writes();
    world.writes();
    world.order(Resume);
    assert_eq!(world.writes(), Phase::Reverted, "too late: passed over");
    assert_eq!((world.rollout().order, world.waits()), (2, None));
    world.order(Pause);
    world.apply(3);
    world.writes();
    world.writes();
    world.writes();
    assert_eq!((world.rollout().phase(), world.next()), (Phase::Progressing, Some(3)), "it was for the one before");
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
}

#[test]
fn an_apply_during_a_pause_supersedes() {
    let mut world = on_its_way();
    world.order(Pause);
    world.writes();
    world.apply(3);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.writes(), Phase::Superseded);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.next(), Some(3));
}
