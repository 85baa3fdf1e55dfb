//! Rollouts as a node sees them.
#![allow(clippy::unwrap_used)]

use super::*;

fn revision(uid: &str, n: u32) -> v1::RevisionRef {
    v1::RevisionRef { uid: uid.into(), n, digest: format!("digest-{n}") }
}

fn offer(n: u32) -> Offer {
    let config = v1::PoolTemplate::default();
    Offer { revision: revision("u", n), config, plan: Err("not looked at".into()) }
}

fn assignment(rollout: u32, stable: u32, next: Option<u32>) -> Assignment {
    Assignment { rollout, stable: offer(stable), next: next.map(offer), pinned: false, trace: None }
}

/// What is applied, in short: `stable 1`, `next 2`, or nothing.
fn decision(held: &Held, assignment: &Assignment) -> Option<(Role, u32)> {
    match held.decide(assignment) {
        Decision::Keep => None,
        Decision::Apply(role, offer) => Some((role, offer.revision.n)),
    }
}

fn rejection(n: u32, rollout: u32, cause: &str) -> v1::Rejection {
    v1::Rejection { revision: Some(revision("u", n)), rollout, cause: cause.into(), ..Default::default() }
}

#[test]
fn a_rollout_that_passes() {
    let mut held = Held::default();
    assert_eq!(decision(&held, &assignment(1, 1, None)), Some((Role::Stable, 1)));
    held.acked(revision("u", 1), None);
    assert_eq!(decision(&held, &assignment(1, 1, None)), None);
    assert_eq!(decision(&held, &assignment(2, 1, Some(2))), Some((Role::Next, 2)));
    held.acked(revision("u", 2), None);
    assert_eq!(decision(&held, &assignment(2, 2, None)), None, "promoted: nothing is applied again");
}

#[test]
fn a_refused_next_is_not_tried_again_and_stable_serves() {
    let mut held = Held { applied: Some(revision("u", 1)), rejection: None };
    let rollout = assignment(2, 1, Some(2));
    held.nacked(Role::Next, &rollout, rejection(2, 2, "port"));
    assert_eq!(decision(&held, &rollout), None, "stable serves already");
    assert_eq!(decision(&held, &assignment(2, 1, None)), None, "taken back");
    assert!(held.rejection.is_some(), "the reason stays readable");
    assert_eq!(decision(&held, &assignment(3, 1, Some(2))), Some((Role::Next, 2)), "a new rollout is a new try");
    held.acked(revision("u", 3), None);
    assert!(held.rejection.is_none(), "something newer serves");
}

#[test]
fn what_a_pinned_node_died_with_is_not_tried_again_by_the_next_rollout() {
    let pinned = |rollout| Assignment { pinned: true, ..assignment(rollout, 1, Some(2)) };
    let mut held = Held { applied: Some(revision("u", 1)), rejection: None };
    held.nacked(Role::Next, &pinned(2), rejection(2, 2, "port"));
    assert_eq!(decision(&held, &pinned(3)), Some((Role::Next, 2)), "a port may be free by now");
    let crashed = v1::Rejection { reason: CRASHED.into(), ..rejection(2, 2, "died") };
    held.nacked(Role::Next, &pinned(2), crashed);
    assert_eq!(decision(&held, &pinned(3)), None);
    assert_eq!(decision(&held, &assignment(3, 1, Some(2))), Some((Role::Next, 2)), "unpinned, a rollout tries it");
}

#[test]
fn a_joiner_that_refuses_next_starts_on_stable() {
    let mut held = Held::default();
    let rollout = assignment(2, 1, Some(2));
    assert_eq!(decision(&held, &rollout), Some((Role::Next, 2)));
    held.nacked(Role::Next, &rollout, rejection(2, 2, "port"));
    assert_eq!(decision(&held, &rollout), Some((Role::Stable, 1)));
    held.nacked(Role::Stable, &rollout, rejection(1, 2, "other port"));
    assert_eq!(held.rejection.as_ref().unwrap().cause, "port", "what the rollout waits for is not hidden");
    assert_eq!(decision(&held, &rollout), Some((Role::Stable, 1)), "stable is tried until it works");
    held.acked(revision("u", 1), Some(&rollout));
    assert!(held.rejection.is_some(), "an older revision is no answer to the refusal of a newer one");
}

