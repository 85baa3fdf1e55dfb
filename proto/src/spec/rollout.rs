//! `spec.rollout` as written -> a policy that comes to an end.
//!
//! Called by [`super`] for each pool, and by the leader for the policy that a rollout began with. Defaults and limits
//! live here. Pure.

use std::time::Duration;

use super::{Check, Share};
use crate::codec::FieldErrors;
use crate::v1;

/// Canaries where no number is given.
pub const DEFAULT_CANARIES: u32 = 1;
/// Most canaries: they are named one by one in the assignment that every node reads.
pub const MAX_CANARIES: u32 = 100;
/// Waves where none are given.
pub const DEFAULT_WAVES: [Share; 2] = [Share::percent(25), Share::ALL];
/// Most waves.
pub const MAX_WAVES: usize = 32;
/// How long a canary or wave must be healthy, where nothing is given.
pub const DEFAULT_MIN_HEALTHY: Duration = Duration::from_secs(10);
/// Longest that it may be asked to: with every wave a rollout takes so long, and nobody watches one for days.
pub const MAX_MIN_HEALTHY: Duration = Duration::from_secs(3600);
/// Time that nodes have to answer a rollout where none is given.
pub const DEFAULT_ACK_DEADLINE: Duration = Duration::from_secs(30);
/// Shortest time to answer: no node is faster than its etcd.
pub const MIN_ACK_DEADLINE: Duration = Duration::from_millis(100);
/// How much more of their traffic nodes may fail on a new revision, where nothing is given.
pub const DEFAULT_MAX_FAILURES: Share = Share::percent(1);

/// How a new revision reaches the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutPlan {
    /// Nodes that try it before all others; with none, the first wave is the trial.
    pub canaries: u32,
    /// Cumulative shares of the pool, canaries included: at least one, ascending, the last is all.
    pub waves: Vec<Share>,
    /// Each canary step and each wave must be healthy for so long.
    pub min_healthy: Duration,
    /// Time that nodes have to answer.
    pub ack_deadline: Duration,
    /// Go back by itself when something is wrong; else pause.
    pub auto_revert: bool,
    /// How much more of their traffic nodes may fail than before.
    pub max_failures: Share,
}

impl Default for RolloutPlan {
    fn default() -> Self {
        Self {
            canaries: DEFAULT_CANARIES,
            waves: DEFAULT_WAVES.to_vec(),
            min_healthy: DEFAULT_MIN_HEALTHY,
            ack_deadline: DEFAULT_ACK_DEADLINE,
            auto_revert: true,
            max_failures: DEFAULT_MAX_FAILURES,
        }
    }
}

/// Checks a rollout's policy by itself, as the rollout's record keeps it.
///
/// # Errors
/// Every mistake, with its path from the policy.
pub fn check_rollout(policy: &v1::RolloutPolicy) -> Result<RolloutPlan, FieldErrors> {
    let mut check = Check::default();
    let plan = check.rollout("", policy);
    if check.errors.is_empty() { Ok(plan) } else { Err(FieldErrors(check.errors)) }
}

impl Check {
    pub(super) fn rollout(&mut self, path: &str, policy: &v1::RolloutPolicy) -> RolloutPlan {
        let canaries = policy.canary.unwrap_or(DEFAULT_CANARIES);
        self.at_most(&format!("{path}.canary"), canaries.into(), MAX_CANARIES.into());
        if canaries == 0 && policy.waves.is_empty() {
            let cause = "0 with no waves: nobody is to try a revision first; name the waves, or one canary";
            self.fail(&format!("{path}.canary"), cause);
        }
        let min_healthy = self.duration(&format!("{path}.minHealthy"), policy.min_healthy, DEFAULT_MIN_HEALTHY);
        if min_healthy > MAX_MIN_HEALTHY {
            self.fail(&format!("{path}.minHealthy"), format!("must be at most {MAX_MIN_HEALTHY:?}"));
        }
        let ack_deadline = self.duration(&format!("{path}.ackDeadline"), policy.ack_deadline, DEFAULT_ACK_DEADLINE);
        if ack_deadline < MIN_ACK_DEADLINE {
            let cause = format!("must be at least {MIN_ACK_DEADLINE:?}: no node could answer in time");
            self.fail(&format!("{path}.ackDeadline"), cause);
        }
        RolloutPlan {
            canaries,
            waves: self.waves(&format!("{path}.waves"), &policy.waves),
            min_healthy,
            ack_deadline,
            auto_revert: policy.auto_revert.unwrap_or(true),
            max_failures: self.max_failures(&format!("{path}.maxFailures"), policy.max_failures.as_deref()),
        }
    }

