//! Busy polling: a shard goes on looking for packets for a while before it sleeps.
//!
//! One task a shard, started by [`super::shard`] and told of traffic through [`Spin::stir`]. While it yields instead of
//! waiting, the runtime asks the kernel for events without sleeping, and whatever comes is served at once. It must never
//! cost anything where it is not asked for, nor hold up another task.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::shard::Shard;

/// A shard's busy polling.
#[derive(Debug, Default)]
pub(super) struct Spin {
    /// How long after the last packet; zero: not at all.
    window: Cell<Duration>,
    /// Traffic came since the task last looked.
    stirred: Cell<bool>,
    asleep: Cell<bool>,
    wake: Notify,
}

impl Spin {
    /// From now on it goes on for so long.
    pub(super) fn set(&self, window: Duration) {
        self.window.set(window);
    }

    /// Traffic came.
    pub(super) fn stir(&self) {
        if self.window.get().is_zero() {
            return;
        }
        self.stirred.set(true);
        if self.asleep.take() {
            self.wake.notify_one();
        }
    }
}

/// Keeps the shard awake after traffic, for ever.
pub(super) async fn spin(shard: Rc<Shard>) {
    let spin = &shard.spin;
    loop {
        spin.asleep.set(true);
        spin.wake.notified().await;
        let mut last = Instant::now();
        loop {
            yield_now().await;
            let now = Instant::now();
            if spin.stirred.take() {
                last = now;
            } else if now.duration_since(last) >= spin.window.get() {
                break;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    /// How long the task stays awake after one packet, with this window.
    fn awake_for(window: Duration) -> Option<Duration> {
        let shard = Rc::new(Shard::new(Arc::default(), Arc::default()));
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let spinning = tokio::task::spawn_local(spin(Rc::clone(&shard)));
            shard.spin.set(window);
            while !shard.spin.asleep.get() {
                yield_now().await;
            }
            let start = Instant::now();
            shard.spin.stir();
            if shard.spin.asleep.get() {
                return None;
            }
            while !shard.spin.asleep.get() {
                yield_now().await;
            }
            spinning.abort();
            Some(start.elapsed())
        })
    }

    #[test]
    fn it_stays_awake_for_its_window_and_not_at_all_without_one() {
        assert!(awake_for(Duration::from_millis(5)).unwrap() >= Duration::from_millis(5));
        assert_eq!(awake_for(Duration::ZERO), None);
    }
}