#[test]
fn a_reverted_rollout_brings_stable_back() {
    let held = Held { applied: Some(revision("u", 2)), rejection: None };
    assert_eq!(decision(&held, &assignment(2, 1, None)), Some((Role::Stable, 1)));
}

#[test]
fn a_recreated_pool_starts_over() {
    let mut held = Held { applied: Some(revision("old", 7)), rejection: Some(rejection(8, 1, "port")) };
    assert_eq!(decision(&held, &assignment(1, 7, None)), Some((Role::Stable, 7)), "same number, another pool");
    held.rejection.as_mut().unwrap().revision = Some(revision("old", 8));
    held.acked(revision("u", 1), None);
    assert!(held.rejection.is_none());
}

#[test]
fn the_same_refusal_keeps_its_time() {
    let mut held = Held::default();
    let only = assignment(1, 1, None);
    let first = v1::Rejection { time: Some(std::time::SystemTime::UNIX_EPOCH.into()), ..rejection(1, 1, "port") };
    held.nacked(Role::Stable, &only, first.clone());
    held.nacked(Role::Stable, &only, rejection(1, 1, "port"));
    assert_eq!(held.rejection, Some(first));
    held.nacked(Role::Stable, &only, rejection(1, 1, "another"));
    assert_eq!(held.rejection.unwrap().cause, "another");
}

#[test]
fn a_pin_that_is_refused_is_not_tried_again_and_again() {
    let mut held = Held { applied: Some(revision("u", 3)), rejection: None };
    let pinned = assignment(7, 3, Some(1));
    assert_eq!(decision(&held, &pinned), Some((Role::Next, 1)));
    held.nacked(Role::Next, &pinned, rejection(1, 7, "port"));
    assert_eq!(decision(&held, &pinned), None);
    held.applied = None;
    assert_eq!(decision(&held, &pinned), Some((Role::Stable, 3)));
    held.acked(revision("u", 3), Some(&pinned));
    assert_eq!(decision(&held, &pinned), None, "a newer revision serves, but this is what was refused");
    held.acked(revision("u", 3), Some(&assignment(7, 3, None)));
    assert!(held.rejection.is_none(), "unpinned, nobody asks for it");
}

#[test]
fn a_pin_is_taken_and_given_back() {
    let mut held = Held { applied: Some(revision("u", 3)), rejection: None };
    let pinned = assignment(7, 3, Some(1));
    held.acked(revision("u", 1), Some(&pinned));
    assert_eq!(decision(&held, &pinned), None);
    assert_eq!(decision(&held, &assignment(7, 3, None)), Some((Role::Stable, 3)));
}

#[test]
fn what_the_process_before_died_with_was_refused() {
    let crashed = v1::Rejection { reason: "Crashed".into(), ..rejection(2, 2, "died") };
    let mut held = Held { applied: None, rejection: Some(crashed) };
    let rollout = assignment(2, 1, Some(2));
    assert_eq!(decision(&held, &rollout), Some((Role::Stable, 1)), "not again in this rollout");
    held.acked(revision("u", 1), Some(&rollout));
    assert_eq!(decision(&held, &rollout), None);
    assert_eq!(decision(&held, &assignment(2, 2, None)), Some((Role::Stable, 2)), "all others run it");
    assert_eq!(decision(&held, &assignment(3, 1, Some(2))), Some((Role::Next, 2)));
    held.acked(revision("u", 2), None);
    assert!(held.rejection.is_none());
}
