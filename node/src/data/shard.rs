//! A shard: one thread that serves, with its own runtime, sockets, buffers and counters.
//!
//! Started by [`crate::live`], which gives it its orders. It must never wait for control, except for the moment between
//! two steps of a change, in which its connections go on.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use echo_proto::spec::DEFAULT_IDLE_TIMEOUT;
use echo_proto::stamp::Identity;
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::LocalRuntime;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet, yield_now};

use super::accept;
use super::flows::Flows;
use super::gate::Gate;
use super::guard::Ports;
use super::listener::{Listener, Served};
use super::mmsg::Batch;
use super::order::{Change, ListenerOrder, NewSocket, Order, Question, SocketId};
use super::sessions::Sessions;
use super::spin::{Spin, spin};
use super::table::{Ages, Table, sweep};
use super::udp;
use super::who::Who;

/// The read buffer of all of a shard's TCP connections. 64 KiB: with 16 KiB, messages of that size cost half as much
/// again, since each is read in two parts.
const READ_BUFFER: usize = 64 * 1024;

/// What the tasks of a shard share. Not `Send`: it lives and dies on its thread.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) gate: Arc<Gate>,
    pub(super) read_buffer: RefCell<Box<[u8]>>,
    pub(super) batch: RefCell<Batch>,
    pub(super) connections: Table,
    pub(super) flows: Arc<Flows>,
    /// As of the last change.
    pub(super) who: RefCell<Arc<Who>>,
    /// `who` as stamps say it.
    stamp: RefCell<Identity>,
    pub(super) sessions: RefCell<Sessions>,
    /// Ports at which nodes answer datagrams.
    pub(super) ports: RefCell<Arc<Ports>>,
    pub(super) ages: Cell<Ages>,
    pub(super) spin: Spin,
    /// Wakes the sweep.
    pub(super) limits_changed: Notify,
}

impl Shard {
    pub(super) fn new(gate: Arc<Gate>, flows: Arc<Flows>) -> Self {
        Self {
            gate,
            read_buffer: RefCell::new(vec![0; READ_BUFFER].into()),
            batch: RefCell::new(Batch::new()),
            connections: Table::default(),
            flows,
            who: RefCell::default(),
            sessions: RefCell::default(),
            stamp: RefCell::default(),
            ports: RefCell::default(),
            ages: Cell::new(Ages { idle: DEFAULT_IDLE_TIMEOUT, life: None }),
            spin: Spin::default(),
            limits_changed: Notify::new(),
        }
    }

    /// Who answers stamped requests at this moment.
    pub(super) fn stamp(&self) -> Ref<'_, Identity> {
        self.stamp.borrow_mut().clock_error = self.who.borrow().clock_error.micros();
        self.stamp.borrow()
    }
}

/// Serves on the calling thread until told to stop, or until whoever gives orders is gone.
///
/// # Errors
/// In words: a task that must not end has ended.
pub(crate) fn run(
    runtime: &LocalRuntime,
    gate: Arc<Gate>,
    flows: Arc<Flows>,
    orders: mpsc::Receiver<Order>,
) -> Result<(), String> {
    let shard = Rc::new(Shard::new(gate, flows));
    let mut tasks = JoinSet::new();
    runtime.block_on(async {
        let sweeping = Rc::clone(&shard);
        tasks.spawn_local(async move {
            sweep(sweeping).await;
            None
        });
        let spinning = Rc::clone(&shard);
        tasks.spawn_local(async move {
            spin(spinning).await;
            None
        });
        Chief { shard, listeners: HashMap::new(), tasks }.run(orders).await
    })
}

/// The task of a shard that takes orders.
struct Chief {
    shard: Rc<Shard>,
    listeners: HashMap<SocketId, (Rc<Listener>, oneshot::Sender<()>)>,
    /// Those of listeners end with their socket's id; the others must never end.
    tasks: JoinSet<Option<SocketId>>,
}

