//! Who is gone, when that counts, and against what.

use super::*;

const TTL: Duration = Duration::from_secs(10);

/// A rollout whose canary has it.
fn tried() -> World {
    let mut world = World::staged(10);
    world.govern(v1::RolloutPolicy {
        min_healthy: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    });
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    world
}

#[test]
fn a_canary_that_is_gone_for_a_ttl_takes_the_revision_back() {
    let mut world = tried();
    world.vanish(1);
    assert_eq!(world.waits(), Some(TTL));
    world.pass(TTL);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.rollout().reason, "1 of 1 nodes were lost on revision 2, 0 of 10 on revision 1");
    assert_eq!(world.rollout().problems[0].node, "node-1");
}

#[test]
fn who_comes_back_in_time_is_not_lost() {
    let mut world = tried();
    let status = world.vanish(1);
    world.pass(TTL - Duration::from_millis(1));
    world.nodes.insert(id(1), status);
    world.pass(TTL);
    assert_eq!(world.waits(), Some(Duration::from_secs(50)), "healthy anew since it came back");
}

#[test]
fn another_process_in_its_place_is_a_loss() {
    let mut world = tried();
    world.restart(1);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.rollout().reason, "1 of 1 nodes were lost on revision 2, 0 of 10 on revision 1");
}

#[test]
fn who_left_is_not_lost_and_is_replaced() {
    let mut world = tried();
    world.leave(1);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.rollout().canaries, ["node-1", "node-2"]);
    let mut world = tried();
    let left = world.terminate(1);
    world.start_again(1, &left);
    assert!(matches!(world.decide(), Decision::Wait(_)), "a restart that was announced is none either");
    let mut world = tried();
    let left = world.leave(1);
    world.start_again(1, &left);
    assert!(matches!(world.decide(), Decision::Wait(_)), "also where nobody saw it drain");
    world.vanish(1);
    world.pass(TTL);
    assert_eq!(world.writes(), Phase::Reverting, "it is the one before that had left");
}

#[test]
fn a_step_is_not_done_while_others_just_vanished() {
    let mut world = tried();
    world.pass(Duration::from_secs(59));
    (2..=10).for_each(|i| drop(world.vanish(i)));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.waits(), Some(TTL), "the only node that is there has it, but there may be a mass loss");
    world.pass(TTL);
    assert_eq!(world.writes(), Phase::Completed, "they are gone for good");
}

#[test]
fn losses_that_are_no_worse_than_without_it_do_not_count_and_the_canary_is_replaced() {
    let mut world = World::staged(12);
    world.govern(v1::RolloutPolicy { canary: Some(3), ..Default::default() });
    world.begin(2);
    assert_eq!(world.ack_given(2), [1, 2, 3]);
    world.decide();
    [1, 4, 5, 6, 7].into_iter().for_each(|i| drop(world.vanish(i)));
    world.pass(TTL);
    assert_eq!(world.writes(), Phase::Progressing, "one of three, and four of twelve");
    assert_eq!(world.rollout().canaries, ["node-1", "node-2", "node-3", "node-8"]);
    world.writes();
    world.decide();
    world.vanish(2);
    world.pass(TTL);
    assert_eq!(world.writes(), Phase::Reverting, "two of four");
}

#[test]
fn losses_are_not_judged_before_the_leader_has_watched_for_two_ttls() {
    let mut world = tried();
    world.elect();
    world.decide();
    world.pass(Duration::from_secs(1));
    world.restart(1);
    assert_eq!(world.waits(), Some(TTL * 2 - Duration::from_secs(1)));
    world.pass(TTL * 2 - Duration::from_secs(1));
    assert_eq!(world.writes(), Phase::Reverting);
}

#[test]
fn a_canary_that_a_leader_never_saw_is_replaced_after_a_ttl() {
    let mut world = tried();
    world.vanish(1);
    world.elect();
    assert_eq!(world.waits(), Some(TTL * 2));
    world.pass(TTL * 2);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.rollout().canaries, ["node-1", "node-2"]);
}

