//! The data path: socket -> shard -> service -> socket.
//!
//! Driven by [`crate::live`] alone; read by metrics through [`counters`]. It must never wait for etcd, gRPC or telemetry:
//! what control wants arrives as an order that a shard takes between two packets.
//!
//! | module | idea |
//! |---|---|
//! | `socket` | who may bind what: the sockets of one address, one a shard |
//! | `owner` | who else stands on a port |
//! | `shard` | a thread that serves: its runtime, its buffers, its listeners |
//! | `listener` | a listener as a shard serves it |
//! | `order` | what control tells a shard |
//! | `accept` | new connections of a TCP listener |
//! | `gate` | how many connections there may be, in all and of each source |
//! | `source` | who counts as one, for limits |
//! | `tcp` | one connection: read, answer, keep what the peer has not taken |
//! | `spin` | busy polling |
//! | `ticket` | a connection's place in the books |
//! | `table` | a shard's open connections; closes those that are idle |
//! | `udp` | datagrams in batches |
//! | `mmsg`, `pktinfo`, `syscall` | the system calls for that, and their control messages: the only unsafe code |
//! | `guard`, `ranges` | whose datagrams are served |
//! | `rates` | how much a source, and a listener, may send |
//! | `proxy` | the PROXY protocol: whom a load balancer speaks for |
//! | `service` | echo, discard, chargen, ...: what to do with bytes |
//! | `who` | who answers: the node at one revision |
//! | `flows` | who sends datagrams, and when the last one came |
//! | `stamped`, `sessions` | answers stamped requests; what was received of their sessions |
//! | `clock` | how far off the clock may be, for stamps |
//! | `slot`, `counters` | what one shard counts; all of it added up |
//! | `reason` | why connections end, are refused, and datagrams dropped |

mod accept;
pub(crate) mod clock;
pub mod counters;
pub(crate) mod flows;
pub(crate) mod gate;
pub(crate) mod guard;
mod listener;
#[allow(unsafe_code)]
mod mmsg;
pub(crate) mod order;
pub(crate) mod owner;
#[allow(unsafe_code)]
mod pktinfo;
mod proxy;
pub(crate) mod ranges;
pub(crate) mod rates;
pub(crate) mod reason;
mod service;
pub(crate) mod sessions;
pub(crate) mod shard;
pub(crate) mod slot;
pub(crate) mod socket;
mod source;
mod spin;
mod stamped;
#[allow(unsafe_code)]
mod syscall;
pub(crate) mod table;
mod tcp;
mod ticket;
mod udp;
pub(crate) mod who;
