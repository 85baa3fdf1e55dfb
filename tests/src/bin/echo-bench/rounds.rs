//! Contestants measured in turn, again and again, so that what the machine does meanwhile falls on all of them.

use crate::stats::{Middle, middle};

/// Whose turn it is, `rounds` times each of `contestants`: every other round goes through them backwards.
pub(crate) fn turns(rounds: u32, contestants: usize) -> impl Iterator<Item = usize> {
    (0..rounds).flat_map(move |round| {
        (0..contestants).map(move |place| if round % 2 == 0 { place } else { contestants - 1 - place })
    })
}

/// The middle of one figure over the rounds.
pub(crate) fn of<S>(samples: &[S], figure: impl Fn(&S) -> f64) -> Option<Middle> {
    middle(samples.iter().map(figure))
}

/// The middle of one figure over that of the base in the same round.
pub(crate) fn ratio<S>(samples: &[S], base: &[S], figure: impl Fn(&S) -> f64) -> Option<Middle> {
    middle(samples.iter().zip(base).map(|(own, base)| figure(own) / figure(base)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_goes_backwards() {
        assert_eq!(turns(3, 2).collect::<Vec<_>>(), [0, 1, 1, 0, 0, 1]);
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // The machine was twice as slow in the second round.
        let ratio = ratio(&[1.0, 4.0, 3.0], &[2.0, 4.0, 2.0], |value| *value);
        assert_eq!(ratio.map(|ratio| ratio.median), Some(1.0));
    }
}
