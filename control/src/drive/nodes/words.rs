//! Words for the events of nodes.
//!
//! Used by [`super::told`]. What a node says of itself is cut to what an event may hold. Pure.

use echo_proto::v1;

/// Longest text of a node that an event repeats.
pub(super) const MAX_CHARS: usize = 512;

/// `READY`
pub(super) fn phase(phase: v1::NodePhase) -> String {
    phase.as_str_name().trim_start_matches("NODE_PHASE_").to_owned()
}

pub(super) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {}", cut(reason, MAX_CHARS)) }
}

/// What a node that had to die said last; its other complaints have nothing to do with that.
pub(super) fn last_words(status: &v1::NodeStatus) -> String {
    let is_last = |c: &&v1::Condition| !c.status && matches!(c.r#type.as_str(), "DataPath" | "Process");
    let said = status.conditions.iter().find(is_last).map(|c| cut(&format!("{}: {}", c.reason, c.message), MAX_CHARS));
    said.map_or_else(String::new, |said| format!("; its last words: {said}"))
}

pub(super) fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ended_a_node_is_its_last_word() {
        let wrong = |kind: &str| v1::Condition {
            r#type: kind.into(),
            reason: "Broken".into(),
            message: format!("{kind} is bad"),
            ..Default::default()
        };
        let mut status = v1::NodeStatus { conditions: vec![wrong("ClockSynchronized")], ..Default::default() };
        assert_eq!(last_words(&status), "");
        status.conditions.push(wrong("DataPath"));
        assert_eq!(last_words(&status), "; its last words: Broken: DataPath is bad");
    }
}
