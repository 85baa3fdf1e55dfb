//! What a node has to say of itself: phase, what it serves, what it refused.
//!
//! Written by the applier into a cell; the session puts it into etcd, health and the Agent
//! service read it. Two equal reports mean that nothing has to be written.

use std::time::SystemTime;

use echo_proto::v1;

use crate::live::{Bound, Buffers};

/// Most conditions of a node.
const MAX_CONDITIONS: usize = 8;
/// A part of the process, other than the data path, has ended.
pub const PROCESS: &str = "Process";
/// A shard has ended.
pub const DATA_PATH: &str = "DataPath";
/// The value of the assignment key could not be read.
pub const CONFIG_READABLE: &str = "ConfigReadable";
/// The assignment key is there.
pub const ASSIGNED: &str = "Assigned";
/// The node has a live record in etcd; told by the Agent service only.
pub const REGISTERED: &str = "Registered";
/// The newest config was applied; false as long as there is a rejection.
const CONFIG_ACCEPTED: &str = "ConfigAccepted";
/// The kernel holds the clock for synchronised.
pub const CLOCK_SYNCHRONIZED: &str = "ClockSynchronized";
/// Listeners refuse nobody for their source.
pub const SOURCES_ALLOWED: &str = "SourcesAllowed";
/// The process has a file left for a connection.
pub const FILES_EXHAUSTED: &str = "FilesExhausted";
/// The process may open as many connections as its config asks for.
pub const CLAMPED: &str = "Clamped";
/// All of them, the worst first: where there is room for some only, it is for these.
const WORST_FIRST: [&str; 10] = [
    PROCESS,
    DATA_PATH,
    REGISTERED,
    CONFIG_READABLE,
    ASSIGNED,
    CONFIG_ACCEPTED,
    SOURCES_ALLOWED,
    FILES_EXHAUSTED,
    CLAMPED,
    CLOCK_SYNCHRONIZED,
];

/// The state of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Where it is in its life.
    pub phase: v1::NodePhase,
    /// What it serves.
    pub applied: Option<v1::RevisionRef>,
    /// What it refused last.
    pub rejection: Option<v1::Rejection>,
    /// The addresses really bound.
    pub listeners: Vec<v1::BoundListener>,
    /// Only those that are not as they should be, the worst first; [`Self::told_conditions`] has what follows from the rest.
    pub conditions: Vec<v1::Condition>,
    /// Set while the node drains, and once an operator has drained it.
    pub drain: Option<v1::DrainStatus>,
    /// Who cordoned it; empty: nobody.
    pub cordoned_by: String,
    /// The change that this answers.
    pub trace: Option<v1::TraceContext>,
}

impl Report {
    /// A node that has done nothing yet.
    pub fn starting() -> Self {
        Self {
            phase: v1::NodePhase::Starting,
            applied: None,
            rejection: None,
            listeners: Vec::new(),
            conditions: Vec::new(),
            drain: None,
            cordoned_by: String::new(),
            trace: None,
        }
    }

    /// Sets a condition that is not as it should be, which answers no change; its time stays while it lasts.
    pub fn warn(&mut self, kind: &str, reason: &str, message: String) {
        self.set(wrong(kind, reason, message, SystemTime::now()));
    }

    /// As [`Self::warn`], with the time at which it began.
    pub fn set(&mut self, condition: v1::Condition) {
        let before = self.conditions.clone();
        set(&mut self.conditions, condition);
        if self.conditions != before {
            self.trace = None;
        }
    }

    /// The last of this life, which answers no change: a part of the node has ended, so that it takes no client any more.
    pub fn dying(mut self, why: v1::Condition) -> Self {
        self.set(why);
        let phase = if self.phase == v1::NodePhase::Ready { v1::NodePhase::Starting } else { self.phase };
        Self { phase, trace: None, ..self }
    }

    /// Nothing is served, and nothing said about a config; what an operator wants of the node stands.
    pub fn emptied(&mut self, phase: v1::NodePhase) {
        self.clear(&[CONFIG_READABLE, ASSIGNED, CLAMPED]);
        let (conditions, drain) = (std::mem::take(&mut self.conditions), self.drain.take());
        let cordoned_by = std::mem::take(&mut self.cordoned_by);
        *self = Self { phase, conditions, drain, cordoned_by, ..Self::starting() };
    }

