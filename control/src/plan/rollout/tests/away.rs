//! Nodes that are not there, or that the rollout is not about, and come back to it.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(10);

/// A pool whose nodes are to be healthy for longer than they have time to answer, and whose canary has revision 2.
fn tried(nodes: u32) -> World {
    let mut world = World::staged(nodes);
    let min_healthy = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    world.govern(v1::RolloutPolicy { min_healthy, ..Default::default() });
    world.begin(2);
    world.ack(1, 2);
    world.decide();
    world
}

fn pin(world: &mut World, i: u32, revision: u32) {
    world.pool.pins.push(v1::Pin { node: id(i).to_string(), revision, ..Default::default() });
}

fn waits(world: &mut World) {
    let decision = world.decide();
    assert!(matches!(decision, Decision::Wait(_)), "{decision:?}");
}

/// Until it waits, however little there is to write.
fn lead(world: &mut World) {
    for _ in 0..10 {
        let Decision::Write(next) = world.decide() else { return };
        world.store(*next);
    }
    panic!("it writes for ever: {:?}", world.rollout);
}

fn assert_nobody_is_picked_twice(world: &World) {
    let picked = &world.assignment.as_ref().unwrap().picked;
    assert!(picked.iter().all(|id| picked.iter().filter(|other| *other == id).count() == 1), "{picked:?}");
}

#[test]
fn who_goes_before_it_heard_of_a_stage_is_in_it_once_it_is_back() {
    for (nodes, quarter) in [(10, 3), (300, 75)] {
        let mut world = tried(nodes);
        world.pass(MINUTE);
        world.writes();
        let away = *world.given().last().unwrap();
        let status = world.vanish(away);
        lead(&mut world);
        world.nodes.insert(id(away), status);
        lead(&mut world);
        world.ack_given(2);
        lead(&mut world);
        assert_nobody_is_picked_twice(&world);
        assert_eq!(world.given().len(), quarter);
        world.pass(MINUTE);
        world.writes();
        assert_eq!((world.rollout().step, world.given().len() as u32), (2, nodes));
    }
}

#[test]
fn those_that_were_away_when_a_wave_was_given_find_their_place_in_it() {
    let mut world = tried(300);
    let away: Vec<_> = (201..=230).map(|i| (i, world.vanish(i))).collect();
    world.pass(MINUTE);
    lead(&mut world);
    let given = world.ack_given(2).len();
    assert_eq!(given, 68, "a quarter of those that are there");
    for (i, status) in away {
        world.nodes.insert(id(i), status);
    }
    let found = world.given().len();
    assert!(found > given, "the cut is for them, too");
    lead(&mut world);
    assert_eq!(world.given().len(), found, "they are waited for");
    world.ack_given(2);
    lead(&mut world);
    assert_eq!(world.given().len(), found.max(75));
    world.ack_given(2);
    world.pass(MINUTE);
    world.writes();
    assert_eq!((world.rollout().step, world.given().len()), (2, 300));
}

#[test]
fn who_was_away_when_the_last_step_began_is_waited_for() {
    let mut world = tried(10);
    world.pass(MINUTE);
    let status = world.vanish(7);
    // Until it is no part of a mass loss.
    world.pass(Duration::from_secs(11));
    for step in 1..3 {
        world.writes();
        assert_eq!(world.rollout().step, step);
        world.ack_given(2);
        world.pass(if step == 2 { Duration::from_secs(5) } else { MINUTE });
    }
    world.nodes.insert(id(7), status);
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
    world.pass(ACK_DEADLINE);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.rollout().reason, "node-7: no answer within 30s");
}

#[test]
fn who_restarts_in_order_long_after_the_others_answered_has_its_time_to_come_back() {
    let mut world = tried(1);
    world.pass(ACK_DEADLINE + Duration::from_secs(1));
    let left = world.terminate(1);
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
    world.pass(ACK_DEADLINE - Duration::from_secs(1));
    world.start_again(1, &left);
    world.node(1).set_phase(v1::NodePhase::Starting);
    assert_eq!(world.waits(), Some(Duration::from_secs(1)), "since nobody was there that serves");
    world.node(1).set_phase(Ready);
    assert_eq!(world.waits(), Some(MINUTE));
    world.pass(MINUTE);
    assert_eq!(world.writes(), Phase::Completed);
}

#[test]
fn who_does_not_come_back_is_not_waited_for_without_an_end() {
    let mut world = tried(1);
    world.pass(ACK_DEADLINE + Duration::from_secs(1));
    world.terminate(1);
    world.pass(ACK_DEADLINE);
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.rollout().reason, "no live node for 30s; apply again once there is one");
}

#[test]
fn who_is_unpinned_has_its_time_to_answer() {
    let mut world = tried(3);
    pin(&mut world, 3, 1);
    world.pass(MINUTE);
    world.writes();
    world.ack_given(2);
    world.ack(3, 1);
    assert_eq!(world.rollout().step, 2);
    world.pass(ACK_DEADLINE);
    world.pool.pins.clear();
    assert_eq!(world.writes(), Phase::Progressing, "its pin is taken out of the assignment");
    waits(&mut world);
    world.ack(3, 2);
    waits(&mut world);
    world.pass(MINUTE);
    assert_eq!(world.writes(), Phase::Completed);
}

