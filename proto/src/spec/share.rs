//! Shares as people write them: `25%`, `0.1%`.
//!
//! Used by the rules of rollouts and of autoscaling. Exact: kept in millionths, never as a floating-point number.

use std::fmt;
use std::str::FromStr;

/// Millionths of a whole.
const WHOLE: u32 = 1_000_000;
/// Digits after the point of a percentage that a millionth can hold.
const DECIMALS: usize = 4;

/// A share of 0% to 100%.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

/// Why a text is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a share like \"25%\", from 0% to 100%, with at most {DECIMALS} decimals")]
pub struct InvalidShare;

impl Share {
    /// All of it.
    pub const ALL: Self = Self(WHOLE);

    /// So many whole hundredths; more than 100 are all.
    pub const fn percent(hundredths: u32) -> Self {
        Self(if hundredths > 100 { WHOLE } else { hundredths * (WHOLE / 100) })
    }

    /// This share of `whole` things, rounded up.
    pub fn of(self, whole: usize) -> usize {
        let share = (whole as u128 * u128::from(self.0)).div_ceil(u128::from(WHOLE));
        // Not more than `whole`.
        usize::try_from(share).unwrap_or(whole)
    }

    /// As a part of 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// Whether it is nothing.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let number = text.strip_suffix('%').ok_or(InvalidShare)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > DECIMALS {
            return Err(InvalidShare);
        }
        let whole: u32 = whole.parse().map_err(|_| InvalidShare)?;
        let decimals: u32 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| InvalidShare)?;
        let share = whole.checked_mul(WHOLE / 100).and_then(|w| w.checked_add(decimals)).ok_or(InvalidShare)?;
        if share <= WHOLE { Ok(Self(share)) } else { Err(InvalidShare) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / (WHOLE / 100), self.0 % (WHOLE / 100));
        let decimals = format!(".{decimals:04}");
        let decimals = decimals.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{whole}{decimals}%")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_exactly_and_written_as_they_were() {
        for text in ["0%", "1%", "25%", "100%", "0.1%", "12.5%", "0.0001%", "99.9999%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for bad in
            ["", "%", "25", "-1%", "100.1%", "101%", "1.%", ".5%", "1.00001%", "1e1%", "99999999999%", "1 %", "५%"]
        {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
        assert_eq!(Share::percent(25), "25%".parse().unwrap());
        assert_eq!(Share::percent(1_000), Share::ALL);
    }

    #[test]
    fn a_share_of_a_number_is_rounded_up() {
        let of = |text: &str, whole| text.parse::<Share>().unwrap().of(whole);
        assert_eq!((of("25%", 3), of("25%", 4), of("25%", 5)), (1, 1, 2));
        assert_eq!((of("100%", 0), of("100%", 7), of("0.0001%", 1)), (0, 7, 1));
        assert_eq!(of("100%", usize::MAX), usize::MAX);
    }
}
