//! The task that keeps the processes of this host as the plan wants them.
//!
//! Runs until the process ends, and leaves the nodes running then. Without leadership it forgets everything; with it,
//! it first adopts what runs already. It must start nothing once leadership is gone: another control may be at it.

mod ends;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use echo_proto::backoff::Backoff;
use echo_proto::ids::PoolName;
use echo_proto::spec;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::ends::End;
use super::super::{Failures, Notices, Wanted};
use super::child::Handle;
use super::choice::Choice;
use super::launch::{LaunchError, Launcher};
use super::notice::{self, Death};
use super::others::{self, Other};
use super::worker::{Leaving, Push, State, Worker};
use super::{count, found, log};
use crate::figures::Figures;
use crate::plan::scale::{self, Action, MAX_PER_HOST};
use crate::stop::Stop;

/// Ends that wait to be seen: two lives of every index.
const MAX_ENDS: usize = 2 * MAX_PER_HOST as usize;
/// How often the nodes' logs are looked at.
const TRIM_EVERY: Duration = Duration::from_secs(30);

/// Keeps the processes.
pub struct Supervisor {
    launcher: Launcher,
    wanted: watch::Receiver<Option<Wanted>>,
    notices: Notices,
    workers: BTreeMap<u32, Worker>,
    choice: Choice,
    ends: (mpsc::Sender<End>, mpsc::Receiver<End>),
    /// Processes, by pid and start time, that a task waits for already: it goes on when leadership is lost.
    awaited: BTreeSet<(u32, u64)>,
    /// What is refused, and told already.
    failures: watch::Sender<Failures>,
    in_charge: bool,
}

/// A node that is to run.
struct Start {
    index: u32,
    pool: PoolName,
    backoff: Option<Backoff>,
    /// Of the process whose place it takes.
    death: Option<Death>,
    loops: bool,
}

impl Supervisor {
    pub(super) fn new(
        launcher: Launcher,
        wanted: watch::Receiver<Option<Wanted>>,
        figures: Figures,
        notices: Notices,
        failures: watch::Sender<Failures>,
    ) -> Self {
        let (ends, choice) = (mpsc::channel(MAX_ENDS), Choice::new(figures));
        let (workers, awaited) = Default::default();
        Self { launcher, wanted, notices, workers, choice, ends, awaited, failures, in_charge: false }
    }