#[test]
fn a_canary_that_a_leader_never_saw_and_that_comes_back_as_it_was_is_not_lost() {
    let mut world = tried();
    let status = world.vanish(1);
    world.elect();
    assert_eq!(world.waits(), Some(TTL * 2));
    world.pass(TTL + Duration::from_secs(1));
    assert_eq!(world.waits(), Some(TTL - Duration::from_secs(1)), "gone for a TTL, of which it is too early to tell");
    world.nodes.insert(id(1), status);
    assert_eq!(world.waits(), Some(Duration::from_secs(60)), "healthy since it came back");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.given(), [1, 2, 3], "the next step");
}

#[test]
fn a_node_of_a_longer_ttl_is_waited_for_as_long() {
    let mut world = tried();
    for i in 1..=10 {
        world.node(i).lease_ttl = Some(prost_types::Duration { seconds: 30, nanos: 0 });
    }
    world.decide();
    world.vanish(1);
    assert_eq!(world.waits(), Some(TTL * 3));
}

#[test]
fn a_mass_loss_pauses_until_somebody_resumes() {
    let mut world = tried();
    world.pass(TTL);
    let lost = |ago| MassLoss { ago, message: "3 of 9 nodes of pool core vanished within 10s".into() };
    world.mass_loss = Some(lost(Duration::ZERO));
    assert_eq!(world.writes(), Phase::Paused);
    assert_eq!(world.rollout().reason, "MassLoss: 3 of 9 nodes of pool core vanished within 10s");
    assert_eq!(world.rollout().conditions[0].r#type, "MassLoss");
    world.vanish(1);
    world.pass(TTL);
    assert_eq!(world.waits(), None, "nobody is lost during a pause");
    world.order(v1::RolloutOrderKind::Resume);
    world.mass_loss = Some(lost(TTL));
    assert_eq!(world.writes(), Phase::Progressing);
    assert!(world.rollout().conditions.is_empty());
    assert_eq!(world.waits(), Some(TTL), "it is known of");
    world.mass_loss = Some(lost(TTL * 2));
    world.pass(TTL);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.rollout().canaries, ["node-1", "node-2"], "who resumes knows of the losses until then");
}

#[test]
fn who_goes_and_comes_again_and_again_is_lost() {
    let mut world = tried();
    let status = world.node(1).clone();
    for _ in 0..2 {
        world.vanish(1);
        world.pass(TTL / 2);
        assert!(matches!(world.decide(), Decision::Wait(_)));
        world.nodes.insert(id(1), status.clone());
        world.pass(TTL);
        assert!(matches!(world.decide(), Decision::Wait(_)));
    }
    world.vanish(1);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.rollout().problems[0].cause, "lost: its record went away again and again");
}

#[test]
fn one_that_is_away_holds_no_large_pool_up() {
    let mut world = World::staged(200);
    world.govern(v1::RolloutPolicy { waves: vec!["60%".into(), "100%".into()], ..Default::default() });
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    world.pass(MIN_HEALTHY);
    world.writes();
    assert_eq!(world.ack_given(2).len(), 120);
    world.decide();
    world.pass(MIN_HEALTHY / 2);
    world.vanish(7);
    world.pass(MIN_HEALTHY / 2);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.given().len(), 199, "the last wave");
}

#[test]
fn a_rollout_that_begins_just_after_a_mass_loss_pauses() {
    let mut world = tried();
    let lost = |ago| Some(MassLoss { ago, message: "3 of 9 nodes of pool core vanished within 10s".into() });
    world.mass_loss = lost(TTL + Duration::from_secs(1));
    assert!(matches!(world.decide(), Decision::Wait(_)), "before it began");
    world.mass_loss = lost(TTL);
    assert_eq!(world.writes(), Phase::Paused);
    world.order(v1::RolloutOrderKind::Resume);
    assert_eq!(world.writes(), Phase::Progressing);
    world.pass(Duration::from_secs(1));
    assert!(matches!(world.decide(), Decision::Wait(_)), "who resumes knows of it");
}
