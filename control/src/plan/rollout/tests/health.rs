//! What nodes do with their traffic decides as well.

use super::*;

fn counted(world: &mut World, i: u32, messages: u64, failures: u64) {
    world.counted.insert(id(i), Counted { messages, failures });
}

/// A rollout whose canary took 5,000 messages before, of which 50 failed, and has it.
fn tried() -> World {
    let mut world = World::staged(10);
    counted(&mut world, 1, 5_000, 50);
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    world
}

#[test]
fn what_the_canaries_did_before_is_kept() {
    let world = tried();
    let before = world.rollout().before[0].clone();
    assert_eq!((before.node.as_str(), before.incarnation.as_str()), ("node-1", "life-1"));
    assert_eq!((before.messages, before.failures), (5_000, 50));
}

#[test]
fn a_canary_of_which_nothing_is_heard_is_not_waited_for_long() {
    let mut world = World::staged(10);
    world.counted.clear();
    world.apply(2);
    world.writes();
    assert_eq!((world.given(), world.waits()), (vec![], Some(Duration::from_secs(1))));
    world.pass(Duration::from_secs(1));
    world.writes();
    assert_eq!((world.given(), world.rollout().before.len()), (vec![1], 0));
}

#[test]
fn more_failures_than_before_take_it_back() {
    let mut world = tried();
    counted(&mut world, 1, 6_000, 70);
    assert!(matches!(world.decide(), Decision::Wait(_)), "2 % after 1 %");
    counted(&mut world, 1, 6_000, 71);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(
        world.rollout().reason,
        "21 of 1000 messages failed, 50 of 5000 before: more than maxFailures, 1%, above"
    );
}

#[test]
fn a_handful_of_messages_is_not_judged_and_that_is_told() {
    let mut world = tried();
    counted(&mut world, 1, 5_999, 1_049);
    world.pass(MIN_HEALTHY);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!((world.rollout().step, world.rollout().health.as_str()), (1, "not judged: 999 messages of 1000"));
}

#[test]
fn all_that_have_it_are_judged_since_they_have_it() {
    let mut world = tried();
    counted(&mut world, 1, 7_000, 50);
    counted(&mut world, 2, 15_000, 150);
    world.pass(MIN_HEALTHY);
    world.writes();
    assert_eq!(world.rollout().health, "0 of 2000 messages failed, 50 of 5000 before");
    // It fails before it is heard again: what it did before is known.
    counted(&mut world, 2, 16_000, 150);
    world.ack_given(2);
    world.decide();
    counted(&mut world, 2, 17_000, 231);
    assert_eq!(world.writes(), Phase::Reverting, "81 of 4000, where it had been 200 of 20000");
}

#[test]
fn what_a_pinned_or_drained_node_does_is_not_the_revisions_doing() {
    for excuse in [pinned, |world: &mut World| world.node(2).set_phase(Drained)] {
        let mut world = tried();
        counted(&mut world, 2, 5_000, 50);
        world.pass(MIN_HEALTHY);
        world.writes();
        world.ack_given(2);
        excuse(&mut world);
        while let Decision::Write(next) = world.decide() {
            world.store(*next);
        }
        counted(&mut world, 2, 15_000, 5_000);
        assert!(matches!(world.decide(), Decision::Wait(_)));
    }
}

fn pinned(world: &mut World) {
    world.pool.pins = vec![v1::Pin { node: id(2).to_string(), revision: 1, ..Default::default() }];
}

#[test]
fn another_leader_knows_what_the_canaries_did_before() {
    let mut world = tried();
    world.elect();
    counted(&mut world, 1, 6_000, 71);
    assert_eq!(world.writes(), Phase::Reverting);
}

#[test]
fn a_step_over_all_at_once_is_not_judged() {
    let mut world = World::new(2);
    world.apply(2);
    world.writes();
    counted(&mut world, 1, 10_000, 10_000);
    world.ack_given(2);
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!(world.rollout().health, "not judged: it was asked for at once");
}

#[test]
fn who_did_nothing_before_has_nothing_to_be_compared_with() {
    let mut world = World::staged(10);
    counted(&mut world, 1, 999, 0);
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    counted(&mut world, 1, 9_999, 9_000);
    world.pass(MIN_HEALTHY);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.rollout().health, "not judged: 999 messages of 1000 before it");
}

