//! The stop signal, handed to every task that runs until the process ends.
//!
//! Set once by the app. It never resets, and a sender that is gone counts as set.

use tokio::sync::watch;

/// Tells when to end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Sets the signal.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// A signal that is not set yet.
pub fn stop() -> (Trigger, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Stop(receiver))
}

impl Trigger {
    /// Everybody ends.
    pub fn set(&self) {
        let _ = self.0.send(true);
    }
}

impl Stop {
    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it is set.
    pub async fn wait(&mut self) {
        let _ = self.0.wait_for(|set| *set).await;
    }
}
