//! One flow's probes, and what an answer tells of its probe.
//!
//! Used by [`super`] alone. Pure.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use echo_proto::stamp::Answer;

use crate::prober::event::Reply;
use crate::prober::message::Told;
use crate::prober::path::{Loss, Path, Sent};

/// One probe.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) number: u64,
    /// Since the start: when it was to leave. Its time counts from here.
    pub(super) due: Duration,
    /// When it did; `None` while no connection has taken it.
    pub(super) taken: Option<Taken>,
    /// By the kernel, when it left.
    pub(super) left: Option<u64>,
    pub(super) state: State,
}

/// When a socket took a probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// Since the start.
    pub(super) at: Duration,
    /// By the wall clock, as written in the stamp.
    pub(super) wall: u64,
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
    /// Their time is over, and no connection took them.
    pub(super) unconnected: u64,
    past: Past,
    /// Highest sequence that was answered.
    pub(super) highest: Option<u64>,
    pub(super) overflow: u64,
}

/// Probes that are kept no more.
#[derive(Debug, Default)]
struct Past {
    answered: u64,
    /// Were taken and refused: they may have arrived.
    apart: u64,
    /// Were never taken.
    absent: u64,
}

/// An answer, as a socket took it.
#[derive(Debug, Clone)]
pub(in crate::prober) struct Receipt {
    pub(in crate::prober) sequence: u64,
    /// Since the start.
    pub(in crate::prober) at: Duration,
    /// By the kernel, on the wall clock.
    pub(in crate::prober) kernel: Option<u64>,
    /// How far off our own clock may have been then, if that is known.
    pub(in crate::prober) clock_error: Option<Duration>,
    pub(in crate::prober) stamp: Option<Box<Answer>>,
}

impl Receipt {
    /// One of an answer that came just now; the run adds its own time and clock's error.
    pub(in crate::prober) fn new(told: Told, kernel: Option<u64>) -> Self {
        Self { sequence: told.sequence, at: Duration::ZERO, kernel, clock_error: None, stamp: told.stamp }
    }
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
            unconnected: 0,
            past: Past::default(),
            highest: None,
            overflow: 0,
        }
    }

    /// Sequence of its next probe.
    pub(super) fn next(&self) -> u64 {
        self.first + self.probes.len() as u64
    }

    /// Adds the next probe, and forgets the first where more than `kept` were known.
    pub(super) fn push(&mut self, probe: Probe, kept: usize) {
        self.probes.push_back(probe);
        if self.probes.len() <= kept {
            return;
        }
        // Those that wait are fewer than are kept, so that it has had its time.
        let Some(first) = self.probes.pop_front() else { return };
        self.first += 1;
        self.past.answered += u64::from(matches!(first.state, State::Answered(_)));
        self.past.absent += u64::from(first.taken.is_none());
        self.past.apart += u64::from(first.taken.is_some() && first.state == State::Refused);
    }

    /// The probe of this sequence, if it is kept.
    pub(super) fn probe(&mut self, sequence: u64) -> Option<&mut Probe> {
        let index = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.probes.get_mut(index)
    }

    /// The probes that wait, with their sequences.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u64, &Probe)> {
        self.kept().filter(|(_, probe)| probe.state == State::Waiting)
    }

    fn kept(&self) -> impl Iterator<Item = (u64, &Probe)> {
        (self.first..).zip(&self.probes)
    }

    /// What became of the probes that had their time; `waiting` did not. Where no connection took one, there is no way
    /// on which it was lost.
    pub(super) fn loss(&self, waiting: u64) -> Loss {
        let issued = self.next();
        let all = issued - self.refused - self.unconnected - waiting;
        let horizon = self.path.horizon();
        let (mut apart, mut absent) = (self.past.apart, self.past.absent);
        for (_, probe) in self.kept().take_while(|(sequence, _)| horizon.is_some_and(|horizon| *sequence <= horizon)) {
            let untaken = probe.taken.is_none();
            absent += u64::from(untaken);
            apart += u64::from(!untaken && matches!(probe.state, State::Refused | State::Waiting));
        }
        let covered = horizon.map_or(0, |horizon| issued.min(horizon.saturating_add(1)));
        let known = covered.saturating_sub(apart + absent).min(all);
        let sent = Sent { all, answered: self.answered, overflow: self.overflow };
        let mut loss = self.path.loss(sent, known, apart, self.forgotten(issued));
        loss.unknown += self.unconnected;
        loss
    }

    /// Unanswered ones of which nobody may remember whether they came.
    fn forgotten(&self, issued: u64) -> u64 {
        let forgotten = self.path.forgotten().min(issued);
        let past = if forgotten < self.first { 0 } else { self.past.answered + self.past.absent };
        let known = self.kept().take_while(|(sequence, _)| *sequence < forgotten);
        let known = known.filter(|(_, probe)| probe.taken.is_none() || matches!(probe.state, State::Answered(_)));
        forgotten - past - known.count() as u64
    }
}

/// The times of an answer. The kernel's are taken where they can be true: not longer than what we saw ourselves, which
/// holds unless somebody sets the clock.
pub(super) fn reply_to(probe: &Probe, taken: Taken, receipt: &Receipt, address: SocketAddr) -> Reply {
    let ours = receipt.at.saturating_sub(taken.at);
    let between = |from: Option<u64>, to: Option<u64>| to?.checked_sub(from?).map(Duration::from_nanos);
    let kernel = between(probe.left, receipt.kernel).filter(|time| *time <= ours);
    let answer = receipt.stamp.as_deref();
    // When the node got to it says nothing of the way there, nor of what the node took.
    let arrived = answer.and_then(|answer| answer.arrival.time).filter(|time| time.kernel);
    let transmitted = answer.and_then(|answer| answer.transmitted);
    let in_node = between(arrived.map(|time| time.nanos), transmitted.map(|time| time.nanos));
    let delay = |from: u64, to: u64| i64::try_from(i128::from(to) - i128::from(from)).ok();
    let left = kernel.and(probe.left).unwrap_or(taken.wall);
    Reply {
        address,
        rtt: kernel.unwrap_or(ours),
        by_kernel: kernel.is_some(),
        in_node: in_node.filter(|time| *time <= ours),
        there: arrived.and_then(|time| delay(left, time.nanos)),
        back: transmitted.and_then(|time| delay(time.nanos, receipt.kernel?)),
        stamp: receipt.stamp.clone(),
    }
}
