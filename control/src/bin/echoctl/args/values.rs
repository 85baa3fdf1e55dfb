//! Values of flags as people write them; value parsers for clap.
//!
//! Used by the flags of all verbs. Pure. A bad value is told in one line with what is expected.

use std::net::SocketAddr;
use std::time::Duration;

use echo_control::selector::Selector;
use echo_proto::codec;

/// A duration that can be waited for.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected a duration longer than 0s".to_owned()),
        time => Ok(time),
    }
}

/// A duration as people write it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    codec::parse_duration(text).ok_or_else(|| "expected a duration such as 10s, 500ms or 1h30m".to_owned())
}

/// Labels as control reads them.
pub(crate) fn selector(text: &str) -> Result<String, String> {
    text.parse::<Selector>().map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// The number of a revision.
pub(crate) fn revision(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected the number of a revision; `echoctl get revisions` lists them".to_owned())
}

/// A share in percent.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>().ok();
    let known = number.filter(|percent| (0.0..=100.0).contains(percent));
    known.ok_or_else(|| "expected a percentage from 0% to 100%, such as 1% or 0.1%".to_owned())
}

/// How many.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u32::MAX))
}

/// How many, of what there must be some.
pub(crate) fn several(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a whole number from 1 on".to_owned())
}

/// Where to listen.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, as in 127.0.0.1:7400".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages() {
        assert_eq!((percent("1%"), percent("0.1"), percent("100 %")), (Ok(1.0), Ok(0.1), Ok(100.0)));
        for bad in ["-1%", "101%", "NaN", "x", ""] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_timeout_is_a_duration_that_can_be_waited_for() {
        assert_eq!(timeout("1m30s"), Ok(Duration::from_secs(90)));
        assert!(timeout("5").is_err_and(|told| told.contains("such as 10s")));
        assert!(timeout("0s").is_err_and(|told| told.contains("longer than 0s")));
    }
}