    fn waves(&mut self, path: &str, given: &[String]) -> Vec<Share> {
        if given.is_empty() {
            return DEFAULT_WAVES.to_vec();
        }
        if given.len() > MAX_WAVES {
            self.fail(path, format!("{} waves; at most {MAX_WAVES}", given.len()));
        }
        let mut waves: Vec<Share> = Vec::with_capacity(given.len());
        for (place, text) in given.iter().enumerate() {
            let path = format!("{path}[{place}]");
            match text.parse::<Share>() {
                Err(error) => self.fail(&path, format!("{text:?}: {error}")),
                Ok(share) if share.is_none() => self.fail(&path, "must be above 0%"),
                Ok(share) => {
                    if let Some(before) = waves.last().filter(|before| **before >= share) {
                        self.fail(&path, format!("{share} is not above {before}: waves are cumulative, and ascend"));
                    }
                    waves.push(share);
                }
            }
        }
        // Said of a last wave that can be read only.
        if waves.len() == given.len() && waves.last() != Some(&Share::ALL) {
            self.fail(path, "must end in 100%: the rollout would never end");
        }
        waves
    }

    fn max_failures(&mut self, path: &str, given: Option<&str>) -> Share {
        let Some(text) = given else { return DEFAULT_MAX_FAILURES };
        match text.parse::<Share>() {
            Ok(share) if !share.is_none() => share,
            Ok(_) => {
                self.fail(path, "must be above 0%: a single drop would take every revision back");
                DEFAULT_MAX_FAILURES
            }
            Err(error) => {
                self.fail(path, format!("{text:?}: {error}"));
                DEFAULT_MAX_FAILURES
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<RolloutPlan, Vec<String>> {
        let document = serde_json::from_str(json).unwrap();
        let decoded = crate::codec::decode::<v1::RolloutPolicy>(&document, crate::codec::Strictness::Strict);
        assert!(decoded.errors.is_empty(), "{:?}", decoded.errors);
        check_rollout(&decoded.message).map_err(|FieldErrors(found)| found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_empty_policy_is_the_default_one() {
        assert_eq!(check("{}").unwrap(), RolloutPlan::default());
    }

    #[test]
    fn a_policy_is_taken_over_whole() {
        let written = r#"{"canary": 0, "waves": ["0.5%", "50%", "100%"], "minHealthy": "0s", "ackDeadline": "5s",
            "autoRevert": false, "maxFailures": "0.1%"}"#;
        let expected = RolloutPlan {
            canaries: 0,
            waves: ["0.5%", "50%", "100%"].map(|share| share.parse().unwrap()).to_vec(),
            min_healthy: Duration::ZERO,
            ack_deadline: Duration::from_secs(5),
            auto_revert: false,
            max_failures: "0.1%".parse().unwrap(),
        };
        assert_eq!(check(written).unwrap(), expected);
    }

    #[test]
    fn a_policy_that_can_never_finish_is_refused_with_its_path() {
        let table = [
            (r#"{"canary": 0}"#, "canary: 0 with no waves"),
            (r#"{"canary": 101}"#, "canary: 101 is too large"),
            (r#"{"waves": ["50%", "50%", "100%"]}"#, "waves[1]: 50% is not above 50%"),
            (r#"{"waves": ["100%", "25%"]}"#, "waves[1]: 25% is not above 100%"),
            (r#"{"waves": ["25%", "99%"]}"#, "waves: must end in 100%"),
            (r#"{"waves": ["0%", "100%"]}"#, "waves[0]: must be above 0%"),
            (r#"{"waves": ["half", "100%"]}"#, "waves[0]: \"half\": must be a share"),
            (r#"{"minHealthy": "2h"}"#, "minHealthy: must be at most 3600s"),
            (r#"{"ackDeadline": "0s"}"#, "ackDeadline: must be at least 100ms"),
            (r#"{"maxFailures": "0%"}"#, "maxFailures: must be above 0%"),
            (r#"{"maxFailures": "2"}"#, "maxFailures: \"2\": must be a share"),
        ];
        for (written, expected) in table {
            let found = check(written).unwrap_err();
            assert!(found.iter().any(|error| error.starts_with(expected)), "{written}: {found:?}");
        }
        let many =
            format!(r#"{{"waves": ["{}"]}}"#, (1..=33).map(|i| format!("{i}%")).collect::<Vec<_>>().join("\",\""));
        assert!(check(&many).unwrap_err().iter().any(|error| error.starts_with("waves: 33 waves")));
    }
}
