//! How a node leaves without losing what it has begun: what it waits for, and until when. Pure: time is passed in.
//!
//! Used by the applier ([`crate::agent::applier`]), which carries the steps out. Not ready, and the record says so -> go on
//! accepting for `lameDuck` -> TCP listeners closed -> connections end, and UDP falls quiet, or the deadline comes -> closed.

use std::time::{Duration, SystemTime};

use echo_proto::spec::{DrainPlan, MAX_DURATION};
use echo_proto::v1::{self, DrainStage, NodePhase};
use tokio::time::Instant;

/// Longest wait until the record says that the node drains; and again, until it says what that has cut.
const TELL_LIMIT: Duration = Duration::from_secs(1);
/// How often it is worth to look whether anything is still open: at first, when most drains end, ...
const POLL: Duration = Duration::from_millis(5);
/// ... for so long ...
const POLL_SHARPLY: Duration = Duration::from_secs(1);
/// ... and then, up to a day.
const POLL_LATER: Duration = Duration::from_millis(100);

/// Who wants this node to serve no more, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// For people: `SIGTERM`, `drained by ann`.
    pub reason: String,
    /// What comes after.
    pub after: After,
    /// How long all of it may take, the lame duck included; `None` is as the config says.
    pub limit: Option<Duration>,
    /// Wait for nothing.
    pub force: bool,
    /// The change that this answers.
    pub trace: Option<v1::TraceContext>,
}

/// What comes after a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The process ends.
    Exit,
    /// It stays registered until the wish is taken back.
    Wait,
    /// It waits for its pool, which was deleted.
    NoPool,
}

impl Wish {
    /// Of who ends the process.
    pub fn exit(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), after: After::Exit, limit: None, force: false, trace: None }
    }

    /// Both at once: neither gets less than it asks for. The reason is the first one's. A limit that is not given is
    /// `longest`.
    pub fn and(self, other: Self, longest: Duration) -> Self {
        let limit = match (self.limit, other.limit) {
            (None, None) => None,
            (one, two) => Some(one.unwrap_or(longest).min(two.unwrap_or(longest))),
        };
        let after = if other.after == After::Exit { After::Exit } else { self.after };
        let (force, trace) = (self.force || other.force, self.trace.or(other.trace));
        Self { reason: self.reason, after, limit, force, trace }
    }
}

/// What is still going on.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// Some socket is open.
    pub listeners: bool,
    /// TCP connections.
    pub connections: u64,
    /// How long no datagram has come; `None` where none can, or ever did.
    pub udp_idle: Option<Duration>,
    /// The record says that the node drains, whether it exits and what was cut; or nobody can be told.
    pub told: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this, unless what is open changes.
    Wait(Instant),
    /// Close the TCP listeners.
    CloseTcp,
    /// Close all that is open.
    Finish,
    /// Nothing more: it stays as it is.
    Stay,
    /// End the process.
    Exit,
}

/// One drain.
#[derive(Debug, Clone)]
pub struct Drain {
    wish: Wish,
    stage: DrainStage,
    start_time: SystemTime,
    began: Instant,
    /// When the record has waited long enough to be written.
    tell_until: Instant,
    lame_until: Instant,
    end: Instant,
    udp_quiet: Duration,
    cut: u32,
}

impl Drain {
    /// Begins.
    pub fn begin(wish: Wish, plan: DrainPlan, now: Instant) -> Self {
        let mut drain = Self {
            stage: DrainStage::LameDuck,
            start_time: SystemTime::now(),
            began: now,
            tell_until: now,
            lame_until: now,
            end: now,
            udp_quiet: plan.udp_quiet,
            cut: 0,
            wish,
        };
        drain.plan(plan, now);
        drain
    }

    /// Goes on as somebody else wants it. Who ends the process never gets more time than the drain had before.
    pub fn revise(&mut self, wish: Wish, plan: DrainPlan, now: Instant) {
        let (end, lame_until) = (self.end, self.lame_until);
        self.wish = wish;
        self.plan(plan, now);
        if self.exits() {
            self.end = self.end.min(end);
            self.lame_until = self.lame_until.min(lame_until);
        }
    }

    fn plan(&mut self, plan: DrainPlan, now: Instant) {
        let limit = if self.wish.force { Some(Duration::ZERO) } else { self.wish.limit };
        let longest = limit.unwrap_or_else(|| plan.longest()).min(MAX_DURATION);
        self.tell_until = if self.wish.force { now } else { now + TELL_LIMIT };
        // Where there is no time for both, it is for the connections.
        self.lame_until = now + plan.lame_duck.min(longest.saturating_sub(plan.deadline));
        self.end = now + longest;
    }

    /// Whose wish it is.
    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    /// How far it is.
    pub fn stage(&self) -> DrainStage {
        self.stage
    }

    /// Until when.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// Whether the process ends afterwards.
    pub fn exits(&self) -> bool {
        self.wish.after == After::Exit
    }

    /// What to do now.
    pub fn step(&self, open: Open, now: Instant) -> Step {
        let told = open.told || now >= self.tell_until;
        let done = open.connections == 0 && open.udp_idle.is_none_or(|idle| idle >= self.udp_quiet);
        match self.stage {
            DrainStage::Unspecified | DrainStage::LameDuck if !open.listeners && done => Step::Finish,
            DrainStage::Unspecified | DrainStage::LameDuck if told && now >= self.lame_until => Step::CloseTcp,
            DrainStage::Unspecified | DrainStage::LameDuck if told => Step::Wait(self.lame_until),
            DrainStage::Closing if done || now >= self.end => Step::Finish,
            DrainStage::Drained if !self.exits() => Step::Stay,
            DrainStage::Drained if told => Step::Exit,
            _ => {
                let poll = if now.saturating_duration_since(self.began) < POLL_SHARPLY { POLL } else { POLL_LATER };
                Step::Wait(now + poll)
            }
        }
    }

    /// Notes that the TCP listeners are closed.
    pub fn closing(&mut self) {
        self.stage = DrainStage::Closing;
    }

    /// Notes that nothing is open any more, and how many connections that has cut, which is to be told.
    pub fn drained(&mut self, cut: u64, now: Instant) {
        self.stage = DrainStage::Drained;
        self.cut = u32::try_from(cut).unwrap_or(u32::MAX);
        if cut > 0 {
            self.tell_until = now + TELL_LIMIT;
        }
    }

    /// Whether a record with `said` has nothing more to tell.
    pub fn is_told_by(&self, said: Option<&v1::DrainStatus>) -> bool {
        said.is_some_and(|said| said.exits == self.exits() && said.cut_connections == self.cut)
    }

    /// Where the node is in its life.
    pub fn phase(&self) -> NodePhase {
        match (self.stage, self.wish.after) {
            (DrainStage::Drained, After::Wait) => NodePhase::Drained,
            (DrainStage::Drained, After::NoPool) => NodePhase::NoPool,
            _ => NodePhase::Draining,
        }
    }

    /// As the record tells it; nothing once a deleted pool's listeners are closed.
    pub fn status(&self) -> Option<v1::DrainStatus> {
        (self.phase() != NodePhase::NoPool).then(|| v1::DrainStatus {
            stage: self.stage.into(),
            reason: self.wish.reason.clone(),
            start_time: Some(self.start_time.into()),
            deadline_time: Some((self.start_time + self.end.duration_since(self.began)).into()),
            exits: self.exits(),
            cut_connections: self.cut,
        })
    }
}

#[cfg(test)]
mod tests;
