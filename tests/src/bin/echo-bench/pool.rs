//! What nodes serve here: the guard as it is by default, and every limit set, though to what the load does not reach,
//! so that its price is paid; loopback sources are limited since the rates are given.
//!
//! Used by [`crate::server`]. Features are weighed by what differs from that in one point.

/// As it is measured beside other servers.
const FULL: &str = include_str!("pool.yaml");
/// Limits that there are only where they are given.
const GIVEN: [&str; 4] = ["perSource", "perListener", "maxConnectionsPerSource", "maxLifetime"];
/// The load's range, and those of the weighing that it is in none of.
const OURS: &str = "127.0.0.0/8";
/// Most ranges of a guard.
const RANGES: u8 = 64;

/// Which pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Guard and limits on.
    Full,
    /// No limit but those that are always there.
    NoLimits,
    /// Datagrams are answered to one range.
    OneRange,
    /// As many ranges as there can be, the load's the last of them.
    ManyRanges,
    /// Shards go on looking for packets for a while before they sleep.
    BusyPoll,
}

impl Setup {
    /// Its pool file.
    pub(crate) fn file(self) -> String {
        match self {
            Self::Full => FULL.to_owned(),
            Self::NoLimits => {
                let given = |line: &str| GIVEN.iter().any(|limit| line.contains(limit));
                FULL.lines().filter(|line| !given(line)).map(|line| format!("{line}\n")).collect()
            }
            Self::OneRange => guard(OURS),
            Self::ManyRanges => {
                let others = (1..RANGES).map(|n| format!("10.{n}.0.0/16, ")).collect::<String>();
                guard(&(others + OURS))
            }
            Self::BusyPoll => FULL.replace("busyPoll: 0s", "busyPoll: 50us"),
        }
    }
}

fn guard(ranges: &str) -> String {
    FULL.replace("guard: {}", &format!("guard: {{allow: [{ranges}]}}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::time::Duration;

    use echo_proto::codec;
    use echo_proto::spec::{self, GuardPlan, Plan, Protocol, RatePlan};

    use super::*;

    fn plan(setup: Setup) -> Plan {
        let document = codec::parse_yaml(&setup.file()).unwrap().remove(0);
        spec::read_pool(&document).unwrap().1.template
    }

    #[test]
    fn every_limit_is_set_and_holds_for_loopback_sources() {
        let plan = plan(Setup::Full);
        let default = spec::LimitsPlan::default();
        assert_ne!(plan.limits.max_connections, default.max_connections);
        assert!(plan.limits.max_connections_per_source.is_some() && plan.limits.max_lifetime.is_some());
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for RatePlan { messages, bytes } in
                [plan.limits.source_rate(protocol, true), plan.limits.listener_rate(protocol, true)]
            {
                assert!(messages.is_some() && bytes.is_some(), "{protocol:?}");
            }
        }
        assert!(plan.listeners.iter().all(|listener| listener.guard == GuardPlan::default()));
        assert_eq!(plan.busy_poll, Duration::ZERO);
    }

    #[test]
    fn the_others_differ_in_one_point() {
        let full = plan(Setup::Full);
        let free = plan(Setup::NoLimits);
        assert_eq!(free.limits.source_rate(Protocol::Udp, true), RatePlan::default());
        assert_eq!(free.limits.listener_rate(Protocol::Udp, true), RatePlan::default());
        assert_eq!(Plan { limits: full.limits.clone(), ..free }, full);
        for (setup, ranges) in [(Setup::OneRange, 1), (Setup::ManyRanges, spec::MAX_RANGES)] {
            let guarded = plan(setup);
            assert_eq!(guarded.listeners[1].guard.allow.as_ref().map(Vec::len), Some(ranges));
            assert_eq!(Plan { listeners: full.listeners.clone(), ..guarded }, full);
        }
        let busy = plan(Setup::BusyPoll);
        assert_eq!(busy.busy_poll, Duration::from_micros(50));
        assert_eq!(Plan { busy_poll: Duration::ZERO, ..busy }, full);
    }
}
