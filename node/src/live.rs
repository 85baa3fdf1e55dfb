//! The one doorway between control and data: the agent puts a validated plan in, the shards serve it.
//!
//! Owned by the node's control side; nobody else talks to the shards. A plan is applied whole or not at all, and no
//! call waits without a limit. It must never make the data path wait: shards take what is handed to them between two
//! packets.

mod answering;
mod doorway;
mod error;
mod files;
mod plan;
mod sessions;
mod threads;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use echo_proto::ids::ListenerName;
use echo_proto::spec::{Plan, Protocol};
use echo_proto::v1;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use crate::data::clock::ClockError;
pub use crate::data::counters::Counters;
use crate::data::gate::Gate;
use crate::data::order::{Change, Order};
use crate::data::rates::Cells;
pub use crate::data::socket::Buffers;
use crate::data::table::Ages;
pub use crate::data::who::Who;
use crate::memory;
use answering::Answering;
pub use doorway::Doorway;
pub use error::{ApplyError, ShardFailure, StartError, explain};
use plan::{Prepared, Socket};
pub use sessions::{Sessions, Silent};
use threads::{STEP_TIMEOUT, Threads, agreed};

/// How to start.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// Threads that serve; [`usable_cores`] by default.
    pub shards: NonZeroUsize,
    /// Address of listeners that name none.
    pub address: IpAddr,
    /// Who the node is; its revision comes with each plan.
    pub who: Who,
}

/// A listener as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its name in the plan.
    pub name: ListenerName,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address really bound; the port is never 0.
    pub address: SocketAddr,
    /// UDP: what the kernel holds for each of its sockets.
    pub buffers: Option<Buffers>,
}

/// Cores this process may use: its affinity and its cgroup's quota counted.
pub fn usable_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The shards and what they serve. Dropped without [`Self::stop`], it ends them as well, without waiting.
#[derive(Debug)]
pub struct Live {
    address: IpAddr,
    who: Who,
    threads: Threads,
    gate: Arc<Gate>,
    /// Files that the process may open.
    files: u64,
    counters: Counters,
    /// What was sent, for limits of rate.
    cells: Cells,
    /// The sockets in use, in the order of the plan.
    sockets: Vec<Socket>,
    answering: Answering,
    /// Set while the plan asks for more connections than there may be: how many it asks for, and may have.
    clamped: Option<(u32, u64)>,
}

impl Live {
    /// Starts the shards; they serve nothing yet. Needs no runtime.
    ///
    /// # Errors
    /// A thread or its event queue could not be had.
    pub fn start(options: LiveOptions) -> Result<Self, StartError> {
        memory::join_free_memory();
        let gate = Arc::new(Gate::default());
        let counters = Counters::new(options.shards.get());
        Ok(Self {
            address: options.address,
            who: options.who,
            threads: Threads::start(counters.flows(), &gate)?,
            gate,
            files: files::raise_limit(),
            counters,
            cells: Cells::default(),
            sockets: Vec::new(),
            answering: Answering::default(),
            clamped: None,
        })
    }

    /// Serves `plan`, which is of `revision`, in place of what was served before: whole or not at all. May be cancelled,
    /// with the same promise.
    ///
    /// # Errors
    /// What was served before goes on untouched. Only after [`ApplyError::Timeout`] may a stuck shard lag behind the
    /// others; then [`Self::failure`] resolves, too.
    pub async fn apply(&mut self, plan: &Plan, revision: &v1::RevisionRef) -> Result<Vec<Bound>, ApplyError> {
        let who = Arc::new(Who { revision: revision.clone(), ..self.who.clone() });
        let mut prepared = plan::prepare(plan, self.address, &self.sockets, self.threads.count());
        prepared.cells = self.cells.next(&plan.limits, prepared.sockets.iter().flatten().map(|socket| socket.id));
        if let Some(refused) = prepared.refused.take() {
            self.withdraw(plan, &who, prepared).await;
            return Err(refused);
        }
        let steps = self.propose(plan, &who, &mut prepared).await?;
        // From here to the next await nothing can fail: all shards switch, and so do we.
        self.cells = prepared.cells;
        self.answering.own = Answering::of(plan, &prepared.sockets);
        self.sockets = prepared.sockets.into_iter().flatten().collect();
        let (max, sockets) = (plan.limits.max_connections, self.sockets.len());
        let room = files::connections(self.files, max, sockets, self.threads.count());
        self.clamped = (room < u64::from(max)).then_some((max, room));
        self.gate.set_limits(room, plan.limits.max_connections_per_source);
        let mut finished = Vec::with_capacity(steps.len());
        for Step { go, done } in steps {
            // A shard that is gone meanwhile is reported by `failure`.
            let _ = go.send(());
            finished.push(done);
        }
        self.threads.all(finished).await?;
        Ok(self.bound())
    }

