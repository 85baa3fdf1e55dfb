//! Durations as people write them (`50us`, `1.5s`, `1h30m`) <-> `google.protobuf.Duration`.
//!
//! Used by the codec only. Canonical protobuf JSON (`"0.000050s"`) is one of the forms it reads.

/// Nanoseconds of each unit, largest first; the order in which a duration is written.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads one or more numbers with units, with at most nine decimals each; negative durations do not occur in our contract.
pub(super) fn parse(text: &str) -> Option<prost_types::Duration> {
    let mut rest = text.trim();
    let mut nanos = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let unit = if unit == "µs" { "us" } else { unit };
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(scaled(number, *scale)?)?;
        rest = tail;
    }
    Some(prost_types::Duration {
        seconds: i64::try_from(nanos / 1_000_000_000).ok()?,
        nanos: i32::try_from(nanos % 1_000_000_000).ok()?,
    })
}

/// `number` (decimal, as `1` or `1.5`) times `scale`, exactly.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let digits = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
    let unit = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    // A part below a nanosecond can't be kept.
    (digits % unit == 0).then_some(())?;
    whole.checked_add(u64::try_from(digits / unit).ok()?)
}

/// The shortest human form: the largest unit that leaves a whole number, but minutes and hours only for `2m` and up.
pub(super) fn format(seconds: i64, nanos: i32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    if total == 0 {
        return "0s".into();
    }
    let fits =
        |scale: u64| total % i128::from(scale) == 0 && (scale <= 1_000_000_000 || total / i128::from(scale) >= 10);
    let (unit, scale) = UNITS.iter().find(|(_, scale)| fits(*scale)).unwrap_or(&("ns", 1));
    format!("{}{unit}", total / i128::from(*scale))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let nanos = |text: &str| parse(text).map(|d| i128::from(d.seconds) * 1_000_000_000 + i128::from(d.nanos));
        assert_eq!(nanos("50us"), Some(50_000));
        assert_eq!(nanos("50µs"), Some(50_000));
        assert_eq!(nanos("1.5s"), Some(1_500_000_000));
        assert_eq!(nanos("0.000050s"), Some(50_000));
        assert_eq!(nanos("1h30m"), Some(5_400_000_000_000));
        assert_eq!(nanos("0s"), Some(0));
        for bad in ["", "5", "s", "-1s", "1.s", "1.5ns", "1 s", "1d", "9999999999999h", "1.0000000001s", "1s5", "é"] {
            assert_eq!(nanos(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn writes_the_shortest_whole_form() {
        let again = |text: &str| parse(text).map(|d| format(d.seconds, d.nanos)).unwrap();
        for text in ["0s", "50us", "1ns", "1500ms", "90s", "300s", "10m", "36h"] {
            assert_eq!(again(text), text);
        }
        assert_eq!(again("1.5s"), "1500ms");
        assert_eq!(again("60s"), "60s");
    }
}
