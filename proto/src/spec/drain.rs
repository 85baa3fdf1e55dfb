//! How a node leaves: `template.drain` as written -> a plan of waits that have an end.
//!
//! Called by [`super`] for each template. Pure.

use std::time::Duration;

use super::{Check, MAX_DURATION};
use crate::v1;

/// Quiet after which UDP counts as drained, where none is given.
pub const DEFAULT_UDP_QUIET: Duration = Duration::from_secs(10);
/// Drain deadline where none is given.
pub const DEFAULT_DRAIN_DEADLINE: Duration = Duration::from_secs(60);

/// How a node leaves. Load balancers go on sending to it for `lame_duck`; `deadline` begins after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainPlan {
    /// What comes in so long after the node said that it drains is still accepted.
    pub lame_duck: Duration,
    /// UDP is drained after so long without a datagram.
    pub udp_quiet: Duration,
    /// Open connections are closed after so long.
    pub deadline: Duration,
}

impl DrainPlan {
    /// The longest that a drain may take.
    pub fn longest(&self) -> Duration {
        self.lame_duck.saturating_add(self.deadline)
    }
}

impl Default for DrainPlan {
    fn default() -> Self {
        Self { lame_duck: Duration::ZERO, udp_quiet: DEFAULT_UDP_QUIET, deadline: DEFAULT_DRAIN_DEADLINE }
    }
}

impl Check {
    pub(super) fn drain(&mut self, path: &str, drain: &v1::DrainPolicy) -> DrainPlan {
        let default = DrainPlan::default();
        let plan = DrainPlan {
            lame_duck: self.duration(&format!("{path}.lameDuck"), drain.lame_duck, default.lame_duck),
            udp_quiet: self.duration(&format!("{path}.udpQuiet"), drain.udp_quiet, default.udp_quiet),
            deadline: self.duration(&format!("{path}.deadline"), drain.deadline, default.deadline),
        };
        if plan.longest() > MAX_DURATION {
            let longest = plan.longest();
            self.fail(path, format!("lameDuck and deadline are {longest:?} together; at most {MAX_DURATION:?}"));
        }
        plan
    }
}