#[test]
fn who_is_unpinned_from_a_revision_that_was_taken_back_has_its_time_to_return() {
    let mut world = tried(3);
    world.nack(1, 2);
    world.writes();
    world.ack(1, 1);
    assert_eq!(world.writes(), Phase::Reverted);
    pin(&mut world, 2, 2);
    world.recall(2);
    world.writes();
    world.ack(2, 2);
    world.pass(MINUTE);
    world.pool.pins.clear();
    assert_eq!(world.writes(), Phase::Reverted);
    assert_eq!(world.waits(), Some(ACK_DEADLINE));
    world.ack(2, 1);
    assert_eq!(world.waits(), None);
    assert_eq!(world.rollout().phase(), Phase::Reverted);
}

#[test]
fn a_pinned_or_drained_node_is_not_lost_whatever_becomes_of_it() {
    type Excuse = fn(&mut World);
    let excuses: [Excuse; 2] = [|world| pin(world, 2, 1), |world| world.node(2).set_phase(Drained)];
    let fates: [fn(&mut World); 2] = [|world| drop(world.vanish(2)), |world| world.restart(2)];
    for (excuse, fate) in excuses.into_iter().flat_map(|excuse| fates.map(|fate| (excuse, fate))) {
        let mut world = World::new(3);
        world.apply(2);
        world.writes();
        world.ack_given(2);
        world.node(3).applied = None;
        excuse(&mut world);
        lead(&mut world);
        fate(&mut world);
        assert_eq!(world.waits(), Some(ACK_DEADLINE), "for node-3, not until more is known of node-2");
        world.pass(Duration::from_secs(11));
        waits(&mut world);
        world.pool.pins.clear();
        if let Some(node) = world.nodes.get_mut(&id(2)) {
            node.set_phase(Ready);
        }
        lead(&mut world);
        assert_eq!(world.rollout().phase(), Phase::Progressing);
        world.ack(3, 2);
        assert_eq!(world.writes(), Phase::Completed);
    }
}

#[test]
fn a_pinned_canary_that_a_leader_never_saw_is_not_waited_for() {
    let mut world = tried(3);
    pin(&mut world, 1, 1);
    lead(&mut world);
    assert_eq!(world.rollout().canaries, ["node-1", "node-2"]);
    world.vanish(1);
    world.elect();
    assert_eq!(world.waits(), Some(ACK_DEADLINE), "for node-2");
}

/// In the first wave of ten nodes, where three have revision 2 and one of them loses etcd, but answers.
fn cut_off() -> (World, v1::NodeStatus) {
    let mut world = tried(10);
    world.pass(MINUTE);
    world.writes();
    assert_eq!(world.ack_given(2), [1, 2, 3]);
    lead(&mut world);
    let status = world.vanish(3);
    world.serving.insert(id(3));
    (world, status)
}

#[test]
fn who_serves_without_etcd_in_a_wave_is_not_lost_and_not_waited_for() {
    let (mut world, status) = cut_off();
    assert_eq!(world.waits(), Some(TTL), "until it is known");
    world.pass(TTL);
    assert_eq!(world.waits(), Some(MINUTE));
    world.pass(MINUTE);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.rollout().step, 2);
    world.ack_given(2);
    world.decide();
    world.pass(MINUTE);
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!(world.stable(), 2);
    world.nodes.insert(id(3), status);
    assert_eq!(world.waits(), None, "it finds its place by itself");
}

#[test]
fn who_serves_without_etcd_is_lost_once_it_is_silent() {
    let (mut world, _) = cut_off();
    world.pass(TTL);
    world.decide();
    world.serving.clear();
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.rollout().problems[0].cause, "lost: its record is gone");
}

#[test]
fn who_comes_back_to_etcd_late_is_not_blamed_for_what_it_could_not_hear() {
    let (mut world, status) = cut_off();
    world.pass(MINUTE - Duration::from_secs(1));
    world.decide();
    world.nodes.insert(id(3), v1::NodeStatus { applied: Some(revision(1)), ..status });
    waits(&mut world);
    world.pass(MINUTE);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.rollout().step, 2);
}

#[test]
fn a_canary_that_serves_without_etcd_takes_the_revision_back() {
    let mut world = tried(10);
    world.vanish(1);
    world.serving.insert(id(1));
    world.pass(TTL);
    assert_eq!(world.writes(), Phase::Reverting, "that is what a canary is for");
}

#[test]
fn who_restarts_in_order_between_two_looks_is_healthy_from_then_on() {
    let mut world = tried(1);
    assert_eq!(world.waits(), Some(MINUTE));
    world.pass(MINUTE - Duration::from_secs(1));
    let before = std::mem::replace(&mut world.node(1).incarnation, "another life".to_owned());
    world.left.insert(id(1), before);
    assert_eq!(world.waits(), Some(MINUTE), "this process has served for no time");
}
