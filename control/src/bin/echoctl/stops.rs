//! Ctrl-C, for work that ends with a result: a first one ends the work, a second one the waiting for what is out.
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