/// A socket that this shard's runtime watches.
enum Ready {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Chief {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), String> {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None | Some(Order::Stop) => return Ok(()),
                    Some(Order::Change(change)) => self.change(change).await?,
                    Some(Order::Ports(ports, done)) => {
                        self.shard.ports.replace(ports);
                        drop(done);
                    }
                    Some(Order::Close(which, done)) => {
                        self.close(|id| which.contains(&id)).await?;
                        drop(done);
                    }
                    Some(Order::Cut(done)) => {
                        self.shard.connections.end_all();
                        while !self.shard.connections.is_empty() {
                            yield_now().await;
                        }
                        drop(done);
                    }
                    Some(Order::Sessions(question)) => self.tell(question).await,
                },
                // Listeners are awaited where they are told to end.
                Some(end) = self.tasks.join_next() => return Err(unasked(end)),
            }
        }
    }

    /// Tells what has come, also while the shard was held up: what waits in a queue would pass for lost on its way, so
    /// each socket has as many turns as it takes to empty a full one.
    async fn tell(&self, Question { session, limit, answer }: Question) {
        for _ in 0..udp::TURNS {
            yield_now().await;
        }
        // Whoever asked may have given up.
        let _ = answer.send(self.shard.sessions.borrow().list(session, limit));
    }

    /// Both steps of a change.
    async fn change(&mut self, change: Change) -> Result<(), String> {
        let Change { listeners, who, ages, busy_poll, ports, ready, go, done } = change;
        let prepared: Result<Vec<_>, String> = listeners.into_iter().map(prepare).collect();
        let (answer, prepared) = match prepared {
            Ok(prepared) => (Ok(()), prepared),
            Err(e) => (Err(e), Vec::new()),
        };
        let able = answer.is_ok();
        let heard = ready.send(answer).is_ok();
        if able && heard && go.await.is_ok() {
            self.shard.stamp.replace(who.stamp());
            self.shard.who.replace(who);
            self.shard.spin.set(busy_poll);
            if self.shard.ages.replace(ages) != ages {
                self.shard.limits_changed.notify_one();
            }
            self.shard.ports.replace(ports);
            let kept: Vec<SocketId> = prepared.iter().map(|prepared| prepared.id).collect();
            for Prepared { id, served, socket, .. } in prepared {
                self.serve(id, Rc::new(served), socket);
            }
            self.close(|id| !kept.contains(&id)).await?;
        } else {
            for prepared in prepared {
                self.undo(prepared).await;
            }
        }
        drop(done);
        Ok(())
    }

    /// Closes a new socket that is not to serve; the listener that it was to follow takes what has come.
    async fn undo(&self, Prepared { socket, predecessor, .. }: Prepared) {
        let Some((listener, _)) = predecessor.and_then(|id| self.listeners.get(&id)) else { return };
        match socket {
            Some(Ready::Tcp(socket)) => accept::take_queued(socket, listener, &self.shard),
            Some(Ready::Udp(socket)) => udp::close(socket, &listener.served(), &self.shard).await,
            None => {}
        }
    }

    /// Switches a listener to `served`, or starts it.
    fn serve(&mut self, id: SocketId, served: Rc<Served>, socket: Option<Ready>) {
        if let Some((listener, _)) = self.listeners.get(&id) {
            *listener.0.borrow_mut() = served;
            return;
        }
        let Some(socket) = socket else { return };
        let listener = Rc::new(Listener(RefCell::new(served)));
        let (stop, stopped) = oneshot::channel();
        self.listeners.insert(id, (Rc::clone(&listener), stop));
        let shard = Rc::clone(&self.shard);
        self.tasks.spawn_local(async move {
            match socket {
                Ready::Tcp(socket) => accept::run(socket, listener, shard, stopped).await,
                Ready::Udp(socket) => udp::run(socket, listener, shard, stopped).await,
            }
            Some(id)
        });
    }

    /// Ends listeners and waits until their sockets are closed; they take what is queued, which is bounded.
    async fn close(&mut self, which: impl Fn(SocketId) -> bool) -> Result<(), String> {
        // Dropping the sender is the word to stop.
        let mut closing: HashSet<SocketId> = self.listeners.extract_if(|id, _| which(*id)).map(|(id, _)| id).collect();
        while !closing.is_empty()
            && let Some(end) = self.tasks.join_next().await
        {
            match end {
                Ok(Some(id)) if closing.remove(&id) => {}
                other => return Err(unasked(other)),
            }
        }
        Ok(())
    }
}

/// What it means that a task ended which nobody told to.
fn unasked(end: Result<Option<SocketId>, JoinError>) -> String {
    match end {
        Ok(Some(id)) => format!("the task of socket {id} ended by itself"),
        Ok(None) => "a task of its own ended by itself".to_owned(),
        Err(e) => format!("a task panicked: {e}"),
    }
}

/// A listener of a change that the shard is ready for.
struct Prepared {
    id: SocketId,
    served: Served,
    socket: Option<Ready>,
    predecessor: Option<SocketId>,
}

/// Lets the shard's runtime watch a new socket.
fn prepare(order: ListenerOrder) -> Result<Prepared, String> {
    let ListenerOrder { id, socket, predecessor, service, limiter, guard, max_datagram, balancers, slot } = order;
    let socket = match socket {
        None => Ok(None),
        Some(NewSocket::Tcp(socket)) => TcpListener::from_std(socket).map(|s| Some(Ready::Tcp(s))),
        Some(NewSocket::Udp(socket)) => UdpSocket::from_std(socket).map(|s| Some(Ready::Udp(s))),
    };
    let socket = socket.map_err(|e: io::Error| format!("watch a new socket: {e}"))?;
    let served = Served { service, limiter, guard, max_datagram, balancers, slot };
    Ok(Prepared { id, served, socket, predecessor })
}

#[cfg(test)]
mod tests;
