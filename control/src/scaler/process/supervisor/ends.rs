//! How the supervisor learns that a process has ended, and what it makes of that.
//!
//! Part of the supervisor. One task waits for each process; it goes on when leadership is lost. It must never mean a
//! process by its index alone: another life of it may run by then.

use tokio::process::Child;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::super::child::{Ending, Handle};
use super::super::notice::{self, Death};
use super::super::worker::State;
use super::{Supervisor, log};

/// A process has ended.
pub(super) struct End {
    index: u32,
    process: (u32, u64),
    death: Death,
}

impl Supervisor {
    pub(super) fn watch(&mut self, index: u32, handle: &Handle, child: Option<Child>) {
        let process = (handle.pid, handle.start_time);
        if !self.awaited.insert(process) {
            return;
        }
        let (ends, handle, logs) = (self.ends.0.clone(), handle.clone(), self.launcher.logs_dir());
        tokio::spawn(async move {
            let (how, ending) = handle.ended(child).await;
            let words = match ending {
                Ending::GaveUp => spawn_blocking(move || log::last_line(&logs, index)).await.ok().flatten(),
                Ending::InOrder | Ending::Other => None,
            };
            // Fails only when the supervisor is gone.
            let _ = ends.send(End { index, process, death: Death { pid: process.0, how, ending, words } }).await;
        });
    }

    pub(super) fn ended(&mut self, end: End) {
        let End { index, process, death } = end;
        self.awaited.remove(&process);
        let Some(worker) = self.workers.get_mut(&index) else { return };
        let is = |handle: &Handle| (handle.pid, handle.start_time) == process;
        match &worker.state {
            State::Leaving(leaving) if is(&leaving.handle) => {
                self.notices.send(notice::retired((index, &worker.pool), &death));
                self.launcher.forget(index);
                self.workers.remove(&index);
            }
            State::Alive(handle) if is(handle) => {
                let wait = worker.died(Instant::now(), death.clone());
                self.notices.send(notice::ended((index, &worker.pool), &death, wait));
                if !wait.is_zero() {
                    self.notices.send(notice::backs_off((index, &worker.pool)));
                }
            }
            // An earlier life of this index.
            _ => {}
        }
    }
}