    /// The conditions as they are told: a config that was refused is one.
    pub fn told_conditions(&self) -> Vec<v1::Condition> {
        let mut conditions = self.conditions.clone();
        if let Some(rejection) = &self.rejection {
            set(&mut conditions, refused(rejection));
        }
        conditions
    }

    /// Takes conditions back, which answers no change.
    pub fn clear(&mut self, kinds: &[&str]) {
        let before = self.conditions.len();
        self.conditions.retain(|c| !kinds.contains(&c.r#type.as_str()));
        if self.conditions.len() < before {
            self.trace = None;
        }
    }

    /// Why the node is not ready, or `None` if it is.
    pub fn not_ready(&self) -> Option<String> {
        let worst = self.conditions.first().map(|c| c.message.clone());
        let reason = match self.phase {
            v1::NodePhase::Ready if self.cordoned_by.is_empty() => return None,
            v1::NodePhase::Ready => format!("cordoned by {}; `echoctl uncordon` takes that back", self.cordoned_by),
            v1::NodePhase::Draining => match &self.drain {
                Some(drain) => format!("draining: {}", drain.reason),
                None => "draining".to_owned(),
            },
            v1::NodePhase::Drained => "drained; `echoctl undrain` lets it serve again".to_owned(),
            v1::NodePhase::NoPool => "the pool does not exist; apply it with `echoctl apply -f FILE`".to_owned(),
            v1::NodePhase::Rejected => match &self.rejection {
                Some(rejection) => format!("no config could be applied: {}", told(rejection)),
                None => format!("no config could be applied: {}", worst.unwrap_or_default()),
            },
            v1::NodePhase::Starting | v1::NodePhase::Unspecified => "no config is applied yet".to_owned(),
        };
        Some(reason)
    }
}

/// A condition that is not as it should be.
pub fn wrong(kind: &str, reason: &str, message: String, since: SystemTime) -> v1::Condition {
    let (r#type, reason, transition_time) = (kind.to_owned(), reason.to_owned(), Some(since.into()));
    v1::Condition { r#type, status: false, reason, message, transition_time }
}

fn refused(rejection: &v1::Rejection) -> v1::Condition {
    let (r#type, reason) = (CONFIG_ACCEPTED.to_owned(), rejection.reason.clone());
    v1::Condition { r#type, status: false, reason, message: told(rejection), transition_time: rejection.time }
}

/// Each kind has one condition; the worst of them stay where there is no room for all.
fn set(conditions: &mut Vec<v1::Condition>, condition: v1::Condition) {
    match conditions.iter_mut().find(|c| c.r#type == condition.r#type) {
        Some(found) => (found.reason, found.message) = (condition.reason, condition.message),
        None => conditions.push(condition),
    }
    conditions.sort_by_key(|c| WORST_FIRST.iter().position(|kind| *kind == c.r#type).unwrap_or(WORST_FIRST.len()));
    conditions.truncate(MAX_CONDITIONS);
}

/// `listener echo-tcp: bind 0.0.0.0:7007: address in use`
pub fn told(rejection: &v1::Rejection) -> String {
    if rejection.listener.is_empty() {
        rejection.cause.clone()
    } else {
        format!("listener {}: {}", rejection.listener, rejection.cause)
    }
}

/// A listener as the record tells it.
pub fn bound(listener: &Bound) -> v1::BoundListener {
    let size =
        |of: fn(Buffers) -> usize| listener.buffers.map_or(0, |buffers| u32::try_from(of(buffers)).unwrap_or(u32::MAX));
    v1::BoundListener {
        name: listener.name.to_string(),
        protocol: v1::Protocol::from(listener.protocol).into(),
        address: listener.address.to_string(),
        receive_buffer: size(|buffers| buffers.receive),
        send_buffer: size(|buffers| buffers.send),
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_unique_and_bounded() {
        let mut report = Report::starting();
        report.warn(CONFIG_READABLE, "Garbage", "first".into());
        let since = report.conditions.first().map(|c| c.transition_time);
        report.warn(CONFIG_READABLE, "Garbage", "second".into());
        assert_eq!(report.conditions.len(), 1);
        assert_eq!(report.conditions.first().map(|c| c.message.as_str()), Some("second"));
        assert_eq!(report.conditions.first().map(|c| c.transition_time), since);
        for i in 0..2 * MAX_CONDITIONS {
            report.warn(&format!("Kind{i}"), "X", String::new());
        }
        assert_eq!(report.conditions.len(), MAX_CONDITIONS);
        report.clear(&[CONFIG_READABLE]);
        assert!(report.conditions.iter().all(|c| c.r#type != CONFIG_READABLE));
    }

    #[test]
    fn the_worst_condition_stands_first_and_finds_room() {
        let mut report = Report::starting();
        for i in 0..MAX_CONDITIONS {
            report.warn(&format!("Kind{i}"), "X", String::new());
        }
        report.warn(CLOCK_SYNCHRONIZED, "Unsynchronized", String::new());
        report.warn(DATA_PATH, "ShardEnded", String::new());
        let kinds: Vec<_> = report.conditions.iter().map(|c| c.r#type.as_str()).collect();
        assert_eq!((kinds.len(), &kinds[..3]), (MAX_CONDITIONS, &[DATA_PATH, CLOCK_SYNCHRONIZED, "Kind0"][..]));
    }

    #[test]
    fn a_refused_config_is_a_condition_as_long_as_the_refusal_stands() {
        let mut report = Report::starting();
        let (reason, time) = ("BindFailed".to_owned(), Some(SystemTime::UNIX_EPOCH.into()));
        let rejection =
            v1::Rejection { reason, time, listener: "a".into(), cause: "taken".into(), ..Default::default() };
        report.rejection = Some(rejection);
        let message = "listener a: taken".to_owned();
        let expected = wrong(CONFIG_ACCEPTED, "BindFailed", message, SystemTime::UNIX_EPOCH);
        assert_eq!(report.told_conditions(), [expected]);
        report.rejection = None;
        assert!(report.told_conditions().is_empty());
    }

    #[test]
    fn a_node_without_a_pool_keeps_what_is_said_of_itself() {
        let mut report = Report { listeners: vec![v1::BoundListener::default()], ..Report::starting() };
        report.warn(ASSIGNED, "KeyMissing", String::new());
        report.warn(CLOCK_SYNCHRONIZED, "Unsynchronized", String::new());
        report.cordoned_by = "ann".into();
        report.emptied(v1::NodePhase::NoPool);
        assert_eq!(report.cordoned_by, "ann");
        assert_eq!((report.phase, report.listeners.len()), (v1::NodePhase::NoPool, 0));
        assert_eq!(report.conditions.iter().map(|c| c.r#type.as_str()).collect::<Vec<_>>(), [CLOCK_SYNCHRONIZED]);
    }

    #[test]
    fn who_dies_is_not_ready_but_drains_as_before() {
        let dying =
            |phase| Report { phase, ..Report::starting() }.dying(wrong(DATA_PATH, "x", "y".into(), SystemTime::now()));
        let last = dying(v1::NodePhase::Ready);
        assert_eq!((last.phase, last.conditions[0].r#type.as_str()), (v1::NodePhase::Starting, DATA_PATH));
        assert_eq!(dying(v1::NodePhase::Draining).phase, v1::NodePhase::Draining, "it was to leave anyway");
    }

    #[test]
    fn readiness_has_a_reason() {
        let mut report = Report::starting();
        assert_eq!(report.not_ready().as_deref(), Some("no config is applied yet"));
        report.phase = v1::NodePhase::Rejected;
        let cause = "bind 0.0.0.0:7007: address in use".to_owned();
        report.rejection = Some(v1::Rejection { listener: "echo-tcp".into(), cause, ..Default::default() });
        let told = "no config could be applied: listener echo-tcp: bind 0.0.0.0:7007: address in use";
        assert_eq!(report.not_ready().as_deref(), Some(told));
        report.phase = v1::NodePhase::Ready;
        assert_eq!(report.not_ready(), None);
        report.cordoned_by = "ann".into();
        let told = "cordoned by ann; `echoctl uncordon` takes that back";
        assert_eq!(report.not_ready().as_deref(), Some(told));
    }
}