#[test]
fn after_a_resume_nodes_are_compared_with_what_they_did_until_then() {
    let mut world = World::staged(10);
    world.govern(v1::RolloutPolicy { auto_revert: Some(false), ..Default::default() });
    counted(&mut world, 1, 5_000, 50);
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    counted(&mut world, 1, 6_000, 550);
    assert_eq!(world.writes(), Phase::Paused);
    world.order(v1::RolloutOrderKind::Resume);
    assert_eq!(world.writes(), Phase::Progressing);
    counted(&mut world, 1, 6_000, 550);
    assert!(matches!(world.decide(), Decision::Wait(_)));
    counted(&mut world, 1, 8_000, 730);
    assert!(matches!(world.decide(), Decision::Wait(_)), "9 %, as until then");
    counted(&mut world, 1, 9_000, 1_000);
    assert_eq!(world.writes(), Phase::Paused, "15 %");
}

#[test]
fn of_a_large_pool_a_sample_is_asked_once_canaries_have_it_and_the_same_by_any_leader() {
    let mut world = World::staged(1_000);
    assert_eq!(world.watched(), None, "no rollout is on its way");
    world.counted.clear();
    world.apply(2);
    world.writes();
    assert_eq!(world.watched(), Some([id(1)].into()), "it waits for the canary's figures alone");
    world.pass(Duration::from_secs(1));
    world.writes();
    let watched = world.watched().unwrap();
    assert!(watched.contains(&id(1)), "the canary");
    assert!((256..=257).contains(&watched.len()), "{}", watched.len());
    world.elect();
    assert_eq!(world.watched(), Some(watched.clone()));
    world.ack(1, 2);
    world.pass(MIN_HEALTHY);
    world.writes();
    let given = world.given();
    let quarter = watched.iter().filter(|node| given.iter().any(|i| id(*i) == **node)).count();
    assert!(quarter >= 249, "the first wave has them: {quarter} of {} given", given.len());
    let mut small = World::staged(10);
    small.begin(2);
    assert_eq!(small.watched().unwrap().len(), 10, "of a small one all");
}

#[test]
fn a_pool_that_grows_is_judged_by_a_sample_and_who_is_not_asked_any_more_holds_nothing_up() {
    let mut world = World::staged(250);
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    world.pass(MIN_HEALTHY);
    world.writes();
    world.ack_given(2);
    let first = *world.given().iter().find(|i| **i != 1).unwrap();
    world.late.insert(id(first));
    (251..=600).for_each(|i| world.join(i));
    let watched = world.watched().unwrap();
    assert!((256..=257).contains(&watched.len()), "{}", watched.len());
    let unasked = (1..=250).find(|i| !watched.contains(&id(*i))).unwrap();
    world.late = [id(unasked)].into();
    world.pass(MIN_HEALTHY * 2);
    world.writes();
    assert_eq!(world.rollout().health, "not judged: 0 messages of 1000");
}

#[test]
fn a_canary_that_comes_back_in_a_wave_leaves_the_others_asked() {
    let mut world = World::staged(300);
    world.counted.clear();
    world.apply(2);
    world.writes();
    world.node(1).set_phase(Drained);
    world.pass(Duration::from_secs(2));
    world.writes();
    world.pass(Duration::from_secs(1));
    world.writes();
    let canary = world.given()[0];
    assert_ne!(canary, 1);
    world.ack(canary, 2);
    world.decide();
    world.pass(MIN_HEALTHY);
    world.writes();
    world.node(1).set_phase(Ready);
    assert!(world.watched().unwrap().len() >= 256, "it is no canary's step any more");
}

#[test]
fn a_large_pool_is_not_given_a_revision_before_it_said_what_it_does_without_it() {
    let mut world = World::staged(300);
    world.govern(v1::RolloutPolicy { min_healthy: Some(Duration::ZERO.try_into().unwrap()), ..Default::default() });
    world.begin(2);
    world.ack(1, 2);
    world.counted.retain(|node, _| *node == id(1));
    assert_eq!(world.waits(), Some(Duration::from_secs(1)), "they are asked");
    world.pass(Duration::from_secs(1));
    world.writes();
    assert_eq!(world.rollout().step, 1, "but not waited for long");
}
