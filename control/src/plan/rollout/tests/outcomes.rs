//! What became of the pool's revisions, told by its newest rollout.

use v1::RevisionEnd::{self as End, Aborted, Completed, Reverted, Skipped, Superseded};
use v1::RolloutOrderKind::Abort;

use super::*;

impl World {
    fn outcomes(&self) -> Vec<(u32, End)> {
        self.rollout().outcomes.iter().map(|outcome| (outcome.n, outcome.end())).collect()
    }

    /// A revision that is tried, and ends as `end` makes it.
    fn tried(&mut self, n: u32, end: impl FnOnce(&mut Self)) {
        self.apply(n);
        assert_eq!(self.writes(), Phase::Progressing);
        self.ack(1, n);
        end(self);
        self.writes();
        self.ack(1, self.stable());
        if self.rollout().phase() == Phase::Reverting {
            self.writes();
        }
    }
}

#[test]
fn the_newest_rollout_tells_what_became_of_those_before() {
    let mut world = World::new(1);
    assert_eq!(world.outcomes(), [(1, Completed)]);
    world.tried(2, |_| {});
    world.tried(3, |world| world.nack(1, 3));
    world.node(1).rejection = None;
    world.tried(4, |world| world.order(Abort));
    world.tried(5, |world| world.apply(8));
    let ended = [(1, Completed), (2, Completed), (3, Reverted), (4, Aborted), (5, Superseded)];
    assert_eq!(world.outcomes(), ended);
    assert_eq!(world.writes(), Phase::Progressing);
    assert_eq!(world.outcomes()[5..], [(6, Skipped), (7, Skipped)], "and 8 is open");
    let told = |n: usize| world.rollout().outcomes[n - 1].reason.as_str();
    assert_eq!((told(4), told(5)), ("aborted by ann", "superseded by revision 8"));
    assert_eq!((told(2), told(6)), ("1 of 1 nodes run revision 2", "revision 8 is newer"));
}

#[test]
fn an_abort_stays_one_when_a_newer_revision_comes_at_once() {
    let mut world = World::new(1);
    world.apply(2);
    world.writes();
    world.ack(1, 2);
    world.order(Abort);
    world.writes();
    world.apply(3);
    world.ack(1, 1);
    assert_eq!(world.writes(), Phase::Superseded);
    assert_eq!(world.outcomes(), [(1, Completed), (2, Aborted)]);
}

#[test]
fn of_a_revision_that_was_tried_again_the_last_end_counts_and_of_old_ones_none() {
    let mut world = World::new(1);
    let far = 4_000_000_000;
    world.apply(far);
    world.writes();
    let told = world.outcomes();
    assert_eq!(told.len(), 32);
    assert_eq!((told.first(), told.last()), (Some(&(far - 32, Skipped)), Some(&(far - 1, Skipped))));
    world.pool.metadata.as_mut().unwrap().uid = "uid-2".into();
    world.pool.revision = Some(v1::RevisionRef { uid: "uid-2".into(), ..revision(1) });
    world.writes();
    assert_eq!(world.outcomes(), [(1, Completed)], "another life of the pool's");
}
