//! The steps of a rollout: canaries, then waves, or one over all.
//!
//! Read from the policy that the rollout began with. Pure arithmetic: who is in a step is [`super::pick`]'s work.

use echo_proto::spec::{RolloutPlan, Share};
use echo_proto::v1;

/// A rollout's steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps {
    canaries: u32,
    /// Never empty.
    waves: Vec<Share>,
}

impl Steps {
    /// The steps by `policy`; with `now`, whatever it says, one over the whole pool.
    pub(super) fn of(policy: &RolloutPlan, now: bool) -> Self {
        if now || policy.waves.is_empty() {
            return Self { canaries: 0, waves: vec![Share::ALL] };
        }
        Self { canaries: policy.canaries, waves: policy.waves.clone() }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        // At most MAX_WAVES.
        u32::from(self.canaries > 0) + self.waves.len() as u32
    }

    /// The step that a rollout says it is in; one beyond the last is the last.
    pub(super) fn at(&self, rollout: &v1::Rollout) -> u32 {
        rollout.step.min(self.count().saturating_sub(1))
    }

    pub(super) fn is_canary(&self, step: u32) -> bool {
        self.canaries > 0 && step == 0
    }

    pub(super) fn is_last(&self, step: u32) -> bool {
        step.saturating_add(1) >= self.count()
    }

    /// How many of `nodes` are to have `next` in a step.
    pub(super) fn target(&self, step: u32, nodes: usize) -> usize {
        let canaries = (self.canaries as usize).min(nodes);
        if self.is_canary(step) {
            return canaries;
        }
        let wave = step.saturating_sub(u32::from(self.canaries > 0)) as usize;
        self.waves.get(wave).map_or(nodes, |share| share.of(nodes)).max(canaries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(canaries: u32, waves: &[u32], nodes: usize) -> Vec<usize> {
        let waves = waves.iter().map(|percent| Share::percent(*percent)).collect();
        let steps = Steps::of(&RolloutPlan { canaries, waves, ..RolloutPlan::default() }, false);
        (0..steps.count()).map(|step| steps.target(step, nodes)).collect()
    }

    #[test]
    fn shares_are_rounded_up_and_include_the_canaries() {
        assert_eq!(targets(1, &[25, 100], 3), [1, 1, 3]);
        assert_eq!(targets(1, &[25, 100], 10), [1, 3, 10]);
        assert_eq!(targets(5, &[25, 100], 10), [5, 5, 10]);
        assert_eq!(targets(0, &[50, 100], 10), [5, 10]);
        assert_eq!(targets(2, &[100], 1), [1, 1]);
        assert_eq!(targets(1, &[25, 100], 0), [0, 0, 0]);
    }

    #[test]
    fn now_is_one_step_over_all() {
        let steps = Steps::of(&RolloutPlan::default(), true);
        assert_eq!((steps.count(), steps.target(0, 7)), (1, 7));
        assert!(steps.is_last(0) && !steps.is_canary(0));
    }

    #[test]
    fn a_step_out_of_range_is_the_last() {
        let steps = Steps::of(&RolloutPlan::default(), false);
        assert_eq!(steps.at(&v1::Rollout { step: 9, ..Default::default() }), 2);
        assert!(steps.is_last(2) && !steps.is_last(1) && steps.is_canary(0));
    }
}
