//! What nodes received of a run, asked from their Agents through control when it has ended: where no answer came, only
//! they know, and control may reach them where we do not.
//!
//! Used by `probe`. It must never hold the summary up for long; who does not answer is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use echo_probe::prober::{Run, flows};
use echo_proto::stamp::Seen;
use echo_proto::v1;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Subject;
use crate::args::Global;
use crate::reflector::{Known, control};

/// Longest wait for all of them.
const DEADLINE: Duration = Duration::from_secs(3);

/// What the nodes told.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Probes that nodes dropped, by reason.
    pub(super) dropped: BTreeMap<String, u64>,
    /// Nodes whose Agents did not tell.
    pub(super) silent: BTreeSet<String>,
}

/// Asks about the flows whose probes were not all answered, where control knows their nodes.
pub(super) async fn ask(global: &Global, run: &mut Run, subject: &Subject<'_>) -> Sessions {
    let mut sessions = Sessions::default();
    let loss = run.report().loss;
    let known = subject.reflectors.iter().filter_map(|reflector| reflector.node.as_ref());
    let nodes: BTreeMap<&str, &Known> = known.map(|node| (node.name.as_str(), node)).collect();
    if nodes.is_empty() || !subject.settings.stamped || loss.network() + loss.by_node == 0 {
        return sessions;
    }
    let answers = all(global, nodes.values().copied(), run.session()).await;
    sessions.silent = nodes.keys().filter(|name| !answers.contains_key(**name)).map(ToString::to_string).collect();
    let addresses: Vec<_> = subject.reflectors.iter().map(|reflector| reflector.address).collect();
    let flows = flows(&addresses, subject.settings.source_ports);
    for (flow, (reflector, _)) in subject.reflectors.iter().cycle().zip(flows).enumerate() {
        let Some(node) = &reflector.node else { continue };
        let Some(answer) = answers.get(&node.name) else { continue };
        let (seen, dropped) = sum(answer, flow);
        // Only what forgot nothing can tell that nothing came.
        let whole = seen.count > 0 || (answer.evicted == 0 && answer.overflowed == 0);
        run.learn(flow, &node.name, seen, whole);
        for (reason, count) in dropped {
            *sessions.dropped.entry(reason).or_default() += count;
        }
    }
    sessions
}

/// What the nodes tell in time, by their names.
async fn all(
    global: &Global,
    nodes: impl Iterator<Item = &Known>,
    session: u64,
) -> BTreeMap<String, v1::ListSessionsResponse> {
    let mut answers = BTreeMap::new();
    let end = Instant::now() + DEADLINE;
    let Ok(Ok(control)) = timeout_at(end, control(global)).await else { return answers };
    let mut asked = JoinSet::new();
    for Known { name, pool } in nodes.cloned() {
        let request = v1::NodesListSessionsRequest { name: name.clone(), pool, session: format!("{session:016x}") };
        let mut control = control.clone();
        // Control bounds how many of them it asks at the same time.
        asked.spawn(async move { (name, control.nodes.list_sessions(request).await) });
    }
    while let Ok(Some(answer)) = timeout_at(end, asked.join_next()).await {
        if let Ok((name, Ok(answer))) = answer
            && let Some(sessions) = answer.into_inner().sessions
        {
            answers.insert(name, sessions);
        }
    }
    answers
}

/// All that a node received of one flow: of TCP, each connection has a part of it.
fn sum(answer: &v1::ListSessionsResponse, flow: usize) -> (Seen, BTreeMap<String, u64>) {
    let (mut seen, mut dropped) = (Seen::default(), BTreeMap::<String, u64>::new());
    for part in answer.flows.iter().filter(|part| usize::try_from(part.flow) == Ok(flow)) {
        seen.count = seen.count.saturating_add(part.received);
        let overflowed = u32::try_from(part.overflowed).unwrap_or(u32::MAX);
        seen.overflowed = seen.overflowed.saturating_add(overflowed);
        seen.duplicates = seen.duplicates.saturating_add(part.duplicates);
        if part.highest >= seen.highest {
            (seen.highest, seen.window) = (part.highest, part.window);
        }
        for (reason, count) in &part.dropped {
            seen.dropped = seen.dropped.saturating_add(*count);
            let of_reason = dropped.entry(reason.clone()).or_default();
            *of_reason = of_reason.saturating_add(*count);
        }
    }
    (seen, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_flow_are_added_up_and_others_left_out() {
        let part = |flow, received, highest| v1::SessionFlow {
            flow,
            received,
            highest,
            dropped: [("rate_limit".to_owned(), 2)].into(),
            ..Default::default()
        };
        let flows = vec![part(1, 5, 9), part(1, 4, 4), part(2, 100, 100)];
        let (seen, dropped) = sum(&v1::ListSessionsResponse { flows, ..Default::default() }, 1);
        assert_eq!((seen.count, seen.highest, seen.dropped), (9, 9, 4));
        assert_eq!(dropped.get("rate_limit"), Some(&4));
    }
}
