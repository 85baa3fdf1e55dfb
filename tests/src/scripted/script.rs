//! The script of faults: what each kind of call meets, and how often each was asked.
//!
//! Written by the test, read by the services before each call. A fault holds for the next so many calls, or until the
//! test heals it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::refusal::Refusal;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Reads of keys.
    Range,
    /// Plain puts.
    Put,
    /// Plain deletes.
    Delete,
    /// Transactions.
    Txn,
    /// Compactions.
    Compact,
    /// New leases.
    Grant,
    /// Leases given back.
    Revoke,
    /// Heartbeats, each by itself.
    KeepAlive,
    /// Looks at a lease.
    TimeToLive,
    /// Lists of leases.
    Leases,
    /// New watches.
    Watch,
    /// Status and alarms.
    Maintenance,
}

/// What a call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is done so much later.
    Late(Duration),
    /// It is done, and answered once all that met this before it are, each of which takes so long; also those whose callers
    /// did not wait: of an overloaded etcd they cost as much.
    Queued(Duration),
    /// It is done, and nobody hears of it.
    AnswerLost,
    /// It is done, and said to have taken too long.
    TookTooLong,
    /// Nothing is done and nothing is said.
    Silence,
    /// Refused: etcd is behind with its work.
    TooManyRequests,
    /// Refused: the member has lost its quorum.
    NoLeader,
}

#[derive(Debug)]
struct Rule {
    /// `None`: all of them.
    call: Option<Call>,
    /// Only transactions that put this key.
    puts: Option<String>,
    fault: Fault,
    /// Calls that still meet it; `None`: until it is healed.
    left: Option<u32>,
}

/// The faults in force, and the calls so far.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
    calls: Vec<(Instant, Call)>,
    /// Calls that met a fault.
    met: usize,
    /// When the last of those that are queued is answered.
    busy_until: Option<Instant>,
}

impl Script {
    pub(super) fn add(&mut self, call: Option<Call>, fault: Fault, left: Option<u32>) {
        self.rules.push(Rule { call, puts: None, fault, left });
    }

    pub(super) fn add_for_puts(&mut self, key: &str, fault: Fault) {
        self.rules.push(Rule { call: Some(Call::Txn), puts: Some(key.to_owned()), fault, left: None });
    }

    pub(super) fn heal(&mut self) {
        self.rules.clear();
    }

    /// Counts a call, which puts these keys if it is a transaction, and tells what it meets.
    pub(super) fn meet(&mut self, call: Call, puts: &[&[u8]]) -> Option<Fault> {
        self.calls.push((Instant::now(), call));
        let meets = |rule: &Rule| {
            rule.call.is_none_or(|wanted| wanted == call)
                && rule.puts.as_ref().is_none_or(|key| puts.contains(&key.as_bytes()))
        };
        let met = self.rules.iter().position(meets)?;
        let rule = self.rules.get_mut(met)?;
        let fault = rule.fault;
        self.met += 1;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        self.rules.retain(|rule| rule.left != Some(0));
        Some(fault)
    }

    /// Puts a call that takes so long at the end of the queue: when it is answered.
    pub(super) fn queue(&mut self, each: Duration) -> Instant {
        let (now, busy_until) = (Instant::now(), self.busy_until);
        *self.busy_until.insert(busy_until.map_or(now, |until| until.max(now)) + each)
    }

    /// How many calls met a fault.
    pub(super) fn met(&self) -> usize {
        self.met
    }

    /// How many calls of this kind there were.
    pub(super) fn count(&self, call: Call) -> usize {
        self.calls.iter().filter(|(_, made)| *made == call).count()
    }

    /// The most calls within any one second since `since`, heartbeats aside.
    pub(super) fn busiest_second(&self, since: Instant) -> usize {
        let mut second: VecDeque<Instant> = VecDeque::new();
        let mut most = 0;
        for (at, _) in self.calls.iter().filter(|(at, call)| *at >= since && *call != Call::KeepAlive) {
            second.push_back(*at);
            while second.front().is_some_and(|first| *at - *first > Duration::from_secs(1)) {
                second.pop_front();
            }
            most = most.max(second.len());
        }
        most
    }
}

/// What is left to do of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Answer,
    DoInSilence,
    DoInVain,
    Ignore,
}

/// Lets a call meet its fault.
pub(super) async fn meet(fault: Option<Fault>) -> Result<Verdict, Refusal> {
    match fault {
        // What is queued has its turn elsewhere; a watch takes none.
        None | Some(Fault::Queued(_)) => Ok(Verdict::Answer),
        Some(Fault::Late(by)) => {
            tokio::time::sleep(by).await;
            Ok(Verdict::Answer)
        }
        Some(Fault::AnswerLost) => Ok(Verdict::DoInSilence),
        Some(Fault::TookTooLong) => Ok(Verdict::DoInVain),
        Some(Fault::Silence) => Ok(Verdict::Ignore),
        Some(Fault::TooManyRequests) => Err(Refusal::TooManyRequests),
        Some(Fault::NoLeader) => Err(Refusal::NoLeader),
    }
}
