//! When each probe is due: at a steady pace, each a random while late, so that probes do not beat in step with what
//! else is periodic on the way.
//!
//! Used by [`super::run`]. Pure: it takes no clock. The pace is that of the plan, however late single probes were.

use std::time::Duration;

/// The times of all probes, counted from the start.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: u64,
    /// Most that a probe is late, in nanoseconds; below the interval, so that the order holds.
    jitter: u64,
    next: u64,
    random: fastrand::Rng,
}

impl Schedule {
    /// One probe each `interval`, late by up to `jitter` percent of it.
    pub(super) fn new(interval: Duration, jitter: u8, seed: u64) -> Self {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let jitter = interval / 100 * u64::from(jitter.min(99));
        Self { interval, jitter, next: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// When the next one is due.
    pub(super) fn next(&mut self) -> Duration {
        let late = self.random.u64(0..=self.jitter);
        let due = self.interval.saturating_mul(self.next).saturating_add(late);
        self.next += 1;
        Duration::from_nanos(due)
    }

    /// Leaves out what was due before `now`: to make up for it would be a burst of ours.
    pub(super) fn skip(&mut self, now: Duration) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.next = self.next.max(now / self.interval.max(1) + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn probes_keep_their_order_and_their_pace(interval in 1_000u64..10_000_000_000, jitter in 0u8..=255, seed: u64) {
            let mut schedule = Schedule::new(Duration::from_nanos(interval), jitter, seed);
            let mut last = None;
            for n in 0..100 {
                let due = schedule.next();
                let earliest = Duration::from_nanos(interval * n);
                prop_assert!(earliest <= due && due < earliest + Duration::from_nanos(interval));
                prop_assert!(last < Some(due));
                last = Some(due);
            }
        }
    }

    #[test]
    fn what_was_missed_is_left_out() {
        let mut schedule = Schedule::new(Duration::from_millis(20), 0, 7);
        schedule.next();
        schedule.skip(Duration::from_millis(95));
        assert_eq!(schedule.next(), Duration::from_millis(100));
        schedule.skip(Duration::from_millis(40));
        assert_eq!(schedule.next(), Duration::from_millis(120), "never back");
    }

    #[test]
    fn without_jitter_every_probe_is_on_its_time() {
        let mut schedule = Schedule::new(Duration::from_millis(20), 0, 7);
        let times: Vec<u128> = (0..4).map(|_| schedule.next().as_millis()).collect();
        assert_eq!(times, [0, 20, 40, 60]);
    }
}
