//! Who is asked first, who proves nothing, and who is blamed for nothing.

use super::*;

#[test]
fn a_record_that_may_be_a_dead_ones_proves_nothing_and_is_late_for_nothing() {
    let mut world = World::staged(10);
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    world.doubtful.insert(id(1));
    world.pass(MIN_HEALTHY.max(ACK_DEADLINE));
    assert_eq!(world.waits(), None, "until it is known whether the canary lives");
    world.doubtful.clear();
    assert_eq!(world.waits(), Some(MIN_HEALTHY), "it is to be healthy from now on");
    world.pass(MIN_HEALTHY);
    world.writes();
    assert_eq!((world.rollout().phase(), world.rollout().step), (Phase::Progressing, 1));
}

#[test]
fn nobody_doubtful_is_a_canary() {
    let mut world = World::staged(3);
    world.doubtful.insert(id(1));
    world.begin(2);
    assert_eq!(world.rollout().canaries, ["node-2"]);
}

#[test]
fn canaries_are_those_that_serve_clients_where_there_are_some() {
    let mut world = World::staged(4);
    world.node(1).cordoned_by = "ann".into();
    world.node(2).set_phase(v1::NodePhase::Rejected);
    world.govern(v1::RolloutPolicy { canary: Some(3), ..Default::default() });
    world.begin(2);
    assert_eq!(world.rollout().canaries, ["node-3", "node-4", "node-1"]);
}

#[test]
fn after_a_mass_loss_a_rollout_begins_with_nobody() {
    let mut world = World::new(2);
    world.mass_loss = Some(MassLoss { ago: Duration::ZERO, message: "3 of 9 vanished".to_owned() });
    world.apply(2);
    world.writes();
    assert_eq!(world.given(), Vec::<u32>::new());
    assert_eq!(world.writes(), Phase::Paused);
    assert_eq!(world.given(), Vec::<u32>::new());
}

#[test]
fn the_way_back_waits_for_nobody_who_never_had_it() {
    let mut world = World::new(4);
    world.node(3).set_phase(v1::NodePhase::Rejected);
    world.node(3).applied = None;
    world.node(4).applied = Some(revision(9));
    world.apply(2);
    world.writes();
    world.nack(2, 2);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.writes(), Phase::Reverted, "one's port was taken before, another runs what it was pinned to");
    assert_eq!(world.rollout().problems[0].node, "node-2");
}

#[test]
fn who_does_not_go_back_is_told_before_who_refused() {
    let mut world = World::new(2);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.nack(2, 2);
    world.writes();
    world.pass(ACK_DEADLINE);
    assert_eq!(world.writes(), Phase::RevertIncomplete);
    let told: Vec<&str> = world.rollout().problems.iter().map(|problem| problem.node.as_str()).collect();
    assert_eq!(told, ["node-1", "node-2"]);
}

#[test]
fn a_canary_that_stops_to_answer_is_not_healthy_and_that_is_told() {
    let mut world = World::staged(10);
    world.begin(2);
    world.ack(1, 2);
    world.pass(MIN_HEALTHY / 2);
    world.silent.insert(id(1));
    world.pass(MIN_HEALTHY);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.rollout().health, "not healthy: the Agent of node-1 does not answer");
    world.pass(MIN_HEALTHY);
    assert_eq!(world.waits(), Some(ACK_DEADLINE - MIN_HEALTHY * 2), "its record goes when it is dead");
    world.silent.clear();
    world.writes();
    assert_eq!(world.rollout().health, "", "it answers again");
    assert_eq!(world.waits(), Some(MIN_HEALTHY));
    world.pass(MIN_HEALTHY);
    world.writes();
    assert_eq!((world.rollout().step, world.rollout().health.as_str()), (1, "not judged: 0 messages of 1000"));
}

#[test]
fn one_answer_that_is_late_begins_nothing_anew() {
    let mut world = World::staged(10);
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    world.pass(MIN_HEALTHY / 2);
    world.late.insert(id(1));
    assert_eq!(world.waits(), Some(MIN_HEALTHY / 2), "the machine may be busy");
    world.pass(MIN_HEALTHY / 2);
    world.writes();
    assert_eq!(world.rollout().step, 1, "it has answered since it is healthy");
}

#[test]
fn a_step_waits_for_an_answer_of_each_since_it_is_healthy() {
    let mut world = World::staged(10);
    world.begin(2);
    world.decide();
    world.late.insert(id(1));
    world.pass(Duration::from_secs(1));
    world.ack(1, 2);
    assert_eq!(world.waits(), Some(MIN_HEALTHY));
    world.pass(MIN_HEALTHY);
    assert_eq!(world.waits(), None, "it may hang: the next answer tells, or that it is missing");
    world.late.clear();
    world.writes();
    assert_eq!(world.rollout().step, 1);
}

#[test]
fn a_canary_that_an_earlier_leader_heard_and_this_one_does_not_hangs() {
    let mut world = World::staged(10);
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    world.silent.insert(id(1));
    world.counted.remove(&id(1));
    world.elect();
    world.pass(MIN_HEALTHY * 2);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.rollout().health, "not healthy: the Agent of node-1 does not answer");
}

#[test]
fn of_a_large_pool_those_that_are_asked_are_compared_with_each_other() {
    let mut world = World::staged(10_000);
    world.sizes.unacknowledged = 10_000;
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    let asked: Vec<_> = world.watched().unwrap().into_iter().filter(|node| *node != id(1)).collect();
    world.pass(MIN_HEALTHY);
    world.writes();
    world.ack_given(2);
    world.decide();
    world.silent.extend(asked.iter().take(2).cloned());
    assert_eq!(world.waits(), Some(MIN_HEALTHY), "so few hang at any time");
    world.silent.extend(asked.iter().take(3).cloned());
    world.writes();
    assert!(world.rollout().health.starts_with("not healthy: the Agent of "), "{:?}", world.rollout());
}

#[test]
fn an_agent_that_is_silent_while_its_node_lives_pauses_until_somebody_has_looked() {
    let mut world = World::staged(10);
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    world.silent.insert(id(1));
    world.writes();
    world.pass(ACK_DEADLINE);
    assert_eq!(world.writes(), Phase::Paused);
    assert_eq!(world.rollout().reason, "the Agent of node-1 does not answer for 30s");
    world.order(v1::RolloutOrderKind::Resume);
    world.counted.clear();
    world.writes();
    world.writes();
    assert_eq!(world.rollout().health, "");
    world.pass(MIN_HEALTHY);
    world.writes();
    assert_eq!((world.rollout().phase(), world.rollout().step), (Phase::Progressing, 1), "who resumes knows of it");
}

#[test]
fn agents_that_never_answered_hold_nothing_up() {
    let mut world = World::staged(10);
    world.counted.clear();
    world.silent.extend((1..=10).map(id));
    world.apply(2);
    world.writes();
    world.pass(Duration::from_secs(1));
    world.writes();
    world.ack(1, 2);
    assert_eq!(world.waits(), Some(MIN_HEALTHY), "they can't be reached from here");
}
