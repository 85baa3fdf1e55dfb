//! What a node has to say of itself: phase, what it serves, what it refused.
//!
//! Written by the applier (and by the drain at the end) into a cell; the session puts it into etcd, health and the Agent
//! service read it. Two equal reports mean that nothing has to be written.

use std::time::SystemTime;

use echo_proto::spec::Protocol;
use echo_proto::v1;

use crate::live::Bound;

/// Most conditions of a node.
const MAX_CONDITIONS: usize = 8;
/// The value of the assignment key could not be read.
pub const CONFIG_READABLE: &str = "ConfigReadable";
/// The assignment key is there.
pub const ASSIGNED: &str = "Assigned";
/// The node has a live record in etcd; told by the Agent service only.
pub const REGISTERED: &str = "Registered";

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
    /// Only those that are not as they should be.
    pub conditions: Vec<v1::Condition>,
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
            trace: None,
        }
    }

    /// Sets a condition that is not as it should be; its time stays while it lasts.
    pub fn warn(&mut self, kind: &str, reason: &str, message: String) {
        self.warn_since(SystemTime::now(), kind, reason, message);
    }

    /// As [`Self::warn`], for what began at `since`.
    pub fn warn_since(&mut self, since: SystemTime, kind: &str, reason: &str, message: String) {
        if let Some(found) = self.conditions.iter_mut().find(|c| c.r#type == kind) {
            (found.reason, found.message) = (reason.to_owned(), message);
        } else if self.conditions.len() < MAX_CONDITIONS {
            self.conditions.push(v1::Condition {
                r#type: kind.to_owned(),
                status: false,
                reason: reason.to_owned(),
                message,
                transition_time: Some(since.into()),
            });
        }
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
            v1::NodePhase::Ready => return None,
            v1::NodePhase::Draining => "draining".to_owned(),
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
    let protocol = match listener.protocol {
        Protocol::Tcp => v1::Protocol::Tcp,
        Protocol::Udp => v1::Protocol::Udp,
    };
    v1::BoundListener {
        name: listener.name.to_string(),
        protocol: protocol.into(),
        address: listener.address.to_string(),
    }
}

#[cfg(test)]
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
    }
}
