//! Ctrl-C, for work that ends with a result: a first one ends the work, a second one the waiting for what is out, and one
//! that comes later still what is done about the result.
//!
//! Used by `probe` and `bench`.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// How many there are.
pub(crate) const STOPS: usize = 2;

/// Where each Ctrl-C arrives from now on; and what arrives there as one.
pub(crate) fn stops() -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (stop, stopped) = mpsc::channel(STOPS);
    // From here on it ends nobody, also where the task runs later. Where that can't be had, it ends the process.
    if let Ok(signals) = signal(SignalKind::interrupt()) {
        tokio::spawn(hand_on(signals, stop.clone()));
    }
    (stop, stopped)
}

/// Tells each Ctrl-C, until nobody asks for it.
async fn hand_on(mut signals: Signal, stop: mpsc::Sender<()>) {
    while signals.recv().await.is_some() && stop.send(()).await.is_ok() {}
}

/// What this comes to, unless a Ctrl-C ends it.
pub(crate) async fn unless_stopped<T>(work: impl Future<Output = T>) -> Option<T> {
    let Ok(mut signals) = signal(SignalKind::interrupt()) else { return Some(work.await) };
    tokio::select! {
        done = work => Some(done),
        Some(()) = signals.recv() => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::signal::{Signal::SIGINT, raise};

    use super::*;

    #[tokio::test]
    async fn an_interrupt_ends_what_comes_after_the_work() {
        // Whoever was told of the first ones asks no more.
        let (_, stopped) = stops();
        drop(stopped);
        let hangs = async {
            raise(SIGINT).unwrap();
            std::future::pending::<()>().await;
        };
        assert_eq!(unless_stopped(hangs).await, None);
        assert_eq!(unless_stopped(async { 1 }).await, Some(1));
    }
}
