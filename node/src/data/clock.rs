//! How far off the host's clock may be: one number from the agent to the stamps.
//!
//! Set by [`crate::agent::clock`], read by [`super::shard`] for stamped requests; nobody waits for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Nobody knows.
const UNKNOWN: u32 = u32::MAX;

/// The newest estimate; cheap to clone.
#[derive(Debug, Clone)]
pub struct ClockError(Arc<AtomicU32>);

impl Default for ClockError {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(UNKNOWN)))
    }
}

impl ClockError {
    /// Sets it; `None`: nobody knows.
    pub fn set(&self, error: Option<Duration>) {
        // Never less than it is.
        let micros = error.and_then(|error| u32::try_from(error.as_nanos().div_ceil(1000)).ok());
        self.0.store(micros.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// In microseconds, as a stamp tells it.
    pub(crate) fn micros(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|micros| *micros != UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_told() {
        let error = ClockError::default();
        assert_eq!(error.micros(), None);
        error.clone().set(Some(Duration::from_nanos(2_999_001)));
        assert_eq!(error.micros(), Some(3000));
        error.set(Some(Duration::from_secs(10_000)));
        assert_eq!(error.micros(), None, "so far off that it says nothing");
        error.set(Some(Duration::ZERO));
        error.set(None);
        assert_eq!(error.micros(), None);
    }
}
