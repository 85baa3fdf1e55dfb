//! How fast sources and listeners may send: `limits.perSource` and `limits.perListener` as written -> rates, and which of
//! them hold where none is written.
//!
//! Called by [`super`] for each template; asked by nodes for each listener. Pure.

use super::{Check, LimitsPlan, Protocol};
use crate::v1;

/// Datagrams a second of one source, where no number is given.
pub const DEFAULT_SOURCE_DATAGRAMS: u64 = 100_000;
/// Datagrams a second of one listener, where no number is given.
pub const DEFAULT_LISTENER_DATAGRAMS: u64 = 1_000_000;
/// Highest rate of messages.
pub const MAX_MESSAGE_RATE: u64 = 1_000_000_000;
/// Highest rate of bytes.
pub const MAX_BYTE_RATE: u64 = 1_000_000_000_000;

/// What may come a second; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RatePlan {
    /// Datagrams and TCP reads.
    pub messages: Option<u64>,
    /// Bytes of payload.
    pub bytes: Option<u64>,
}

impl RatePlan {
    /// Defaults bound datagrams only, and nobody on this host: there is no network in between to protect.
    fn or_default(self, datagrams: u64, protocol: Protocol, loopback: bool) -> Self {
        let default = (protocol == Protocol::Udp && !loopback).then_some(datagrams);
        Self { messages: self.messages.or(default), ..self }
    }
}

impl LimitsPlan {
    /// What one source may send to listeners of `protocol`.
    pub fn source_rate(&self, protocol: Protocol, loopback: bool) -> RatePlan {
        self.per_source.or_default(DEFAULT_SOURCE_DATAGRAMS, protocol, loopback)
    }

    /// What all sources of a kind together may send to one listener of `protocol`.
    pub fn listener_rate(&self, protocol: Protocol, loopback: bool) -> RatePlan {
        self.per_listener.or_default(DEFAULT_LISTENER_DATAGRAMS, protocol, loopback)
    }
}

impl Check {
    pub(super) fn rate(&mut self, path: &str, rate: Option<&v1::Rate>) -> RatePlan {
        let rate = rate.copied().unwrap_or_default();
        for (field, given, max) in [("messages", rate.messages, MAX_MESSAGE_RATE), ("bytes", rate.bytes, MAX_BYTE_RATE)]
        {
            if given.is_some_and(|given| !(1..=max).contains(&given)) {
                self.fail(&format!("{path}.{field}"), format!("must be 1 to {max} a second"));
            }
        }
        RatePlan { messages: rate.messages, bytes: rate.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_source: RatePlan) -> LimitsPlan {
        LimitsPlan { per_source, ..LimitsPlan::default() }
    }

    #[test]
    fn by_default_only_datagrams_from_other_hosts_are_limited() {
        let plan = limits(RatePlan::default());
        for (protocol, loopback, source, listener) in [
            (Protocol::Udp, false, Some(100_000), Some(1_000_000)),
            (Protocol::Udp, true, None, None),
            (Protocol::Tcp, false, None, None),
        ] {
            assert_eq!(plan.source_rate(protocol, loopback), RatePlan { messages: source, bytes: None });
            assert_eq!(plan.listener_rate(protocol, loopback), RatePlan { messages: listener, bytes: None });
        }
    }

    #[test]
    fn a_rate_that_is_given_holds_for_everybody() {
        let given = RatePlan { messages: Some(5), bytes: Some(7) };
        for (protocol, loopback) in [(Protocol::Udp, true), (Protocol::Udp, false), (Protocol::Tcp, true)] {
            assert_eq!(limits(given).source_rate(protocol, loopback), given);
        }
        let bytes_only = RatePlan { messages: None, bytes: Some(7) };
        let expected = RatePlan { messages: Some(DEFAULT_SOURCE_DATAGRAMS), bytes: Some(7) };
        assert_eq!(limits(bytes_only).source_rate(Protocol::Udp, false), expected);
    }
}