    /// Works until `stop`.
    pub async fn run(mut self, mut stop: Stop) {
        let mut trim = interval(TRIM_EVERY);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.workers.values().filter_map(Worker::due).chain(self.choice.due(Instant::now())).min();
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return },
                Some(end) = self.ends.1.recv() => self.ended(end),
                () = self.choice.answered() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                _ = trim.tick() => {
                    self.trim();
                    continue;
                }
                () = stop.wait() => return,
            }
            let wanted = self.wanted.borrow_and_update().clone();
            match wanted {
                Some(wanted) => {
                    if !self.in_charge {
                        self.adopt(&wanted).await;
                    }
                    self.in_charge = true;
                    self.reconcile(&wanted).await;
                }
                None => {
                    self.in_charge = false;
                    self.workers.clear();
                    self.choice.forget();
                }
            }
        }
    }

    /// Takes over what an earlier leader on this host left running.
    async fn adopt(&mut self, wanted: &Wanted) {
        let launcher = self.launcher.clone();
        let found = match spawn_blocking(move || found::all(&launcher)).await {
            Ok(found) => found,
            Err(error) => return tracing::error!(%error, "the nodes that run already are not known"),
        };
        let now = Instant::now();
        for (record, handle) in found {
            let (index, pid) = (record.index, record.pid);
            tracing::info!(node = format!("node-{index}"), pid, "adopted");
            self.watch(index, &handle, None);
            let mut worker = Worker::alive(record.pool.clone(), record.zone.clone(), handle.clone(), now, None);
            if record.leaving {
                worker.state = State::Leaving(Leaving::new(handle, now, self.drain(&record.pool, wanted)));
            }
            self.workers.insert(index, worker);
            if !record.leaving && !self.launcher.agrees(&record) {
                self.notices.send(notice::outdated(&record));
                self.stop(index, wanted);
            }
        }
    }

    async fn reconcile(&mut self, wanted: &Wanted) {
        self.push();
        self.workers.values_mut().for_each(|worker| worker.settle(Instant::now()));
        let others = self.others(wanted).await;
        let waits = self.choice.ask(count::shrinking(&self.workers, &others, &wanted.replicas), Instant::now());
        let workers = count::all(&self.workers, &others, &wanted.idle, &self.choice);
        let decided = wanted.replicas.iter().filter(|(pool, _)| !waits.contains(*pool));
        let decided = decided.map(|(pool, replicas)| (pool.clone(), *replicas)).collect();
        let scale::Plan { actions, refused, beyond } = scale::plan(&decided, &workers, &self.launcher.zones);
        let mut starts = Vec::new();
        for action in actions {
            match action {
                Action::Start(index, pool) => {
                    starts.push(Start { index, pool, backoff: None, death: None, loops: false })
                }
                Action::Stop(index) => self.stop(index, wanted),
            }
        }
        let now = Instant::now();
        let due = self.workers.iter().filter(|(_, worker)| worker.is_to_start(now));
        starts.extend(due.map(|(index, worker)| {
            let (pool, backoff, death) = (worker.pool.clone(), worker.backoff.clone(), worker.death.clone());
            Start { index: *index, pool, backoff, death, loops: worker.loops }
        }));
        self.start(starts).await;
        let looping = self.workers.iter().filter(|(_, worker)| worker.loops);
        let looping = looping.map(|(index, worker)| (*index, &worker.pool));
        let failures = notice::failures(looping, refused, beyond, &others);
        notice::tell_failures(&self.notices, &self.failures, failures);
    }

    /// Those that live elsewhere. One that is dead here, and whose id another took, is not started again.
    async fn others(&mut self, wanted: &Wanted) -> Vec<Other> {
        let (launcher, registered) = (self.launcher.clone(), wanted.registered.clone());
        let living = self.workers.iter().filter(|(_, worker)| worker.is_alive() || worker.is_leaving());
        let own: BTreeSet<_> = living.map(|(index, worker)| (*index, worker.pool.clone())).collect();
        let found = others::of(launcher, registered, own).await;
        for Other { index, pool, node } in &found {
            // Who lives here is none of them.
            if self.workers.get(index).is_some_and(|worker| worker.pool == *pool) {
                tracing::info!(
                    node = format!("node-{index}"),
                    host = node.host,
                    "not started again: it runs elsewhere"
                );
                self.workers.remove(index);
                self.launcher.forget(*index);
            }
        }
        found
    }

    /// Starts all of them at once.
    async fn start(&mut self, starts: Vec<Start>) {
        let mut launches = JoinSet::new();
        for start in starts {
            let (launcher, wanted) = (self.launcher.clone(), self.wanted.clone());
            launches.spawn_blocking(move || {
                // Many starts take a while: the leadership may have ended since.
                let leads = wanted.borrow().is_some();
                leads.then(|| (launcher.launch(start.index, &start.pool), start))
            });
        }
        while let Some(launched) = launches.join_next().await {
            match launched {
                Ok(Some((result, start))) => self.started(start, result),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "a start of a node was lost"),
            }
        }
    }

    fn started(&mut self, start: Start, result: Result<(Handle, Child), LaunchError>) {
        let (now, Start { index, pool, backoff, death, loops }) = (Instant::now(), start);
        let zone = scale::zone(&self.launcher.zones, index).to_owned();
        let worker = match result {
            Ok((handle, child)) => {
                tracing::info!(node = format!("node-{index}"), %pool, pid = handle.pid, "started");
                self.watch(index, &handle, Some(child));
                if let Some(death) = death {
                    self.notices.send(notice::replaced((index, &pool), &death, handle.pid));
                }
                Worker { loops, ..Worker::alive(pool, zone, handle, now, backoff) }
            }
            Err(error) => {
                self.notices.send(notice::failed((index, &pool), &error));
                Worker { death, ..Worker::failed(pool, zone, now, backoff) }
            }
        };
        self.workers.insert(index, worker);
    }

    fn stop(&mut self, index: u32, wanted: &Wanted) {
        let Some(worker) = self.workers.remove(&index) else { return };
        match worker.state {
            State::Alive(handle) => {
                tracing::info!(node = format!("node-{index}"), pid = handle.pid, "told to drain and exit");
                // In this order: one that is remembered as leaving was really told.
                handle.terminate();
                self.launcher.mark_leaving(index, &worker.pool, &worker.zone, &handle);
                let leaving = Leaving::new(handle, Instant::now(), self.drain(&worker.pool, wanted));
                self.workers.insert(index, Worker { state: State::Leaving(leaving), ..worker });
            }
            State::Leaving(_) => {
                self.workers.insert(index, worker);
            }
            State::Dead(_) => self.launcher.forget(index),
        }
    }

    /// Ends what should have left by now.
    fn push(&mut self) {
        let now = Instant::now();
        for (index, worker) in &mut self.workers {
            let State::Leaving(leaving) = &mut worker.state else { continue };
            if leaving.until > now {
                continue;
            }
            let (pid, push) = (leaving.handle.pid, leaving.push(now));
            let signal = match push {
                Push::Terminate => "SIGTERM",
                Push::Kill => "SIGKILL",
            };
            self.notices.send(notice::overdue((*index, &worker.pool), pid, signal));
            match push {
                Push::Terminate => leaving.handle.terminate(),
                Push::Kill => leaving.handle.kill(),
            }
        }
    }

    /// How long a node may drain. A pool that is gone says nothing: its nodes may take what any pool may ask for.
    fn drain(&self, pool: &PoolName, wanted: &Wanted) -> Duration {
        let of_pool = wanted.drains.get(pool).copied();
        self.launcher.drain_deadline.or(of_pool).unwrap_or(spec::MAX_DURATION)
    }

    /// Not waited for: a slow disk must not delay what the nodes need. Nodes go on without leadership, and so do logs.
    fn trim(&self) {
        let logs = self.launcher.logs_dir();
        spawn_blocking(move || log::trim(&logs, 1..=MAX_PER_HOST));
    }
}
