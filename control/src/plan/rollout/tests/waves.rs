//! Canaries, waves and the cut.

use super::*;

#[test]
fn canaries_then_waves_then_all_each_healthy_for_a_while() {
    let mut world = World::staged(10);
    world.begin(2);
    assert_eq!((world.rollout().canaries.clone(), world.given()), (vec!["node-1".to_owned()], vec![1]));
    assert_eq!((world.rollout().step, world.rollout().steps), (0, 3));
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
    world.ack(1, 2);
    assert_eq!(world.waits(), Some(MIN_HEALTHY));
    world.pass(MIN_HEALTHY - Duration::from_millis(1));
    assert_eq!(world.waits(), Some(Duration::from_millis(1)), "not healthy for long enough yet");
    world.pass(Duration::from_millis(1));
    world.writes();
    assert_eq!((world.rollout().step, world.ack_given(2)), (1, vec![1, 2, 3]), "a quarter of ten, rounded up");
    assert_eq!(world.assignment.as_ref().unwrap().cut, 0, "a small pool's waves are named");
    world.pass(MIN_HEALTHY);
    world.writes();
    assert_eq!((world.rollout().step, world.ack_given(2).len()), (2, 10));
    assert_eq!(world.assignment.as_ref().unwrap().cut, u64::MAX, "the last step is for whoever joins, too");
    world.pass(MIN_HEALTHY);
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!((world.stable(), world.next(), world.given()), (2, None, vec![]));
    assert_eq!(world.rollout().reason, "10 of 10 nodes run revision 2");
    let told = ["RolloutCompleted", "RolloutStarted", "RolloutAdvanced", "RolloutAdvanced", "RolloutCompleted"];
    assert_eq!(world.reasons, told);
}

#[test]
fn the_event_tells_of_a_step_that_adds_nobody() {
    let mut world = World::staged(3);
    world.begin(2);
    assert_eq!(world.ack_given(2), [1]);
    world.pass(MIN_HEALTHY);
    let Decision::Write(next) = world.decide() else { panic!("a quarter of three is one, and one has it") };
    let told: Vec<&str> = next.events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(told, ["rollout 2 of revision 2 goes on with step 3 of 3 (step 2 adds nobody)"]);
}

#[test]
fn a_wave_stops_at_a_rejection() {
    let mut world = World::staged(10);
    world.begin(2);
    world.ack(1, 2);
    world.pass(MIN_HEALTHY);
    world.writes();
    world.nack(3, 2);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!((world.stable(), world.next()), (1, None));
}

#[test]
fn canaries_are_of_many_zones() {
    let mut world = World::staged(6);
    for i in 1..=6 {
        world.node(i).zone = if i < 5 { "a".into() } else { "b".into() };
    }
    world.govern(v1::RolloutPolicy { canary: Some(2), ..Default::default() });
    world.begin(2);
    assert_eq!(world.rollout().canaries, ["node-1", "node-5"]);
}

#[test]
fn a_draining_node_is_no_canary_and_one_that_drains_is_replaced() {
    let mut world = World::staged(3);
    world.node(1).set_phase(Draining);
    world.begin(2);
    assert_eq!(world.rollout().canaries, ["node-2"]);
    world.ack(2, 2);
    world.pass(Duration::from_secs(5));
    world.node(2).set_phase(Drained);
    world.writes();
    assert_eq!(world.reasons.last().unwrap(), "CanaryAdded");
    world.writes();
    assert_eq!((world.rollout().canaries.clone(), world.given()), (vec!["node-2".into(), "node-3".into()], vec![2, 3]));
    world.ack(3, 2);
    assert_eq!(world.waits(), Some(MIN_HEALTHY), "it is to be healthy for as long");
}

#[test]
fn a_pool_of_one_is_its_own_canary_and_a_pool_of_none_has_nobody_to_ask() {
    let mut world = World::staged(1);
    world.begin(2);
    assert_eq!(world.ack_given(2), [1]);
    world.pass(MIN_HEALTHY);
    assert_eq!(world.writes(), Phase::Completed, "there is nobody left for the waves");
    let mut world = World::staged(0);
    world.apply(2);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.writes(), Phase::Completed);
}

#[test]
fn the_first_node_of_an_empty_pool_is_its_canary() {
    let mut world = World::staged(0);
    world.replicas = 2;
    world.apply(2);
    world.writes();
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
    world.join(7);
    world.writes();
    assert_eq!(world.rollout().canaries, ["node-7"]);
    world.writes();
    assert_eq!(world.given(), [7]);
}

