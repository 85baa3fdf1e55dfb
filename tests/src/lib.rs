//! The cluster from outside: real etcd, real nodes, real control, driven by the real `echoctl`.
//!
//! A test reads like a topology: `Cluster::start(3)`, `cluster.echoctl("scale pool/default --replicas 5")`,
//! `eventually(...)`. Ports are free ones, waits are for conditions with a deadline, calls have a limit, and whatever a test starts ends with
//! it, also when the test is killed: every process hangs on a lifeline. A missing program fails the test and says how to
//! get it.
#![forbid(unsafe_code)]
// Here a failed expectation is the point.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

pub mod client;
pub mod cluster;
pub mod collector;
pub mod echoctl;
pub mod etcd;
pub mod fault;
pub mod finish;
pub mod lab;
pub mod node;
pub mod ports;
pub mod process;
pub mod replicas;
pub mod scripted;
pub mod slow;
pub mod stamped;
pub mod swarm;
pub mod tools;
pub mod traffic;
pub mod up;
pub mod wait;

pub use cluster::Cluster;
pub use echoctl::{Echoctl, Output};
pub use etcd::Etcd;
pub use lab::Lab;
pub use process::Process;
pub use scripted::Scripted;
pub use slow::SlowPath;
pub use swarm::Swarm;
pub use traffic::Traffic;
pub use wait::eventually;
