//! The middle of what was measured, and how sure it is.

/// A median and where the true one lies with at least 95 % certainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Middle {
    pub(crate) median: f64,
    /// The interval of the sign test: it asks only that rounds are independent, nothing of how they scatter. With
    /// fewer than six rounds no interval reaches 95 %: then it is all that was seen.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Middle {
    /// Of what was measured once.
    pub(crate) fn once(value: f64) -> Self {
        Self { median: value, low: value, high: value }
    }

    /// The middle of one over each.
    pub(crate) fn inverse(self) -> Self {
        Self { median: 1.0 / self.median, low: 1.0 / self.high, high: 1.0 / self.low }
    }
}

/// The value that this share of all did not exceed, the nearest one that was seen; sorts them. `None` of none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.max(1) - 1).copied()
}

/// The middle of these values; `None` of none.
pub(crate) fn middle(values: impl IntoIterator<Item = f64>) -> Option<Middle> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let outside = outside(sorted.len());
    let (low, high) = (*sorted.get(outside)?, *sorted.iter().rev().nth(outside)?);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    let lower = if sorted.len().is_multiple_of(2) { *sorted.get(half - 1)? } else { upper };
    Some(Middle { median: f64::midpoint(lower, upper), low, high })
}

/// How many values on each side may be left out: as many heads as a fair coin shows at most, in so many throws, with a
/// chance of 2.5 %.
fn outside(values: usize) -> usize {
    let mut chance = 0.5_f64.powi(i32::try_from(values).unwrap_or(i32::MAX));
    let mut sum = 0.0;
    for heads in 0..values / 2 {
        sum += chance;
        if sum > 0.025 {
            return heads.saturating_sub(1);
        }
        chance *= (values - heads) as f64 / (heads + 1) as f64;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            [0.5, 0.99, 0.999, 0.0].map(|share| quantile(&mut values, share)),
            [50.0, 99.0, 100.0, 1.0].map(Some)
        );
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn the_inverse_turns_the_interval_round() {
        let inverse = Middle { median: 2.0, low: 1.0, high: 4.0 }.inverse();
        assert_eq!(inverse, Middle { median: 0.5, low: 0.25, high: 1.0 });
    }

    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        // Tables of the sign test: of 15 values the 4th and the 12th, of 20 the 6th and the 15th.
        let of = |count: u32| middle((1..=count).rev().map(f64::from));
        assert_eq!(of(15), Some(Middle { median: 8.0, low: 4.0, high: 12.0 }));
        assert_eq!(of(20), Some(Middle { median: 10.5, low: 6.0, high: 15.0 }));
        assert_eq!(of(6), Some(Middle { median: 3.5, low: 1.0, high: 6.0 }));
        assert_eq!(of(1), Some(Middle { median: 1.0, low: 1.0, high: 1.0 }));
        assert_eq!(of(0), None);
    }
}
