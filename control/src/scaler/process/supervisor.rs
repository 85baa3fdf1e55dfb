//! The task that keeps the processes of this host as the plan wants them.
//!
//! Runs until the process ends, and leaves the nodes running then. Without leadership it forgets everything; with it,
//! it first adopts what runs already.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use echo_proto::ids::PoolName;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::super::{Notices, Wanted};
use super::child::Handle;
use super::launch::Launcher;
use super::record;
use crate::event;
use crate::plan::scale::{self, Action, MAX_PER_HOST};
use crate::stop::Stop;
use echo_proto::backoff::Backoff;

/// Waits before a dead node is started again; the first time there is none.
const RESTART_BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A node that lived so long may die again without waiting.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// Ends that wait to be seen: two lives of every index.
const MAX_ENDS: usize = 2 * MAX_PER_HOST as usize;

/// Keeps the processes.
pub struct Supervisor {
    launcher: Launcher,
    wanted: watch::Receiver<Option<Wanted>>,
    notices: Notices,
    workers: BTreeMap<u32, Worker>,
    ends: (mpsc::Sender<End>, mpsc::Receiver<End>),
    /// Refusals told already.
    refused: Wanted,
    in_charge: bool,
}

/// One index in use.
struct Worker {
    pool: PoolName,
    state: State,
    started: Instant,
    /// `None`: it has not died yet, or not for long.
    backoff: Option<Backoff>,
}

enum State {
    Alive(Handle),
    Leaving(Handle),
    /// Dead; to be started again then.
    Dead(Instant),
}

/// A process has ended.
struct End {
    index: u32,
    pid: u32,
    how: String,
}

impl Supervisor {
    pub(super) fn new(launcher: Launcher, wanted: watch::Receiver<Option<Wanted>>, notices: Notices) -> Self {
        let ends = mpsc::channel(MAX_ENDS);
        let (workers, refused) = (BTreeMap::new(), Wanted::new());
        Self { launcher, wanted, notices, workers, ends, refused, in_charge: false }
    }