    /// First step: every shard takes its new sockets, and says that it is ready.
    async fn propose(&self, plan: &Plan, who: &Arc<Who>, prepared: &mut Prepared) -> Result<Vec<Step>, ApplyError> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        let mut steps = Vec::with_capacity(self.threads.count());
        let mut answers = Vec::with_capacity(self.threads.count());
        let ports = self.answering.ports(&Answering::of(plan, &prepared.sockets));
        let mut told = Ok(());
        for (shard, listeners) in prepared.orders(plan, self.threads.count(), &self.counters).into_iter().enumerate() {
            let ((ready, answer), (go, word), (done, finished)) =
                (oneshot::channel(), oneshot::channel(), oneshot::channel());
            let (who, ports) = (Arc::clone(who), Arc::clone(&ports));
            let ages = Ages { idle: plan.limits.idle_timeout, life: plan.limits.max_lifetime };
            let change = Change { listeners, who, ages, busy_poll: plan.busy_poll, ports, ready, go: word, done };
            told = self.threads.order(shard, Order::Change(change), deadline).await;
            if told.is_err() {
                break;
            }
            steps.push(Step { go, done: finished });
            answers.push(answer);
        }
        let agreed = match told {
            Ok(()) => agreed(answers, deadline).await,
            Err(e) => Err(e),
        };
        if agreed.is_err() {
            self.undo(std::mem::take(&mut steps)).await;
        }
        agreed.map(|()| steps)
    }

    /// Takes back the word from all, and waits so that a next try does not find these sockets still open.
    async fn undo(&self, steps: Vec<Step>) {
        let undone = steps.into_iter().map(|step| step.done).collect();
        let _ = self.threads.all(undone).await;
    }

    /// Of a refused plan: lets the shards answer what its sockets took from those in use, then close them.
    async fn withdraw(&self, plan: &Plan, who: &Arc<Who>, mut prepared: Prepared) {
        prepared.retain_takers();
        if !prepared.new.is_empty()
            && let Ok(steps) = self.propose(plan, who, &mut prepared).await
        {
            self.undo(steps).await;
        }
    }

    /// From now on no datagram is served that comes from one of these sockets, where the fleet answers; of the unspecified
    /// address, from that port of any.
    pub async fn set_fleet_ports(&mut self, fleet: Vec<SocketAddr>) {
        self.answering.fleet = fleet;
        let ports = self.answering.ports(&self.answering.own);
        self.threads.order_all(|done| Order::Ports(Arc::clone(&ports), done)).await;
    }

    /// Closes the TCP listeners, after taking what is queued; open connections and UDP go on. A later [`Self::apply`]
    /// opens them again.
    pub async fn close_tcp(&mut self) {
        self.close(|socket| socket.protocol == Protocol::Tcp).await;
    }

    /// As [`Self::close_tcp`], UDP sockets as well.
    pub async fn close_listeners(&mut self) {
        self.close(|_| true).await;
    }

    async fn close(&mut self, which: impl Fn(&Socket) -> bool) {
        let closed: Vec<_> = self.sockets.extract_if(.., |socket| which(socket)).map(|socket| socket.id).collect();
        self.threads.order_all(|done| Order::Close(closed.clone(), done)).await;
    }

    /// Closes every open connection; returns how many.
    pub async fn cut(&mut self) -> u64 {
        let open = self.connections();
        if open > 0 {
            self.threads.order_all(Order::Cut).await;
        }
        open
    }

    /// What is served, in the order of the plan.
    pub fn bound(&self) -> Vec<Bound> {
        self.sockets.iter().map(Socket::bound).collect()
    }

    /// Whether any socket is open.
    pub fn serves(&self) -> bool {
        !self.sockets.is_empty()
    }

    /// Set while the plan asks for more connections than this process may open: how many, and how many it may.
    pub fn clamped(&self) -> Option<(u32, u64)> {
        self.clamped
    }

    /// TCP connections open now.
    pub fn connections(&self) -> u64 {
        self.gate.open()
    }

    /// How long no datagram has come; `None` if none ever did, or no socket is there for any.
    pub fn udp_idle(&self) -> Option<Duration> {
        let served = self.sockets.iter().any(|socket| socket.protocol == Protocol::Udp);
        served.then(|| self.counters.udp_idle()).flatten()
    }

    /// Closes what is open and ends the shards; a stuck one is left to the end of the process.
    pub async fn stop(self) {
        self.threads.stop().await;
    }

    /// A handle to read the counters with; cheap to clone, and good beyond [`Self::stop`].
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// A handle to ask with what has come of stamped sessions; cheap to clone.
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.threads.inboxes())
    }

    /// Resolves when a shard ended that should not have; never after [`Self::stop`].
    pub fn failure(&self) -> impl Future<Output = ShardFailure> + Send + 'static {
        self.threads.failure()
    }
}

/// What is left of a change that a shard is ready for.
struct Step {
    go: oneshot::Sender<()>,
    /// Ends when the shard is through with it.
    done: oneshot::Receiver<()>,
}

#[cfg(test)]
mod tests;
