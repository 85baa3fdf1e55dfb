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

/// What asks for no flow in particular.
const NO_SESSION: u64 = 0;
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

/// What nodes said before the first probe: which process it is, and how many flows it had forgotten.
#[derive(Debug, Default)]
pub(super) struct Before(BTreeMap<String, v1::ListSessionsResponse>);

impl Before {
    /// Asks the nodes that control knows.
    pub(super) async fn ask(global: &Global, subject: &Subject<'_>) -> Self {
        let nodes = known(subject);
        if nodes.is_empty() { Self::default() } else { Self(all(global, nodes.into_values(), NO_SESSION, 1).await) }
    }

    /// Whether the node has forgotten nothing since.
    fn holds(&self, node: &str, after: &v1::ListSessionsResponse) -> bool {
        let same = |before: &v1::ListSessionsResponse| {
            !before.incarnation.is_empty()
                && (&before.incarnation, before.evicted) == (&after.incarnation, after.evicted)
        };
        self.0.get(node).is_some_and(same)
    }

    /// Datagrams that its receive queues had no room for meanwhile.
    fn overflowed(&self, node: &str, after: &v1::ListSessionsResponse) -> u64 {
        after.overflowed.saturating_sub(self.0.get(node).map_or(0, |before| before.overflowed))
    }
}

/// The nodes that are probed, by their names, where their stamps tell anything.
fn known<'a>(subject: &Subject<'a>) -> BTreeMap<&'a str, &'a Known> {
    let known = subject.reflectors.iter().filter_map(|reflector| reflector.node.as_ref());
    let stamped = subject.settings.stamped;
    known.filter(|_| stamped).map(|node| (node.name.as_str(), node)).collect()
}

/// Asks about the flows whose probes were not all answered, where control knows their nodes.
pub(super) async fn ask(global: &Global, run: &mut Run, subject: &Subject<'_>, before: &Before) -> Sessions {
    let mut sessions = Sessions::default();
    let loss = run.report().loss;
    let nodes = known(subject);
    if nodes.is_empty() || loss.network() + loss.by_node + loss.by_queue == 0 {
        return sessions;
    }
    let addresses: Vec<_> = subject.reflectors.iter().map(|reflector| reflector.address).collect();
    let flows = flows(&addresses, subject.settings.source_ports);
    let answers = all(global, nodes.values().copied(), run.session(), flows.len()).await;
    sessions.silent = nodes.keys().filter(|name| !answers.contains_key(**name)).map(ToString::to_string).collect();
    for (flow, (reflector, _)) in subject.reflectors.iter().cycle().zip(flows).enumerate() {
        let Some(node) = &reflector.node else { continue };
        let Some(answer) = answers.get(&node.name) else { continue };
        let (mut seen, dropped) = sum(answer, flow);
        let whole = before.holds(&node.name, answer) && tells_all(answer);
        if seen.count == 0 {
            // A flow that is not known is not told how many it may have lost.
            seen.overflowed = u32::try_from(before.overflowed(&node.name, answer)).unwrap_or(u32::MAX);
        }
        if seen.count > 0 || whole {
            run.learn(flow, &node.name, seen, whole);
        }
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
    flows: usize,
) -> BTreeMap<String, v1::ListSessionsResponse> {
    let mut answers = BTreeMap::new();
    let end = Instant::now() + DEADLINE;
    let Ok(Ok(control)) = timeout_at(end, control(global)).await else { return answers };
    let (session, limit) = (format!("{session:016x}"), u32::try_from(flows).unwrap_or(u32::MAX));
    let mut asked = JoinSet::new();
    for Known { name, pool } in nodes.cloned() {
        let request = v1::NodesListSessionsRequest { name: name.clone(), pool, session: session.clone(), limit };
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

/// Whether the answer has all flows of the session that the node knows.
fn tells_all(answer: &v1::ListSessionsResponse) -> bool {
    usize::try_from(answer.total).is_ok_and(|total| total <= answer.flows.len())
}

/// All that a node received of one flow: each of its ports has a part of it.
fn sum(answer: &v1::ListSessionsResponse, flow: usize) -> (Seen, BTreeMap<String, u64>) {
    let (mut seen, mut dropped) = (Seen { lowest: u64::MAX, ..Seen::default() }, BTreeMap::<String, u64>::new());
    for part in answer.flows.iter().filter(|part| usize::try_from(part.flow) == Ok(flow)) {
        seen.count = seen.count.saturating_add(part.received);
        let overflowed = u32::try_from(part.overflowed).unwrap_or(u32::MAX);
        seen.overflowed = seen.overflowed.saturating_add(overflowed);
        seen.lowest = seen.lowest.min(part.lowest);
        seen.duplicates = seen.duplicates.saturating_add(part.duplicates);
        if part.highest >= seen.highest {
            (seen.highest, seen.window) = (part.highest, part.window);
            // As in the stamp: it has two bytes there.
            seen.memory = part.memory as u16;
        }
        for (reason, count) in &part.dropped {
            seen.dropped = seen.dropped.saturating_add(*count);
            let of_reason = dropped.entry(reason.clone()).or_default();
            *of_reason = of_reason.saturating_add(*count);
        }
    }
    if seen.count == 0 {
        seen.lowest = 0;
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
            lowest: received,
            dropped: [("rate_limit".to_owned(), 2)].into(),
            ..Default::default()
        };
        let flows = vec![part(1, 5, 9), part(1, 4, 4), part(2, 100, 100)];
        let (seen, dropped) = sum(&v1::ListSessionsResponse { flows, ..Default::default() }, 1);
        assert_eq!((seen.count, seen.lowest, seen.highest, seen.dropped), (9, 4, 9, 4));
        assert_eq!(dropped.get("rate_limit"), Some(&4));
    }

    #[test]
    fn who_was_cut_off_began_anew_or_forgot_some_does_not_tell_that_nothing_came() {
        let answer = |incarnation: &str, total, evicted| v1::ListSessionsResponse {
            flows: vec![v1::SessionFlow::default()],
            total,
            evicted,
            incarnation: incarnation.to_owned(),
            ..Default::default()
        };
        assert!(tells_all(&answer("a", 1, 0)));
        assert!(!tells_all(&answer("a", 2, 0)), "cut off");
        let before = Before([("n".to_owned(), answer("a", 0, 4096))].into());
        assert!(before.holds("n", &answer("a", 1, 4096)), "what it forgot before the run is none of it");
        assert!(!before.holds("n", &answer("a", 1, 4097)), "forgot one");
        assert!(!before.holds("n", &answer("b", 1, 4096)), "began anew");
        assert!(!before.holds("m", &answer("a", 1, 4096)) && !Before::default().holds("n", &answer("", 1, 0)));
    }
}
