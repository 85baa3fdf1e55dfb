//! What nodes received of a run, asked from their Agents when it has ended: where no answer came, only they know.
//!
//! Used by `probe`. It must never hold the summary up for long; who does not answer is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use echo_probe::prober::{Run, Settings, flows};
use echo_proto::stamp::Seen;
use echo_proto::v1;
use echo_proto::v1::agent_client::AgentClient;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Endpoint;

use crate::reflector::{Known, Reflector};

/// Longest wait for one Agent.
const DEADLINE: Duration = Duration::from_secs(1);
/// Agents asked at the same time.
const IN_FLIGHT: usize = 64;

/// What the nodes told.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Probes that nodes dropped, by reason.
    pub(super) dropped: BTreeMap<String, u64>,
    /// Nodes whose Agents did not tell.
    pub(super) silent: BTreeSet<String>,
}

/// Asks the nodes of flows whose probes were not all answered, where control told them.
pub(super) async fn ask(run: &mut Run, reflectors: &[Reflector], addresses: &[SocketAddr], by: &Settings) -> Sessions {
    let mut sessions = Sessions::default();
    let loss = run.report().loss;
    if !by.stamped || loss.network() + loss.by_node == 0 {
        return sessions;
    }
    let nodes: BTreeMap<&str, &Known> = known(reflectors).map(|node| (node.name.as_str(), node)).collect();
    let session = format!("{:016x}", run.session());
    let nodes: Vec<_> = nodes.into_values().collect();
    let mut answers = BTreeMap::new();
    for some in nodes.chunks(IN_FLIGHT) {
        let mut asked = JoinSet::new();
        for node in some.iter().copied().cloned() {
            let session = session.clone();
            asked.spawn(async move { (timeout(DEADLINE, one(&node.agent, session)).await.ok().flatten(), node.name) });
        }
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((Some(answer), name)) => drop(answers.insert(name, answer)),
                Ok((None, name)) => drop(sessions.silent.insert(name)),
                Err(_) => {}
            }
        }
    }
    let reflectors = reflectors.iter().cycle();
    for (flow, (reflector, _)) in reflectors.zip(flows(addresses, by.source_ports)).enumerate() {
        let Some(node) = &reflector.node else { continue };
        let Some(answer) = answers.get(&node.name) else { continue };
        let (seen, dropped) = sum(answer, flow);
        // Only what forgot nothing can tell that nothing came.
        let whole = seen.count > 0 || answer.evicted == 0;
        run.learn(flow, &node.name, seen, whole);
        for (reason, count) in dropped {
            *sessions.dropped.entry(reason).or_default() += count;
        }
    }
    sessions
}

fn known(reflectors: &[Reflector]) -> impl Iterator<Item = &Known> {
    reflectors.iter().filter_map(|reflector| reflector.node.as_ref())
}

async fn one(agent: &str, session: String) -> Option<v1::ListSessionsResponse> {
    let channel = Endpoint::from_shared(format!("http://{agent}")).ok()?.connect().await.ok()?;
    let answer = AgentClient::new(channel).list_sessions(v1::ListSessionsRequest { session, limit: 0 }).await;
    answer.ok().map(tonic::Response::into_inner)
}

/// All that a node received of one flow: of TCP, each connection has a part of it.
fn sum(answer: &v1::ListSessionsResponse, flow: usize) -> (Seen, BTreeMap<String, u64>) {
    let (mut seen, mut dropped) = (Seen::default(), BTreeMap::<String, u64>::new());
    for part in answer.flows.iter().filter(|part| usize::try_from(part.flow) == Ok(flow)) {
        seen.count = seen.count.saturating_add(part.received);
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
