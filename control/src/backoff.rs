//! Waits between attempts: doubling, bounded, with jitter, so that many callers do not return at the same instant.
//!
//! Used by everything here that tries again: the store, the election, the scaler. It must never wait by itself.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// Grows from `first` to `most` and starts over on [`Backoff::reset`].
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// The first wait is about `first`; no wait is longer than `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// How long to wait now: between half of the step and all of it.
    pub fn delay(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.most);
        jittered(step)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random duration between half of `step` and all of it.
pub fn jittered(step: Duration) -> Duration {
    // The standard library seeds each hasher at random; 16 bits of it are plenty for a wait.
    let random = RandomState::new().build_hasher().finish() & 0xffff;
    step.mul_f64(0.5 + random as f64 / f64::from(1u32 << 17))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound_and_starts_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(300));
        for step in [100, 200, 300, 300] {
            let wait = backoff.delay();
            assert!(wait >= ms(step) / 2 && wait <= ms(step), "{wait:?} of {step} ms");
        }
        backoff.reset();
        assert!(backoff.delay() <= ms(100));
    }
}
