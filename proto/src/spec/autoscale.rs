//! `spec.autoscale` as written -> a rule that can be followed.
//!
//! Called by [`super`] for each pool. Defaults and limits live here. Pure.

use std::time::Duration;

use super::{Check, InvalidShare, MAX_CONNECTIONS, MAX_MESSAGE_RATE, MAX_REPLICAS, Share};
use crate::v1;
use v1::autoscale::{ScaleRules, Target};

/// Fewest nodes where no number is given.
pub const DEFAULT_MIN_REPLICAS: u32 = 1;
/// How far the average may be from the target, where nothing is given.
pub const DEFAULT_TOLERANCE: Share = Share::percent(10);
/// How more nodes come, where nothing is given.
pub const DEFAULT_UP: ScaleRulesPlan = ScaleRulesPlan {
    stabilization: Duration::ZERO,
    step: ScaleStep { nodes: 4, share: Share::ALL },
    period: Duration::from_secs(15),
};
/// How nodes go, where nothing is given.
pub const DEFAULT_DOWN: ScaleRulesPlan = ScaleRulesPlan {
    stabilization: Duration::from_secs(300),
    step: ScaleStep { nodes: 1, share: Share::percent(10) },
    period: Duration::from_secs(60),
};
/// Longest stabilization and period: the wishes of that time are remembered.
pub const MAX_SCALE_TIME: Duration = Duration::from_secs(3600);
/// Smallest share of any kind.
const LEAST_SHARE: Share = Share::percent(1);

/// How many nodes a pool has, by what they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoscalePlan {
    /// Fewest nodes; at least one.
    pub min: u32,
    /// Most nodes; not below `min`.
    pub max: u32,
    /// What a node should have on the average.
    pub targets: TargetPlan,
    /// No change while the average is within this share of the target.
    pub tolerance: Share,
    /// How more nodes come.
    pub up: ScaleRulesPlan,
    /// How nodes go.
    pub down: ScaleRulesPlan,
}

/// What a node should have on the average; at least one is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetPlan {
    /// TCP connections and UDP flows.
    pub connections: Option<u32>,
    /// Messages a second.
    pub messages: Option<u64>,
    /// CPU time, as a share of the cores that it may use.
    pub cpu: Option<Share>,
}

/// How a pool goes one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleRulesPlan {
    /// The mildest wish of so long a time counts.
    pub stabilization: Duration,
    /// How far one change may go.
    pub step: ScaleStep,
    /// Least time between two changes.
    pub period: Duration,
}

/// How far one change may go: the larger of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleStep {
    nodes: u32,
    share: Share,
}

impl ScaleStep {
    /// Most nodes that may come or go where there are so many; at least one.
    pub fn of(self, replicas: u32) -> u32 {
        let share = u32::try_from(self.share.of(replicas as usize)).unwrap_or(u32::MAX);
        self.nodes.max(share).max(1)
    }
}

impl Check {
    pub(super) fn autoscale(&mut self, path: &str, autoscale: &v1::Autoscale) -> AutoscalePlan {
        let (min, max) = (autoscale.min_replicas.unwrap_or(DEFAULT_MIN_REPLICAS), autoscale.max_replicas);
        self.at_most(&format!("{path}.maxReplicas"), max.into(), MAX_REPLICAS.into());
        if min == 0 {
            self.fail(&format!("{path}.minReplicas"), "must be at least 1: of no node there is nothing to scale by");
        }
        if max == 0 {
            self.fail(&format!("{path}.maxReplicas"), "required, and at least 1");
        } else if min > max {
            self.fail(&format!("{path}.minReplicas"), format!("{min} is above maxReplicas, {max}"));
        }
        let tolerance = autoscale.tolerance.as_deref();
        let tolerance = tolerance.and_then(|text| self.least_share(&format!("{path}.tolerance"), text));
        AutoscalePlan {
            min,
            max,
            targets: self.targets(&format!("{path}.target"), autoscale.target.as_ref()),
            tolerance: tolerance.unwrap_or(DEFAULT_TOLERANCE),
            up: self.scale_rules(&format!("{path}.up"), autoscale.up.as_ref(), DEFAULT_UP),
            down: self.scale_rules(&format!("{path}.down"), autoscale.down.as_ref(), DEFAULT_DOWN),
        }
    }

    fn targets(&mut self, path: &str, target: Option<&Target>) -> TargetPlan {
        let target = target.cloned().unwrap_or_default();
        let numbers = [
            ("connections", target.connections.map(u64::from), u64::from(MAX_CONNECTIONS)),
            ("messages", target.messages, MAX_MESSAGE_RATE),
        ];
        for (field, given, max) in numbers {
            if given.is_some_and(|given| !(1..=max).contains(&given)) {
                self.fail(&format!("{path}.{field}"), format!("must be 1 to {max}"));
            }
        }
        if target == Target::default() {
            self.fail(path, "at least one of connections, messages and cpu is required");
        }
        let cpu = target.cpu.as_deref().and_then(|text| self.least_share(&format!("{path}.cpu"), text));
        TargetPlan { connections: target.connections, messages: target.messages, cpu }
    }

    fn scale_rules(&mut self, path: &str, rules: Option<&ScaleRules>, default: ScaleRulesPlan) -> ScaleRulesPlan {
        let Some(rules) = rules else { return default };
        let times =
            [("stabilization", rules.stabilization, default.stabilization), ("period", rules.period, default.period)];
        let [stabilization, period] = times.map(|(field, given, default)| {
            let path = format!("{path}.{field}");
            let time = self.duration(&path, given, default);
            if time > MAX_SCALE_TIME {
                self.fail(&path, format!("must be at most {MAX_SCALE_TIME:?}"));
            }
            time
        });
        let step = rules.step.as_deref().and_then(|text| self.scale_step(&format!("{path}.step"), text));
        ScaleRulesPlan { stabilization, step: step.unwrap_or(default.step), period }
    }

