//! What control tells a shard.
//!
//! Made by [`crate::live`], carried out by [`super::shard`]. A change comes in two steps, so that all shards take it or
//! none: a shard makes its new sockets ready and says so, then waits for `go`. If `go` is dropped instead, nothing has
//! happened, but for what the new sockets took from the old ones meanwhile: the old listener serves that.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use echo_proto::spec::ServicePlan;
use tokio::sync::oneshot;

use super::guard::{Guard, Ports};
use super::ranges::Ranges;
use super::rates::Limiter;
use super::sessions::Listing;
use super::slot::Slot;
use super::table::Ages;
use super::who::Who;

/// A socket's identity over all shards and changes; never used twice.
pub(crate) type SocketId = u64;

/// One order.
#[derive(Debug)]
pub(crate) enum Order {
    /// Serve this from now on, and nothing else.
    Change(Change),
    /// Take what is queued, then close these listening and UDP sockets; dropped once it is done.
    Close(Vec<SocketId>, oneshot::Sender<()>),
    /// From now on these are the ports at which nodes answer datagrams; dropped once it is known.
    Ports(Arc<Ports>, oneshot::Sender<()>),
    /// Close every open connection; dropped once they are gone.
    Cut(oneshot::Sender<()>),
    /// Tell what has come of stamped sessions.
    Sessions(Question),
    /// Close everything and end.
    Stop,
}

/// Which flows of stamped sessions somebody wants to know of.
#[derive(Debug)]
pub(crate) struct Question {
    /// Only this session.
    pub(crate) session: Option<u64>,
    /// Most flows in the answer.
    pub(crate) limit: usize,
    /// Told with a copy.
    pub(crate) answer: oneshot::Sender<Listing>,
}

/// The whole state that a shard is to have.
#[derive(Debug)]
pub(crate) struct Change {
    /// All listeners, old and new; one that is not named here is closed.
    pub(crate) listeners: Vec<ListenerOrder>,
    /// Who the node is from now on.
    pub(crate) who: Arc<Who>,
    /// Ports at which nodes answer datagrams.
    pub(crate) ports: Arc<Ports>,
    /// How long TCP connections may last.
    pub(crate) ages: Ages,
    /// How long to look for packets before sleeping.
    pub(crate) busy_poll: Duration,
    /// Told once the new sockets are ready; an error is in words.
    pub(crate) ready: oneshot::Sender<Result<(), String>>,
    /// The word to switch.
    pub(crate) go: oneshot::Receiver<()>,
    /// Dropped once it is done, or undone.
    pub(crate) done: oneshot::Sender<()>,
}

/// One listener as a shard sees it.
#[derive(Debug)]
pub(crate) struct ListenerOrder {
    /// Which socket it uses.
    pub(crate) id: SocketId,
    /// That socket, if it is new to the shard.
    pub(crate) socket: Option<NewSocket>,
    /// The listener whose traffic that socket may take.
    pub(crate) predecessor: Option<SocketId>,
    /// What it does from now on.
    pub(crate) service: ServicePlan,
    /// How much may be sent to it, if that is limited.
    pub(crate) limiter: Option<Limiter>,
    /// Whose datagrams it serves ...
    pub(crate) guard: Arc<Guard>,
    /// ... and the longest of them.
    pub(crate) max_datagram: usize,
    /// Whether connections begin with a PROXY protocol header.
    pub(crate) balancers: Option<Arc<Ranges>>,
    /// Where the shard counts.
    pub(crate) slot: Arc<Slot>,
}

/// A bound, non-blocking socket; of TCP it listens.
#[derive(Debug)]
pub(crate) enum NewSocket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}
