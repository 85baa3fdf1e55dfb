//! Nodes as processes of this host: `node-<i>` on 127.0.0.i, as pods have addresses of their own.
//!
//! Run by the app when `--scaler process` is given. It adopts what an earlier control left running, replaces what dies
//! under the same id, address and state directory, and lets those go first that serve nobody, then the emptiest. It must never touch a
//! process that it does not know by pid and start time.

mod child;
mod choice;
mod count;
mod found;
mod launch;
mod log;
mod notice;
mod others;
mod record;
mod supervisor;
mod worker;

use std::collections::BTreeSet;

use echo_proto::ids::{NodeId, PoolName};
use tokio::sync::watch;

pub use self::launch::Launcher;
pub use self::supervisor::Supervisor;
use super::{Failures, Notices, PROCESS, Scaler, Wanted};
use crate::figures::Figures;

/// The drive's end of the process scaler.
#[derive(Debug)]
pub struct ProcessScaler {
    wanted: watch::Sender<Option<Wanted>>,
    failures: watch::Receiver<Failures>,
    launcher: Launcher,
}

impl ProcessScaler {
    /// The scaler, and the task that does its work.
    pub fn new(launcher: Launcher, figures: Figures, notices: Notices) -> (Self, Supervisor) {
        let (wanted, receiver) = watch::channel(None);
        let (told, failures) = watch::channel(Failures::new());
        (
            Self { wanted, failures, launcher: launcher.clone() },
            Supervisor::new(launcher, receiver, figures, notices, told),
        )
    }
}

impl Scaler for ProcessScaler {
    fn name(&self) -> &'static str {
        PROCESS
    }

    fn acts(&self) -> bool {
        true
    }

    fn failures(&self) -> watch::Receiver<Failures> {
        self.failures.clone()
    }

    fn want(&self, wanted: Option<Wanted>) {
        self.wanted.send_if_modified(|current| {
            let changed = *current != wanted;
            *current = wanted;
            changed
        });
    }

    fn living(&self, pool: &PoolName) -> BTreeSet<NodeId> {
        found::living(&self.launcher, pool)
    }
}

#[cfg(test)]
mod tests;
