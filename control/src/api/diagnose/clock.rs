//! Clocks: how far another process' clock is from ours, and how sure that is.
//!
//! Part of the diagnosis. No decision of ours compares two machines' clocks; people who read events and traces do. Pure.

use std::time::{Duration, SystemTime};

use echo_proto::v1::Finding;

use super::finding::{error, ok, warning};

/// From here on, events of different machines come in the wrong order.
const NOTABLE: f64 = 0.5;
/// From here on, certificates and tokens begin to fail too.
const WRONG: f64 = 5.0;

/// How far ahead a clock is, in seconds; half the round trip is not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Skew {
    pub(super) ahead: f64,
    pub(super) error: f64,
}

/// From the time in an answer to a question of `sent`, which took so long; `None` for a time that is none.
pub(super) fn skew(theirs: prost_types::Timestamp, sent: SystemTime, took: Duration) -> Option<Skew> {
    let theirs = SystemTime::try_from(theirs).ok()?;
    let middle = sent.checked_add(took / 2)?;
    let ahead = match theirs.duration_since(middle) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    };
    Some(Skew { ahead, error: took.as_secs_f64() / 2.0 })
}

/// Doubt is for the clock: what half the round trip explains is no skew.
pub(super) fn judge(object: &str, Skew { ahead, error: doubt }: &Skew) -> Finding {
    let side = if *ahead < 0.0 { "behind" } else { "ahead of" };
    let text = format!("its clock is {:.3} s {side} control's (known to {doubt:.3} s)", ahead.abs());
    let hint = "let NTP or chrony set the clocks of both hosts";
    match ahead.abs() - doubt {
        sure if sure >= WRONG => error("ClockSkew", object, text, hint),
        sure if sure >= NOTABLE => warning("ClockSkew", object, text, hint),
        _ => ok("ClockSkew", object, text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use echo_proto::v1::Severity;

    #[test]
    fn half_the_round_trip_is_no_skew() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let severity = |millis: i64, took: u64| {
            let nanos = i32::try_from(millis.rem_euclid(1_000)).unwrap() * 1_000_000;
            let theirs = prost_types::Timestamp { seconds: 1_000 + millis.div_euclid(1_000), nanos };
            judge("node/n", &skew(theirs, now, Duration::from_millis(took)).unwrap()).severity()
        };
        assert_eq!(severity(0, 1), Severity::Ok);
        assert_eq!(severity(600, 2), Severity::Warning);
        assert_eq!(severity(-600, 2), Severity::Warning);
        assert_eq!(severity(600, 800), Severity::Ok, "it may all be the way");
        assert_eq!(severity(6_000, 2), Severity::Error);
        for seconds in [i64::MIN, i64::MAX] {
            let absurd = prost_types::Timestamp { seconds, nanos: i32::MAX };
            let skew = skew(absurd, now, Duration::ZERO);
            assert!(skew.is_none_or(|skew| judge("node/n", &skew).severity() == Severity::Error));
        }
    }
}
