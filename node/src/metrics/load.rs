//! How busy the process is, as the agent tells it: exchanges a second, and cores in use.
//!
//! Sampled on the control side, for `agent`. It must never ask more of the shards than to read their counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::data::counters::Counters;

/// How often both are taken.
const PERIOD: Duration = Duration::from_secs(1);

/// The load of the last whole second; cheap to clone.
#[derive(Debug, Clone)]
pub struct Load(Arc<Sampled>);

#[derive(Debug)]
struct Sampled {
    values: Arc<Values>,
    task: AbortHandle,
}

/// The bits of each `f64`.
#[derive(Debug, Default)]
struct Values {
    rate: AtomicU64,
    cpu: AtomicU64,
}

impl Load {
    /// Samples `counters` and the process once a second on the caller's runtime, until the last clone is dropped.
    pub fn sample(counters: Counters) -> Self {
        let values = Arc::new(Values::default());
        let task = tokio::spawn(sample(counters, Arc::clone(&values))).abort_handle();
        Self(Arc::new(Sampled { values, task }))
    }

    /// Exchanges a second; 0 before the first second is over.
    pub fn per_second(&self) -> f64 {
        f64::from_bits(self.0.values.rate.load(Ordering::Relaxed))
    }

    /// CPU time that the whole process uses, in cores; 0 before the first second is over.
    pub fn cores(&self) -> f64 {
        f64::from_bits(self.0.values.cpu.load(Ordering::Relaxed))
    }
}

impl Drop for Sampled {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What was counted until a moment.
struct Sample {
    at: Instant,
    exchanges: u64,
    cpu: Duration,
}

impl Sample {
    fn take(counters: &Counters) -> Self {
        Self { at: Instant::now(), exchanges: counters.snapshot().total.exchanges, cpu: cpu() }
    }
}

/// CPU time of all threads so far, the kernel's work for them included.
fn cpu() -> Duration {
    let of = |time: TimeVal| Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or_default());
    // It can't fail for the process itself.
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| of(usage.user_time()) + of(usage.system_time()))
}

async fn sample(counters: Counters, values: Arc<Values>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut last = Sample::take(&counters);
    loop {
        ticks.tick().await;
        let now = Sample::take(&counters);
        let seconds = now.at.duration_since(last.at).as_secs_f64();
        let rate = now.exchanges.saturating_sub(last.exchanges) as f64 / seconds;
        let cpu = now.cpu.saturating_sub(last.cpu).as_secs_f64() / seconds;
        values.rate.store(rate.to_bits(), Ordering::Relaxed);
        values.cpu.store(cpu.to_bits(), Ordering::Relaxed);
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
        let load = Load::sample(counters.clone());
        tokio::time::sleep(Duration::from_millis(500)).await;
        slots.first().unwrap().exchanges.add(200);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!((load.per_second() - 200.0).abs() < 0.5, "{}", load.per_second());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(load.per_second().abs() < 0.5);
    }

    #[tokio::test(start_paused = true)]
    async fn cpu_time_is_counted_in_cores() {
        let load = Load::sample(Counters::new(1));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (before, burn) = (cpu(), Duration::from_millis(50));
        while cpu() < before + burn {
            std::hint::spin_loop();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(load.cores() >= burn.as_secs_f64(), "{}", load.cores());
    }
}