    fn scale_step(&mut self, path: &str, text: &str) -> Option<ScaleStep> {
        if text.ends_with('%') {
            return Some(ScaleStep { nodes: 0, share: self.least_share(path, text)? });
        }
        match text.parse() {
            Ok(nodes) if (1..=MAX_REPLICAS).contains(&nodes) => Some(ScaleStep { nodes, share: Share::percent(0) }),
            _ => {
                let cause =
                    format!("{text:?}: must be a number of nodes, 1 to {MAX_REPLICAS}, or a share like \"50%\"");
                self.fail(path, cause);
                None
            }
        }
    }

    /// A share that is not below the least.
    fn least_share(&mut self, path: &str, text: &str) -> Option<Share> {
        let read = text.parse::<Share>().map_err(|error: InvalidShare| format!("{text:?}: {error}"));
        match read.and_then(|share| {
            if share >= LEAST_SHARE { Ok(share) } else { Err(format!("{share} is too small; at least {LEAST_SHARE}")) }
        }) {
            Ok(share) => Some(share),
            Err(cause) => {
                self.fail(path, cause);
                None
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<AutoscalePlan, Vec<String>> {
        let document = serde_json::from_str(json).unwrap();
        let decoded = crate::codec::decode::<v1::Autoscale>(&document, crate::codec::Strictness::Strict);
        assert!(decoded.errors.is_empty(), "{:?}", decoded.errors);
        let mut check = Check::default();
        let plan = check.autoscale("a", &decoded.message);
        let errors: Vec<String> = check.errors.iter().map(ToString::to_string).collect();
        if errors.is_empty() { Ok(plan) } else { Err(errors) }
    }

    #[test]
    fn what_is_not_given_has_defaults() {
        let plan = check(r#"{"maxReplicas": 9, "target": {"connections": 100}}"#).unwrap();
        let targets = TargetPlan { connections: Some(100), ..TargetPlan::default() };
        let tolerance = DEFAULT_TOLERANCE;
        assert_eq!(plan, AutoscalePlan { min: 1, max: 9, targets, tolerance, up: DEFAULT_UP, down: DEFAULT_DOWN });
        assert_eq!([1, 4, 9].map(|replicas| plan.up.step.of(replicas)), [4, 4, 9]);
        assert_eq!([1, 10, 11].map(|replicas| plan.down.step.of(replicas)), [1, 1, 2]);
    }

    #[test]
    fn what_is_given_is_taken_over_whole() {
        let written = r#"{"minReplicas": 2, "maxReplicas": 2, "target": {"connections": 1, "messages": "7", "cpu": "70%"},
            "tolerance": "5%", "up": {"stabilization": "3s", "step": "4", "period": "0s"}, "down": {"step": "50%"}}"#;
        let plan = check(written).unwrap();
        let cpu = Some(Share::percent(70));
        assert_eq!(plan.targets, TargetPlan { connections: Some(1), messages: Some(7), cpu });
        assert_eq!((plan.min, plan.max, plan.tolerance), (2, 2, Share::percent(5)));
        assert_eq!((plan.up.stabilization, plan.up.period), (Duration::from_secs(3), Duration::ZERO));
        assert_eq!((plan.up.step.of(100), plan.down.step.of(3), plan.down.step.of(0)), (4, 2, 1));
        assert_eq!(plan.down.stabilization, DEFAULT_DOWN.stabilization);
    }

    #[test]
    fn what_can_not_be_followed_is_refused_with_its_path() {
        let table = [
            (r#""maxReplicas": 0"#, "a.maxReplicas: required"),
            (r#""maxReplicas": 100001"#, "a.maxReplicas: 100001 is too large"),
            (r#""minReplicas": 3, "maxReplicas": 2"#, "a.minReplicas: 3 is above maxReplicas, 2"),
            (r#""minReplicas": 0, "maxReplicas": 2"#, "a.minReplicas: must be at least 1"),
            (r#""maxReplicas": 2, "target": {}"#, "a.target: at least one of"),
            (r#""maxReplicas": 2, "target": {"connections": 0}"#, "a.target.connections: must be 1 to 1000000"),
            (r#""maxReplicas": 2, "target": {"messages": 0}"#, "a.target.messages: must be 1 to 1000000000"),
            (r#""maxReplicas": 2, "target": {"cpu": "0.5%"}"#, "a.target.cpu: 0.5% is too small; at least 1%"),
            (r#""maxReplicas": 2, "target": {"cpu": "70"}"#, "a.target.cpu: \"70\": must be a share"),
            (r#""maxReplicas": 2, "tolerance": "0%""#, "a.tolerance: 0% is too small"),
            (r#""maxReplicas": 2, "up": {"step": "0"}"#, "a.up.step: \"0\": must be a number"),
            (r#""maxReplicas": 2, "up": {"step": "0%"}"#, "a.up.step: 0% is too small"),
            (r#""maxReplicas": 2, "down": {"step": "many"}"#, "a.down.step: \"many\": must be a number"),
            (r#""maxReplicas": 2, "down": {"period": "2h"}"#, "a.down.period: must be at most 3600s"),
            (r#""maxReplicas": 2, "down": {"stabilization": "2h"}"#, "a.down.stabilization: must be at most 3600s"),
        ];
        for (written, expected) in table {
            let found = check(&format!("{{{written}}}")).unwrap_err();
            assert!(found.iter().any(|error| error.starts_with(expected)), "{written}: {found:?}");
        }
    }
}
