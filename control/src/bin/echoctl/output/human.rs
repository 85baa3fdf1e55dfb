//! Ages, rates and durations in a few characters.
//!
//! Used by tables and by `up`. Pure.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

/// Stands for what is not known.
pub(crate) const NONE: &str = "-";

/// How long ago `time` was, as kubectl writes it: `45s`, `3m12s`, `5h`, `12d`.
///
/// Another machine's clock may run ahead of ours: that is `0s`.
pub(crate) fn age<T: TryInto<SystemTime>>(time: Option<T>, now: SystemTime) -> String {
    let Some(time) = time.and_then(|t| t.try_into().ok()) else { return NONE.to_owned() };
    let s = now.duration_since(time).unwrap_or_default().as_secs();
    let (m, h, d) = (s / 60, s / 3_600, s / 86_400);
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match s {
        0..120 => format!("{s}s"),
        120..600 => two(m, "m", s % 60, "s"),
        600..10_800 => format!("{m}m"),
        10_800..28_800 => two(h, "h", m % 60, "m"),
        28_800..172_800 => format!("{h}h"),
        172_800..691_200 => two(d, "d", h % 24, "h"),
        _ => format!("{d}d"),
    }
}

/// The time of day in UTC, as everything else here writes it: `2026-11-22T21:30:05Z`.
pub(crate) fn clock(time: Option<Timestamp>) -> String {
    // The years 1 to 9999, which protobuf knows; a peer may send others.
    let known = time.filter(|time| (-62_135_596_800..253_402_300_800).contains(&time.seconds));
    known.map_or_else(|| NONE.to_owned(), |time| Timestamp { nanos: 0, ..time }.to_string())
}

/// When, and how long ago: `2026-11-22T21:30:05Z (3m12s ago)`.
pub(crate) fn moment(time: Option<Timestamp>, now: SystemTime) -> String {
    time.map_or_else(|| NONE.to_owned(), |_| format!("{} ({} ago)", clock(time), age(time, now)))
}

/// Exchanges a second: `0`, `7.5`, `950`, `12.3k`, `1.2M`.
pub(crate) fn rate(rate: f64) -> String {
    match rate {
        r if !r.is_finite() || r <= 0.0 => "0".to_owned(),
        r if r < 9.95 => trim(format!("{r:.1}"), ""),
        r if r < 999.5 => format!("{r:.0}"),
        r if r < 999_950.0 => trim(format!("{:.1}", r / 1e3), "k"),
        r => trim(format!("{:.1}", r / 1e6), "M"),
    }
}

fn trim(number: String, unit: &str) -> String {
    format!("{}{unit}", number.strip_suffix(".0").unwrap_or(&number))
}

/// A round trip: `85 us`, `1.2 ms`, `2.3 s`.
pub(crate) fn round_trip(time: Duration) -> String {
    let us = time.as_micros();
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// The first `max` characters of a text, with a mark where there was more.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_shorten_as_they_grow() {
        let at = |s| age(Some(SystemTime::UNIX_EPOCH), SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (192, "3m12s"),
            (601, "10m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (40_000, "11h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(at(seconds), expected);
        }
        assert_eq!(age(None::<SystemTime>, SystemTime::UNIX_EPOCH), "-");
        assert_eq!(age(Some(SystemTime::now()), SystemTime::UNIX_EPOCH), "0s", "a clock that runs ahead");
    }

    #[test]
    fn clock_times_are_utc_and_of_any_peer() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 999_999_999 });
        assert_eq!(clock(at(0)), "1970-01-01T00:00:00Z");
        assert_eq!(clock(at(253_402_300_799)), "9999-12-31T23:59:59Z");
        for unknown in [None, at(i64::MAX), at(i64::MIN), at(253_402_300_800)] {
            assert_eq!(clock(unknown), "-");
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(65);
        assert_eq!(moment(at(60), now), "1970-01-01T00:01:00Z (4s ago)");
        assert_eq!(moment(None, now), "-");
    }

    #[test]
    fn rates_keep_to_five_characters() {
        let cases = [
            (0.0, "0"),
            (f64::NAN, "0"),
            (1.0, "1"),
            (7.54, "7.5"),
            (9.96, "10"),
            (999.4, "999"),
            (999.6, "1k"),
            (12_345.0, "12.3k"),
            (1_250_000.0, "1.2M"),
        ];
        for (value, expected) in cases {
            assert_eq!(rate(value), expected, "{value}");
        }
    }

    #[test]
    fn round_trips_and_texts_stay_short() {
        assert_eq!(round_trip(Duration::from_micros(85)), "85 us");
        assert_eq!(round_trip(Duration::from_micros(1_250)), "1.2 ms");
        assert_eq!(round_trip(Duration::from_millis(2_300)), "2.3 s");
        assert_eq!(shorten("greeting", 8), "greeting");
        assert_eq!(shorten("greetings", 8), "greetin…");
    }
}
