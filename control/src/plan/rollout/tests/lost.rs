//! Records that are missing, cleared or unreadable.

use super::*;

#[test]
fn a_lost_record_is_made_from_the_assignment() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    world.rollout = None;
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!((world.rollout().id, world.rollout().to.clone()), (2, Some(revision(2))));
    world.ack(1, 2);
    assert_eq!(world.writes(), Phase::Completed);
    world.rollout = None;
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!(world.waits(), None);
    world.apply(3);
    world.rollout = None;
    assert_eq!(world.writes(), Phase::Reverted, "it may have been tried: only an operator tries it again");
    assert_eq!(world.waits(), None);
}

#[test]
fn next_cleared_by_hand_ends_as_reverted() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    world.assignment.as_mut().unwrap().next = None;
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.writes(), Phase::Reverted);
    assert_eq!(world.waits(), None);
}

#[test]
fn another_life_of_the_pool_starts_over() {
    let mut world = World::new(1);
    let uid = "uid-2".to_owned();
    world.pool.metadata.as_mut().unwrap().uid.clone_from(&uid);
    world.pool.revision = Some(v1::RevisionRef { uid: uid.clone(), ..revision(1) });
    assert_eq!(world.writes(), Phase::Completed);
    assert_eq!(world.assignment.as_ref().unwrap().uid, uid);
    assert_eq!(world.rollout().id, 2, "ids go on, so that an old answer is not taken for a new one");
}

/// The key was deleted or overwritten by hand.
fn without_assignment(world: &mut World) {
    world.assignment = None;
    world.reasons.clear();
}

#[test]
fn a_lost_assignment_never_brings_back_what_was_taken_back() {
    let mut world = World::new(2);
    world.apply(2);
    world.writes();
    world.nack(2, 2);
    world.writes();
    assert_eq!(world.writes(), Phase::Reverted);
    without_assignment(&mut world);
    assert_eq!(world.decides_lost(), revision(1), "the pool's own template is revision 2");
    world.recalled = vec![v1::Revision { revision: Some(revision(1)), ..Default::default() }];
    assert_eq!(world.decides_lost(), revision(1), "a revision without its template is none");
    world.recall(1);
    assert_eq!(world.writes(), Phase::Reverted, "the rollout is what it was");
    assert_eq!((world.stable(), world.next(), world.rollout().id), (1, None, 2));
    assert_eq!(world.reasons, ["AssignmentRebuilt"]);
    assert_eq!(world.waits(), None);
    world.apply(3);
    assert_eq!(world.writes(), Phase::Progressing, "and a newer revision can be tried");
}

#[test]
fn a_rollout_whose_assignment_is_lost_is_taken_back() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    without_assignment(&mut world);
    world.recall(1);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!((world.stable(), world.next()), (1, None));
    assert_eq!(world.writes(), Phase::Reverting);
    assert_eq!(world.writes(), Phase::Reverted);
}

#[test]
fn a_completed_revision_is_stable_again() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    assert_eq!(world.writes(), Phase::Completed);
    without_assignment(&mut world);
    assert_eq!(world.writes(), Phase::Completed, "its template is the pool's");
    assert_eq!((world.stable(), world.reasons.as_slice()), (2, ["AssignmentRebuilt".to_owned()].as_slice()));
}

#[test]
fn where_both_records_are_lost_the_nodes_tell_what_was_stable() {
    let mut world = World::new(3);
    world.apply(2);
    world.ack(3, 2);
    without_assignment(&mut world);
    world.rollout = None;
    world.recall(1);
    assert_eq!(world.writes(), Phase::Reverted, "it may have been tried: only an operator tries it again");
    assert_eq!((world.stable(), world.next()), (1, None));
}
