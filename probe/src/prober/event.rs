//! What happens to a probe, one event a line of output.
//!
//! Made by [`super::book`] and the sockets; shown by `echoctl probe`.

use std::net::SocketAddr;
use std::time::Duration;

use echo_proto::stamp::Answer;

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// Of the probe, counted from 1 over all flows; `None` where it is not known which.
    pub number: Option<u64>,
    /// Its flow: which of the addresses and source ports.
    pub flow: usize,
    /// Who was asked.
    pub address: SocketAddr,
    /// What it was.
    pub outcome: Outcome,
}

/// What became of a probe.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// An answer in time.
    Answered(Reply),
    /// An answer after its time.
    Late(Reply),
    /// Another answer.
    Duplicate(Reply),
    /// An answer to a probe of so long ago that nothing else is known of it.
    Forgotten,
    /// No answer in its time.
    Silent,
    /// No connection took it in its time.
    Unconnected,
    /// Somebody says that it can't be had: a host on the way, or the far end of a connection.
    Refused(String),
    /// Our own host did not send it.
    Unsent(String),
    /// What came is no answer to it, or to any.
    Wrong,
}

impl Outcome {
    /// Stable name.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Late(_) => "late",
            Self::Duplicate(_) => "duplicate",
            Self::Forgotten => "forgotten",
            Self::Silent => "silent",
            Self::Unconnected => "unconnected",
            Self::Refused(_) => "refused",
            Self::Unsent(_) => "unsent",
            Self::Wrong => "wrong",
        }
    }

    /// The answer, if it is one.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Answered(reply) | Self::Late(reply) | Self::Duplicate(reply) => Some(reply),
            _ => None,
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// From whom.
    pub address: SocketAddr,
    /// The round trip.
    pub rtt: Duration,
    /// Its times are the kernel's, from when the probe left to when the answer came; else ours, which are later.
    pub by_kernel: bool,
    /// Part of it that was spent in the node, as it tells.
    pub in_node: Option<Duration>,
    /// By the node's clock and ours: from us to the node, in nanoseconds.
    pub there: Option<i64>,
    /// The same from the node to us.
    pub back: Option<i64>,
    /// What the node wrote, if it knows stamps.
    pub stamp: Option<Box<Answer>>,
}
