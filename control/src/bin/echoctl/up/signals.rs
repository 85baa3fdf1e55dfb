//! The signals that end `up`: Ctrl-C, SIGTERM, and a terminal that goes away.
//!
//! Used by `up`. Each one counts: the second ends the cluster at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::connect::io_cause;
use crate::failure::Failure;

/// The streams of those signals.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over from the kernel, which would end this process and orphan the others.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn new() -> Result<Self, Failure> {
        let open = |kind| signal(kind).map_err(|e| Failure::Up(format!("cannot take signals: {}", io_cause(&e))));
        Ok(Self {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
            hangup: open(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
