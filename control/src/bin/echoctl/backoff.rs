//! Waits between tries: doubling, bounded, with jitter.
//!
//! Used by whatever tries again: followed streams, `up`'s restarts.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// The waits of one thing that is tried again.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits of about `first`, then twice as long each time, up to `last`.
    pub(crate) fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, next: first }
    }

    /// The next wait: between half and all of its nominal time, so that many do not try in step.
    pub(crate) fn next(&mut self) -> Duration {
        let nominal = self.next;
        self.next = (nominal * 2).min(self.last);
        nominal.mul_f64(0.5 + random_share() / 2.0)
    }

    /// Starts over, after something worked.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random number from 0 to 1. The standard library seeds each `RandomState` from the system.
fn random_share() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u16::try_from(random >> 48).unwrap_or_default()) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_last_and_start_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(400));
        for nominal in [ms(100), ms(200), ms(400), ms(400)] {
            let wait = backoff.next();
            assert!(wait >= nominal / 2 && wait <= nominal, "{wait:?} of {nominal:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= ms(100));
    }
}
