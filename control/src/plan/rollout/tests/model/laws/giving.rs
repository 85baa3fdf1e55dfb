//! Who is given `next`: as many as the step may have, as few at once as etcd bears, each of them once.

use super::*;

/// What is about to be written.
pub(super) fn judge(
    world: &World,
    was: &v1::Rollout,
    is: &v1::Rollout,
    before: &v1::Assignment,
    after: &v1::Assignment,
) {
    nothing_is_taken_from_a_node_alone(before, after);
    a_pause_changes_nothing(was, is, before, after);
    nobody_is_given_it_in_a_mass_loss(world, before, after);
    let picked: BTreeSet<&String> = after.picked.iter().collect();
    assert_eq!(picked.len(), after.picked.len(), "picked twice: {:?}", after.picked);
    if next_of(after).is_some() {
        no_more_than_may_be(world, is, before, after);
    }
}

fn nothing_is_taken_from_a_node_alone(before: &v1::Assignment, after: &v1::Assignment) {
    match (next_of(before), next_of(after)) {
        (Some(old), Some(new)) => {
            assert_eq!((old, before.rollout), (new, after.rollout), "next is cleared before another one");
            assert!(after.cut >= before.cut, "the cut was lowered");
            assert!(before.picked.iter().all(|id| after.picked.contains(id)), "a pick was taken back");
        }
        (_, None) => assert!(after.cut == 0 && after.picked.is_empty(), "a rest of what was cleared"),
        (None, Some(_)) => {}
    }
}

fn a_pause_changes_nothing(was: &v1::Rollout, is: &v1::Rollout, before: &v1::Assignment, after: &v1::Assignment) {
    let stays = is.phase() == Phase::Paused;
    let resumes = was.phase() == Phase::Paused && is.phase() == Phase::Progressing;
    if is.id == was.id && (stays || resumes) {
        assert_eq!((&before.picked, before.cut), (&after.picked, after.cut), "given or taken in a pause");
    }
    assert!(!resumes || is.order > was.order, "resumed without an order");
}

fn nobody_is_given_it_in_a_mass_loss(world: &World, before: &v1::Assignment, after: &v1::Assignment) {
    let is_given = |id: &NodeId| runs_next(after, id) && !runs_next(before, id);
    let given: Vec<_> = world.nodes.keys().filter(|id| is_given(id)).collect();
    assert!(world.mass_loss.is_none() || given.is_empty(), "{given:?} are given it in a mass loss");
}

fn no_more_than_may_be(world: &World, is: &v1::Rollout, before: &v1::Assignment, after: &v1::Assignment) {
    let policy = world_policy(is);
    let canaries = if is.now { 0 } else { policy.canaries };
    if canaries > 0 && is.step == 0 {
        return;
    }
    let about: Vec<_> = world.nodes.keys().filter(|id| is_about(world, id)).collect();
    let had = about.iter().filter(|id| runs_next(before, id)).count();
    let has = about.iter().filter(|id| runs_next(after, id)).count();
    assert!(has <= had + world.sizes.unacknowledged, "{} are given it at once", has - had);
    if is.step + 1 < is.steps {
        let wave = policy.waves[(is.step - u32::from(canaries > 0)) as usize].of(about.len());
        let target = wave.max(about.len().min(canaries as usize));
        assert!(has <= had.max(target), "{had} had it, {has} have it, {target} were to");
    }
}
