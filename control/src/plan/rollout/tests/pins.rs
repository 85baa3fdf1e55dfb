//! Nodes that run a revision of their own, whatever is rolled out.

use super::*;

fn pin(world: &mut World, i: u32, revision: u32) {
    world.pool.pins.push(v1::Pin { node: id(i).to_string(), revision, ..Default::default() });
}

fn pins(world: &World) -> Vec<(String, u32)> {
    world.assignment.as_ref().unwrap().pins.iter().map(|pin| (pin.node.clone(), pin.n)).collect()
}

fn embedded(world: &World) -> Vec<u32> {
    world.assignment.as_ref().unwrap().pinned.iter().map(|revision| revision.n).collect()
}

#[test]
fn a_pin_is_assigned_and_taken_back() {
    let mut world = World::new(2);
    pin(&mut world, 2, 1);
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!((pins(&world), embedded(&world)), (vec![("node-2".into(), 1)], vec![]), "it is the stable one");
    assert_eq!(world.waits(), None);
    world.pool.pins.clear();
    world.writes();
    assert_eq!(pins(&world), []);
    assert_eq!(world.waits(), None);
}

#[test]
fn nobody_waits_for_a_pinned_node_and_its_revision_stays_when_the_pool_goes_on() {
    let mut world = World::staged(3);
    pin(&mut world, 1, 1);
    world.writes();
    world.begin(2);
    assert_eq!(world.rollout().canaries, ["node-2"], "who is pinned is no canary");
    world.ack(2, 2);
    world.pass(MIN_HEALTHY);
    world.writes();
    world.ack(3, 2);
    world.pass(MIN_HEALTHY);
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!(world.rollout().reason, "2 of 2 nodes run revision 2");
    assert_eq!((pins(&world), embedded(&world)), (vec![("node-1".into(), 1)], vec![1]));
    assert_eq!(world.waits(), None);
}

#[test]
fn an_older_revision_is_recalled() {
    let mut world = World::new(2);
    world.apply(2);
    world.writes();
    world.ack_given(2);
    assert_eq!(world.writes(), Phase::Completed);
    pin(&mut world, 1, 1);
    assert_eq!(world.needs(), [1]);
    world.recall(1);
    world.writes();
    assert_eq!((pins(&world), embedded(&world)), (vec![("node-1".into(), 1)], vec![1]));
    assert!(world.needs().is_empty());
}

#[test]
fn a_pruned_revision_is_told_once_and_not_asked_for_again() {
    let mut world = World::new(2);
    pin(&mut world, 1, 7);
    pin(&mut world, 2, 1);
    assert_eq!(world.needs(), [7]);
    world.writes();
    assert_eq!(pins(&world), [("node-2".into(), 1)], "the other pin holds");
    let condition = world.rollout().conditions[0].clone();
    assert_eq!((condition.r#type.as_str(), condition.status), ("PinFailed", true));
    assert!(condition.message.contains("node/node-1 to revision 7"), "{}", condition.message);
    assert_eq!(world.reasons.last().unwrap(), "PinFailed");
    assert_eq!((world.needs(), world.waits()), (vec![], None));
    world.pool.pins.remove(0);
    world.writes();
    assert!(world.rollout().conditions.is_empty());
    assert_eq!(world.waits(), None);
}

#[test]
fn what_a_node_does_while_it_is_pinned_is_not_put_down_to_what_it_tries_then() {
    let mut world = World::staged(3);
    for i in 1..=3 {
        world.counted.insert(id(i), Counted { messages: 10_000, failures: 0 });
    }
    world.begin(2);
    while world.given().len() < 3 {
        world.ack_given(2);
        world.decide();
        world.pass(MIN_HEALTHY);
        world.writes();
    }
    world.ack_given(2);
    world.decide();
    pin(&mut world, 2, 1);
    world.writes();
    world.ack(2, 1);
    world.decide();
    world.counted.insert(id(2), Counted { messages: 20_000, failures: 5_000 });
    world.pool.pins.clear();
    world.writes();
    world.ack(2, 2);
    world.decide();
    world.pass(MIN_HEALTHY);
    assert_eq!(world.writes(), Phase::Completed, "{}", world.rollout().reason);
}
