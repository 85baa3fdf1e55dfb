//! Whether so many nodes vanished at once that no config is to blame: a rack, a zone, a network.
//!
//! Asked by the drive about every pool in each pass; time is passed in. Nobody should be given or taken anything then.

use std::time::Duration;

use echo_proto::v1;
use tokio::time::Instant;

/// How long the record of a node outlives it, where that does not say so.
pub(super) const DEFAULT_LEASE_TTL: Duration = Duration::from_secs(10);
/// So many nodes are at least a mass.
const AT_LEAST: usize = 3;
/// And more than one in so many.
const ONE_IN: usize = 5;
/// Who is gone for less may only be starting again: its old record goes before its new one comes.
pub const SETTLE: Duration = Duration::from_secs(1);

/// How many of how many nodes vanished within one time to live of their records, if that is a mass loss.
///
/// `vanished` says when each of those that are gone went, of which only those after `since` are new; `live` are there.
pub fn mass_loss(
    vanished: impl Iterator<Item = Instant>,
    live: usize,
    lease_ttl: Duration,
    since: Instant,
    now: Instant,
) -> Option<(usize, usize)> {
    let new = |at: &Instant| {
        let gone = now.saturating_duration_since(*at);
        *at > since && gone >= SETTLE && gone < lease_ttl + SETTLE
    };
    let lost = vanished.filter(new).count();
    let all = live.saturating_add(lost);
    (lost >= AT_LEAST && lost.saturating_mul(ONE_IN) > all).then_some((lost, all))
}

/// The longest time that the record of one of these nodes outlives it; `None` where there are no nodes.
pub fn lease_ttl<'a>(nodes: impl Iterator<Item = &'a v1::NodeStatus>) -> Option<Duration> {
    let told = |status: &v1::NodeStatus| status.lease_ttl.and_then(|ttl| Duration::try_from(ttl).ok());
    nodes.map(|status| told(status).unwrap_or(DEFAULT_LEASE_TTL)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_mass_is_at_least_three_and_more_than_a_fifth_within_one_ttl() {
        let begun = Instant::now();
        let now = begun + TTL * 5;
        let gone = |lost: usize, live| mass_loss(vec![now - SETTLE; lost].into_iter(), live, TTL, begun, now);
        assert_eq!(gone(2, 0), None, "too few to tell");
        assert_eq!(gone(3, 0), Some((3, 3)));
        assert_eq!(gone(3, 12), None, "a fifth is not more than a fifth");
        assert_eq!(gone(3, 11), Some((3, 14)));
    }

    #[test]
    fn who_went_long_ago_or_is_known_of_does_not_count() {
        let begun = Instant::now();
        let now = begun + TTL * 5;
        let times = |ago: [u32; 3]| ago.map(|ago| now - Duration::from_secs(ago.into())).into_iter();
        assert_eq!(mass_loss(times([1, 5, 10]), 1, TTL, begun, now), Some((3, 4)));
        assert_eq!(mass_loss(times([0, 5, 10]), 1, TTL, begun, now), None, "one may only be starting again");
        assert_eq!(mass_loss(times([1, 5, 11]), 1, TTL, begun, now), None);
        assert_eq!(mass_loss(times([1, 5, 10]), 1, TTL, now - Duration::from_secs(10), now), None);
    }
}