#[test]
fn who_joins_finds_its_place() {
    let mut world = World::staged(4);
    world.begin(2);
    world.join(5);
    assert_eq!(world.ack_given(2), [1], "not before the canary passed");
    world.pass(MIN_HEALTHY);
    world.writes();
    assert_eq!(world.ack_given(2), [1, 2], "a quarter of five");
    world.pass(MIN_HEALTHY);
    world.writes();
    world.join(6);
    assert_eq!(world.ack_given(2), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_large_pool_moves_its_cut_by_at_most_2000_nodes_that_have_not_answered() {
    let mut world = World::staged(5_000);
    world.govern(v1::RolloutPolicy { waves: vec!["60%".into(), "100%".into()], ..Default::default() });
    world.begin(2);
    assert_eq!(world.ack_given(2), [1]);
    world.pass(MIN_HEALTHY);
    let (mut before, mut sizes) = (world.given(), Vec::new());
    while world.writes() == Phase::Progressing {
        let given = world.ack_given(2);
        assert!(before.iter().all(|i| given.contains(i)), "nobody loses it again");
        sizes.push((world.rollout().step, given.len()));
        before = given;
        if let Decision::Wait(_) = world.decide() {
            world.pass(MIN_HEALTHY);
        }
    }
    assert_eq!(sizes, [(1, 2_001), (1, 3_000), (2, 5_000)]);
    assert_eq!(world.rollout().phase(), Phase::Completed);
}

#[test]
fn in_the_last_step_those_that_are_gone_count_for_nobody() {
    let mut world = World::new(20);
    world.sizes = Sizes { named: 4, unacknowledged: 2 };
    world.apply(2);
    for given in [2, 4, 6, 8, 10, 12] {
        world.writes();
        assert_eq!(world.ack_given(2).len(), given);
    }
    world.decide();
    // Not more of those that have it are lost than of the others.
    let given = world.given();
    let others: Vec<u32> = (1..=20).filter(|i| !given.contains(i)).collect();
    given[..3].iter().chain(&others[..5]).for_each(|i| drop(world.vanish(*i)));
    // Until those are no part of a mass loss.
    world.pass(Duration::from_secs(11));
    for given in [11, 12] {
        assert_eq!(world.writes(), Phase::Progressing, "as many are still to be given it as are gone");
        assert_eq!(world.ack_given(2).len(), given);
    }
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!(world.rollout().reason, "12 of 12 nodes run revision 2");
}

#[test]
fn now_waits_for_answers_only() {
    let mut world = World::new(4_500);
    world.apply(2);
    let mut sizes = Vec::new();
    while world.writes() == Phase::Progressing {
        sizes.push(world.ack_given(2).len());
    }
    assert_eq!(sizes, [2_000, 4_000, 4_500]);
    assert_eq!((world.rollout().steps, world.rollout().phase()), (1, Phase::Completed));
}

#[test]
fn another_leader_goes_on_where_it_was_and_begins_the_timers_anew() {
    let mut world = World::staged(10);
    world.begin(2);
    world.ack(1, 2);
    world.pass(MIN_HEALTHY - Duration::from_secs(1));
    world.elect();
    assert_eq!(world.waits(), Some(MIN_HEALTHY));
    world.pass(MIN_HEALTHY);
    world.writes();
    assert_eq!((world.rollout().step, world.given()), (1, vec![1, 2, 3]));
}

#[test]
fn a_change_of_the_policy_is_for_the_next_rollout() {
    let mut world = World::staged(10);
    world.begin(2);
    world.ack(1, 2);
    world.govern(v1::RolloutPolicy { min_healthy: Some(prost_types::Duration::default()), ..Default::default() });
    assert_eq!(world.waits(), Some(MIN_HEALTHY));
}

#[test]
fn without_auto_revert_it_pauses() {
    let mut world = World::staged(3);
    world.govern(v1::RolloutPolicy { auto_revert: Some(false), ..Default::default() });
    world.begin(2);
    world.nack(1, 2);
    assert_eq!(world.writes(), Phase::Paused);
    assert_eq!((world.next(), world.rollout().problems.len()), (Some(2), 1));
    assert_eq!(world.waits(), None);
}