    /// Works until `stop`.
    pub async fn run(mut self, mut stop: Stop) {
        loop {
            let due = self.workers.values().filter_map(Worker::due).min();
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return },
                Some(end) = self.ends.1.recv() => self.ended(end),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = stop.wait() => return,
            }
            let wanted = self.wanted.borrow_and_update().clone();
            match wanted {
                Some(wanted) => {
                    if !self.in_charge {
                        self.adopt();
                    }
                    self.in_charge = true;
                    self.reconcile(&wanted).await;
                }
                None => {
                    self.in_charge = false;
                    self.workers.clear();
                }
            }
        }
    }

    /// Takes over what an earlier leader on this host left running.
    fn adopt(&mut self) {
        for record in record::read_all(&self.launcher.nodes_dir()) {
            let handle = Handle::open(record.pid).filter(|handle| handle.start_time == record.start_time);
            let Some(handle) = handle else {
                self.launcher.forget(record.index);
                continue;
            };
            tracing::info!(node = format!("node-{}", record.index), pid = record.pid, "adopted");
            self.watch(record.index, handle.clone(), None);
            let state = if record.leaving { State::Leaving(handle) } else { State::Alive(handle) };
            let worker = Worker { pool: record.pool, state, started: Instant::now(), backoff: None };
            self.workers.insert(record.index, worker);
        }
    }

    async fn reconcile(&mut self, wanted: &Wanted) {
        let workers: Vec<scale::Worker> = self.workers.iter().map(|(index, w)| w.counted(*index)).collect();
        let scale::Plan { actions, refused } = scale::plan(wanted, &workers);
        let mut starts = Vec::new();
        for action in actions {
            match action {
                Action::Start(index, pool) => starts.push((index, pool, None)),
                Action::Stop(index) => self.stop(index),
            }
        }
        let now = Instant::now();
        let due = self.workers.iter().filter(|(_, worker)| worker.due().is_some_and(|at| at <= now));
        starts.extend(due.map(|(index, worker)| (*index, worker.pool.clone(), worker.backoff.clone())));
        self.start(starts).await;
        self.tell_refused(refused);
    }

    /// Starts all of them at once.
    async fn start(&mut self, starts: Vec<(u32, PoolName, Option<Backoff>)>) {
        let mut launches = JoinSet::new();
        for (index, pool, backoff) in starts {
            let launcher = self.launcher.clone();
            launches.spawn_blocking(move || {
                let result = launcher.launch(index, &pool);
                (index, pool, backoff, result)
            });
        }
        while let Some(launched) = launches.join_next().await {
            match launched {
                Ok((index, pool, backoff, result)) => self.started(index, pool, backoff, result),
                Err(error) => tracing::error!(%error, "a start of a node was lost"),
            }
        }
    }

    fn started(&mut self, index: u32, pool: PoolName, backoff: Option<Backoff>, result: io::Result<(Handle, Child)>) {
        let started = Instant::now();
        match result {
            Ok((handle, child)) => {
                tracing::info!(node = format!("node-{index}"), %pool, pid = handle.pid, "started");
                self.watch(index, handle.clone(), Some(child));
                self.workers.insert(index, Worker { pool, state: State::Alive(handle), started, backoff });
            }
            Err(error) => {
                let binary = self.launcher.binary.display();
                let message = format!("node-{index} can't be started: {binary}: {error}");
                self.notices.send(event::warning("NodeStartFailed", format!("node/node-{index}"), message));
                // The first retry waits as well: what hindered this start hinders the next.
                let mut backoff = backoff.unwrap_or_else(|| Backoff::new(RESTART_BACKOFF.0, RESTART_BACKOFF.1));
                let state = State::Dead(started + backoff.next_wait());
                self.workers.insert(index, Worker { pool, state, started, backoff: Some(backoff) });
            }
        }
    }

    fn stop(&mut self, index: u32) {
        let Some(worker) = self.workers.remove(&index) else { return };
        match worker.state {
            State::Alive(handle) => {
                tracing::info!(node = format!("node-{index}"), pid = handle.pid, "told to drain and exit");
                self.launcher.mark_leaving(index, &worker.pool, &handle);
                handle.terminate();
                self.workers.insert(index, Worker { state: State::Leaving(handle), ..worker });
            }
            State::Leaving(_) => {
                self.workers.insert(index, worker);
            }
            State::Dead(_) => self.launcher.forget(index),
        }
    }

    fn watch(&self, index: u32, handle: Handle, child: Option<Child>) {
        let (ends, pid) = (self.ends.0.clone(), handle.pid);
        tokio::spawn(async move {
            let how = handle.ended(child).await;
            // Fails only when the supervisor is gone.
            let _ = ends.send(End { index, pid, how }).await;
        });
    }

    fn ended(&mut self, end: End) {
        let End { index, pid, how } = end;
        let Some(worker) = self.workers.get_mut(&index) else { return };
        match &worker.state {
            State::Leaving(handle) if handle.pid == pid => {
                tracing::info!(node = format!("node-{index}"), pid, "{how}");
                self.launcher.forget(index);
                self.workers.remove(&index);
            }
            State::Alive(handle) if handle.pid == pid => {
                let wait = worker.died();
                let when = if wait.is_zero() { "at once".to_owned() } else { format!("in {wait:.1?}") };
                let message = format!("pid {pid} {how}; it is started again {when}");
                self.notices.send(event::warning("NodeDied", format!("node/node-{index}"), message));
            }
            // An earlier life of this index.
            _ => {}
        }
    }

    fn tell_refused(&mut self, refused: Wanted) {
        for (pool, missing) in &refused {
            if self.refused.get(pool) != Some(missing) {
                let message = format!("{missing} nodes are not started: a host runs at most {MAX_PER_HOST}");
                self.notices.send(event::warning("ScaleRefused", event::of_pool(pool), message));
            }
        }
        self.refused = refused;
    }
}

impl Worker {
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Dead(at) => Some(at),
            State::Alive(_) | State::Leaving(_) => None,
        }
    }

    fn counted(&self, index: u32) -> scale::Worker {
        scale::Worker { index, pool: self.pool.clone(), leaving: matches!(self.state, State::Leaving(_)) }
    }

    /// Marks it dead; returns how long until it is started again.
    fn died(&mut self) -> Duration {
        if self.started.elapsed() >= HEALTHY_AFTER {
            self.backoff = None;
        }
        let wait = match &mut self.backoff {
            Some(backoff) => backoff.next_wait(),
            None => {
                self.backoff = Some(Backoff::new(RESTART_BACKOFF.0, RESTART_BACKOFF.1));
                Duration::ZERO
            }
        };
        self.state = State::Dead(Instant::now() + wait);
        wait
    }
}
