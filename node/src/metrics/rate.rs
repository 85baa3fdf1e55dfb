//! The rate that the agent tells: exchanges a second.
//!
//! Sampled on the control side, for `agent`. It must never ask more of the shards than to read their counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::data::counters::Counters;

/// How often the rate is taken.
const PERIOD: Duration = Duration::from_secs(1);

/// Exchanges a second over the last whole second.
#[derive(Debug)]
pub struct Rate {
    /// The bits of an `f64`.
    value: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Rate {
    /// Samples `counters` once a second on the caller's runtime, until it is dropped.
    pub fn sample(counters: Counters) -> Self {
        let value = Arc::new(AtomicU64::new(0.0_f64.to_bits()));
        let task = tokio::spawn(sample(counters, Arc::clone(&value))).abort_handle();
        Self { value, task }
    }

    /// Exchanges a second; 0 before the first second is over.
    pub fn per_second(&self) -> f64 {
        f64::from_bits(self.value.load(Ordering::Relaxed))
    }
}

impl Drop for Rate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn sample(counters: Counters, value: Arc<AtomicU64>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut last = (Instant::now(), counters.snapshot().total.exchanges);
    loop {
        ticks.tick().await;
        let now = (Instant::now(), counters.snapshot().total.exchanges);
        let rate = now.1.saturating_sub(last.1) as f64 / now.0.duration_since(last.0).as_secs_f64();
        value.store(rate.to_bits(), Ordering::Relaxed);
        last = now;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use echo_proto::spec::Protocol;

    use super::*;
    use crate::data::counters::Identity;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_second() {
        let counters = Counters::new(1);
        let slots = counters.slots(Identity { name: "e".parse().unwrap(), protocol: Protocol::Tcp, port: 1 });
        let rate = Rate::sample(counters.clone());
        tokio::time::sleep(Duration::from_millis(500)).await;
        slots.first().unwrap().exchanges.add(200);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!((rate.per_second() - 200.0).abs() < 0.5, "{}", rate.per_second());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rate.per_second().abs() < 0.5);
    }
}
