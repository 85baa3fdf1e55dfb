//! One flow's probes, and what an answer tells of its probe.
//!
//! Used by [`super`] alone. Pure.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use echo_proto::stamp::Answer;

use crate::prober::event::Reply;
use crate::prober::path::{Loss, Path, Sent};

/// One probe.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) number: u64,
    /// Since the start.
    pub(super) sent: Duration,
    /// By the wall clock, as written in the stamp.
    pub(super) wall: u64,
    /// By the kernel, when it left.
    pub(super) left: Option<u64>,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    /// Its time is over.
    Silent,
    Refused,
    /// With the node's count, where that was told: another answer with the same count was doubled on its way back.
    Answered(Option<u64>),
}

/// What belongs together: probes of one source port to one address.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) address: SocketAddr,
    /// Sequence of the first that is kept.
    pub(super) first: u64,
    pub(super) probes: VecDeque<Probe>,
    pub(super) path: Path,
    pub(super) answered: u64,
    pub(super) refused: u64,
    /// Highest sequence that was answered.
    pub(super) highest: Option<u64>,
    pub(super) overflow: u64,
}

/// An answer, as a socket took it.
#[derive(Debug, Clone)]
pub(in crate::prober) struct Receipt {
    pub(in crate::prober) sequence: u64,
    /// Since the start.
    pub(in crate::prober) at: Duration,
    /// By the kernel, on the wall clock.
    pub(in crate::prober) kernel: Option<u64>,
    pub(in crate::prober) stamp: Option<Box<Answer>>,
}

impl Flow {
    /// One to this address.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            first: 0,
            probes: VecDeque::new(),
            path: Path::default(),
            answered: 0,
            refused: 0,
            highest: None,
            overflow: 0,
        }
    }

    /// Sequence of its next probe.
    pub(super) fn next(&self) -> u64 {
        self.first + self.probes.len() as u64
    }

    /// The probe of this sequence, if it is kept.
    pub(super) fn probe(&mut self, sequence: u64) -> Option<&mut Probe> {
        let index = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.probes.get_mut(index)
    }

    /// Sequences of the probes that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = u64> {
        let probes = (self.first..).zip(&self.probes);
        probes.filter(|(_, probe)| probe.state == State::Waiting).map(|(sequence, _)| sequence)
    }

    /// What became of the probes that had their time; `waiting` did not.
    pub(super) fn loss(&self, waiting: u64) -> Loss {
        let issued = self.next();
        let all = issued - self.refused - waiting;
        let horizon = self.path.horizon();
        let within = |sequence: u64| horizon.is_some_and(|horizon| sequence <= horizon);
        let apart = (self.first..)
            .zip(&self.probes)
            .filter(|(sequence, probe)| within(*sequence) && matches!(probe.state, State::Refused | State::Waiting));
        let apart = apart.count() as u64;
        let covered = horizon.map_or(0, |horizon| issued.min(horizon.saturating_add(1)));
        let known = covered.saturating_sub(apart).min(all);
        let forgotten = self.path.forgotten().min(issued);
        let answered = (self.first..forgotten).zip(&self.probes);
        let answered = answered.filter(|(_, probe)| matches!(probe.state, State::Answered(_))).count() as u64;
        let sent = Sent { all, answered: self.answered, overflow: self.overflow };
        self.path.loss(sent, known, apart, forgotten - answered)
    }
}

/// The times of an answer. The kernel's are taken where they can be true: not longer than what we saw ourselves, which
/// holds unless somebody sets the clock.
pub(super) fn reply_to(probe: &Probe, receipt: &Receipt, address: SocketAddr) -> Reply {
    let ours = receipt.at.saturating_sub(probe.sent);
    let between = |from: Option<u64>, to: Option<u64>| to?.checked_sub(from?).map(Duration::from_nanos);
    let kernel = between(probe.left, receipt.kernel).filter(|time| *time <= ours);
    let answer = receipt.stamp.as_deref();
    let (received, transmitted) = (answer.and_then(|a| a.arrival.time), answer.and_then(|a| a.transmitted));
    // Without the kernel's time of the arrival it is not what the node took.
    let arrived = received.filter(|time| time.kernel);
    let in_node = between(arrived.map(|time| time.nanos), transmitted.map(|time| time.nanos));
    let delay = |from: u64, to: u64| i64::try_from(i128::from(to) - i128::from(from)).ok();
    let left = kernel.and(probe.left).unwrap_or(probe.wall);
    Reply {
        address,
        rtt: kernel.unwrap_or(ours),
        by_kernel: kernel.is_some(),
        in_node: in_node.filter(|time| *time <= ours),
        there: received.and_then(|time| delay(left, time.nanos)),
        back: transmitted.and_then(|time| delay(time.nanos, receipt.kernel?)),
        stamp: receipt.stamp.clone(),
    }
}
