//! Nobody is waited for without an end.

use super::*;

#[test]
fn silence_counts_as_failure() {
    let mut world = World::new(2);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.pass(ACK_DEADLINE);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.rollout().reason, "node-2: no answer within 30s");
    world.pass(ACK_DEADLINE);
    assert_eq!(world.writes(), Phase::RevertIncomplete, "node-1 does not return");
    assert_eq!(world.rollout().problems.first().unwrap().node, "node-1");
    assert_eq!(world.waits(), None);
}

#[test]
fn a_joiner_has_its_own_time() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.pass(Duration::from_secs(20));
    world.node(1).applied = None;
    world.join(2);
    world.pass(Duration::from_secs(5));
    world.ack(1, 2);
    assert_eq!(world.waits(), Some(Duration::from_secs(25)));
}

#[test]
fn who_joins_after_the_deadline_is_not_waited_for() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    world.node(1).set_phase(Draining);
    world.pass(ACK_DEADLINE);
    world.node(1).set_phase(Ready);
    world.join(2);
    world.ack(1, 2);
    assert_eq!(world.writes(), Phase::Completed, "it finds its place by itself");
}

#[test]
fn a_node_that_keeps_restarting_runs_out_of_time() {
    let mut world = World::new(2);
    let ack_deadline = Some(prost_types::Duration { seconds: 15, nanos: 0 });
    world.govern(v1::RolloutPolicy { ack_deadline, ..Default::default() });
    world.apply(2);
    world.writes();
    world.elect();
    world.ack(1, 2);
    world.decide();
    world.restart(2);
    world.pass(Duration::from_secs(15));
    assert_eq!(world.writes(), Phase::Reverting, "before losses can be judged");
    assert_eq!(world.rollout().reason, "node-2: no answer within 15s; it restarted meanwhile");
    world.decide();
    world.ack(1, 1);
    world.restart(2);
    world.node(2).applied = None;
    world.pass(Duration::from_secs(15));
    assert_eq!(world.writes(), Phase::RevertIncomplete, "nor does the way back wait for ever");
}

#[test]
fn a_step_needs_a_node_that_acknowledged() {
    let mut world = World::new(1);
    world.nodes.clear();
    world.apply(2);
    world.writes();
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
    world.pass(ACK_DEADLINE);
    assert_eq!(world.writes(), Phase::Reverting, "nor is it waited for a node without an end");
    assert_eq!(world.writes(), Phase::Reverted);
    assert_eq!(world.rollout().reason, "no live node for 30s; apply again once there is one");
}

#[test]
fn a_pool_of_none_has_nobody_to_ask() {
    for mut world in [World::new(1), World::staged(1)] {
        world.nodes.clear();
        world.apply(2);
        world.writes();
        world.waits();
        world.replicas = 0;
        assert_eq!(world.writes(), Phase::Completed);
        assert_eq!(world.rollout().reason, "0 of 0 nodes run revision 2");
    }
}

#[test]
fn a_pool_that_is_scaled_to_none_before_anybody_answered_does_not_keep_what_it_tried() {
    for mut world in [World::new(3), World::staged(3)] {
        world.apply(2);
        while world.given().is_empty() {
            world.writes();
        }
        world.replicas = 0;
        for i in 1..=3 {
            world.terminate(i);
        }
        assert_eq!(world.waits(), Some(ACK_DEADLINE));
        world.pass(ACK_DEADLINE);
        assert_eq!(world.writes(), Phase::Reverting);
        assert_eq!((world.writes(), world.stable()), (Phase::Reverted, 1));
    }
}

#[test]
fn who_comes_up_with_it_after_the_end_has_to_return_too() {
    let mut world = World::new(2);
    world.apply(2);
    world.writes();
    world.nack(2, 2);
    world.writes();
    assert_eq!(world.writes(), Phase::Reverted, "node-1 is still applying, and looks as if it had never begun");
    world.ack(1, 2);
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
    world.pass(ACK_DEADLINE);
    assert_eq!(world.writes(), Phase::RevertIncomplete);
    assert_eq!(world.rollout().problems.first().unwrap().node, "node-1");
    assert_eq!(world.waits(), None);
}

#[test]
fn a_superseded_rollout_waits_for_stragglers_no_longer_than_the_deadline() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.apply(3);
    world.writes();
    world.pass(ACK_DEADLINE);
    assert_eq!(world.writes(), Phase::Superseded);
    assert_eq!(world.writes(), Phase::Progressing);
}
