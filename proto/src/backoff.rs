//! How long both planes wait before they try again: each wait about twice the one before, with jitter, up to a cap.
//!
//! Used by every retry of the nodes, of control and of `echoctl`, so that none of them spins and no two come back in
//! step. It must never wait by itself.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// The next wait.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
    /// The share of a step that is waited in any case.
    least: f64,
}

impl Backoff {
    /// Waits that start about `first` and end about `cap`: each between half and all of its step.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, next: first, least: 0.5 }
    }

    /// As [`Self::new`], but each anything up to its step: for a crowd that has to come apart.
    pub fn spread(first: Duration, cap: Duration) -> Self {
        Self { least: 0.0, ..Self::new(first, cap) }
    }

    /// How long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.cap);
        step.mul_f64(self.least + (1.0 - self.least) * fraction())
    }

    /// Starts over, after something worked.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// `around`, a tenth of it more or less.
pub fn jittered(around: Duration) -> Duration {
    around.mul_f64(0.9 + 0.2 * fraction())
}

/// A random number below `limit`; 0 where there is none.
pub fn random_below(limit: usize) -> usize {
    usize::try_from(random() % (limit.max(1) as u64)).unwrap_or_default()
}

/// A random number from 0 to 1.
fn fraction() -> f64 {
    (random() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Random bits, good enough to keep nodes apart: std seeds each of its hashers anew.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_start_over() {
        let (first, cap) = (Duration::from_millis(100), Duration::from_millis(500));
        let mut backoff = Backoff::new(first, cap);
        for step in [100, 200, 400, 500, 500] {
            let (wait, step) = (backoff.next_wait(), Duration::from_millis(step));
            assert!(wait >= step / 2 && wait <= step, "{wait:?} of {step:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= first);
    }

    #[test]
    fn a_crowd_comes_apart_over_the_whole_step() {
        let step = Duration::from_secs(1);
        let waits = || (0..64).map(|_| Backoff::spread(step, step).next_wait());
        assert!(waits().all(|wait| wait <= step));
        assert!(waits().any(|wait| wait < step / 4) && waits().any(|wait| wait > step * 3 / 4));
    }

    #[test]
    fn jitter_differs() {
        let second = Duration::from_secs(1);
        let waits: std::collections::HashSet<_> = (0..16).map(|_| jittered(second)).collect();
        assert!(waits.len() > 1);
        assert!(waits.iter().all(|w| *w >= second.mul_f64(0.9) && *w <= second.mul_f64(1.1)));
    }
}
