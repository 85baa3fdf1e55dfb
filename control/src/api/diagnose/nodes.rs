//! Each node: whether it answers, is registered, keeps time, has files left, and what it complains of.
//!
//! Part of the diagnosis. Agents are asked in groups, so that none waits for its turn longer than it is given; what the
//! answers mean is judged by pure functions.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use echo_proto::ids::PoolName;
use echo_proto::v1::{self, Finding};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::files::Files;
use super::finding::{error, ok, warning};
use super::{MAX_NODES, clock, files, named};
use crate::agents::{Agents, IN_FLIGHT};
use crate::event::of_node;
use crate::fleet::{Node, Presence, natural_order};

/// Above so many nodes a lease of 10 s keeps etcd busy with renewals.
const MANY_NODES: usize = 2_000;

/// A node and what its Agent said.
pub(super) struct Seen {
    pub(super) pool: PoolName,
    pub(super) node: Arc<Node>,
    /// `None`: it was silent.
    pub(super) answer: Option<Answer>,
}

/// What an Agent said, and how long that took.
pub(super) struct Answer {
    told: v1::GetStatusResponse,
    sent: SystemTime,
    took: Duration,
}

/// Asks the nodes, until `deadline`; those that were not asked by then are left out.
pub(super) async fn ask(agents: &Agents, nodes: &[(PoolName, Arc<Node>)], deadline: Instant) -> Vec<Seen> {
    let mut seen = Vec::with_capacity(nodes.len());
    for group in nodes.chunks(IN_FLIGHT) {
        let mut asked = JoinSet::new();
        for (pool, node) in group.iter().cloned() {
            let agents = agents.clone();
            asked.spawn(async move {
                let (sent, begun) = (SystemTime::now(), Instant::now());
                let told = agents.ask(&node.status.agent_address).await;
                let answer = told.map(|told| Answer { told, sent, took: begun.elapsed() });
                Seen { pool, node, answer }
            });
        }
        while let Ok(Some(answer)) = timeout_at(deadline, asked.join_next()).await {
            seen.extend(answer);
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    sort(&mut seen);
    seen
}

/// They answer in any order; two diagnoses shall be comparable line by line.
fn sort(seen: &mut [Seen]) {
    seen.sort_by(|a, b| a.pool.cmp(&b.pool).then_with(|| natural_order(a.node.id.as_str(), b.node.id.as_str())));
}

/// What there is to say of each node, then of all.
pub(super) fn judge(seen: &[Seen], known: usize) -> Vec<Finding> {
    let mut findings = complaints(seen);
    findings.extend(seen.iter().flat_map(of_one));
    if findings.is_empty() && !seen.is_empty() {
        let text = match seen.len() {
            1 => "the one node answers; its clock, files and version are in order".to_owned(),
            all => format!("all {all} nodes answer; their clocks, files and versions are in order"),
        };
        findings.push(ok("Nodes", "cluster", text));
    }
    if seen.len() < known {
        let text =
            format!("{} of {known} nodes were asked; at most {MAX_NODES} are, as far as time allows", seen.len());
        findings.push(warning("Nodes", "cluster", text, "look at the others with `echoctl get nodes -o wide`"));
    }
    if known > MANY_NODES {
        let text = format!("{known} nodes renew a lease");
        let hint = "start them with --lease-ttl 30s, unless they are: the default of 10s keeps etcd busy above 2,000";
        findings.push(warning("LeaseTtl", "cluster", text, hint));
    }
    findings
}

/// What is not as it should be.
fn of_one(seen: &Seen) -> Vec<Finding> {
    let object = of_node(&seen.node.id);
    let mut findings: Vec<Finding> = presence(&object, seen).into_iter().collect();
    let Some(Answer { told, sent, took }) = &seen.answer else { return findings };
    let skew = told.time.and_then(|time| clock::skew(time, *sent, *took));
    findings.extend(skew.map(|skew| clock::judge(&object, &skew)));
    let files = Files { open: told.open_files, most: told.max_files };
    // An older node does not tell.
    findings.extend((files != Files::default()).then(|| files::judge(&object, files)));
    findings.extend(super::version(&object, &seen.node.status.version));
    findings.retain(|finding| finding.severity() != v1::Severity::Ok);
    findings
}

/// What nodes say themselves; once where all of a host's that complain say the same.
fn complaints(seen: &[Seen]) -> Vec<Finding> {
    let mut told: Vec<(&str, &v1::Condition, Vec<&str>)> = Vec::new();
    for one in seen {
        let (status, id) = (&one.node.status, one.node.id.as_str());
        for condition in status.conditions.iter().filter(|condition| !condition.status) {
            let is_same = |host: &str, other: &v1::Condition| host == status.host && says(other) == says(condition);
            match told.iter_mut().find(|(host, other, _)| is_same(host, other)) {
                Some((.., nodes)) => nodes.push(id),
                None => told.push((&status.host, condition, vec![id])),
            }
        }
    }
    told.iter().map(|(host, condition, nodes)| complaint(host, condition, nodes)).collect()
}

fn complaint(host: &str, condition: &v1::Condition, nodes: &[&str]) -> Finding {
    let hint = |object: &str| format!("see `echoctl describe {object}` and the node's log");
    match nodes {
        [node] => warning("NodeCondition", format!("node/{node}"), text(condition), hint(&format!("node/{node}"))),
        _ => {
            let said = format!("{} nodes ({}): {}", nodes.len(), named(nodes), text(condition));
            warning("NodeCondition", format!("host/{host}"), said, hint("node/NAME"))
        }
    }
}

fn says(condition: &v1::Condition) -> (&str, &str, &str) {
    (&condition.r#type, &condition.reason, &condition.message)
}

fn text(condition: &v1::Condition) -> String {
    format!("{} is not so: {} ({})", condition.r#type, condition.message, condition.reason)
}

/// Whether it is there, and whether etcd and its Agent agree on that.
fn presence(object: &str, seen: &Seen) -> Option<Finding> {
    let address = &seen.node.status.agent_address;
    match (seen.node.presence, &seen.answer) {
        (Presence::Vanished { answers: Some(true), .. }, _) => {
            let text = "it serves, but has no record in etcd: no change reaches it";
            Some(error("NodeVanished", object, text, "open the way from the node to etcd"))
        }
        (Presence::Vanished { answers: Some(false), .. } | Presence::Left, _) => {
            let text = "its record went away without a word, and its Agent does not answer";
            Some(error("NodeVanished", object, text, "look at its host and its log; start it again"))
        }
        (Presence::Vanished { answers: None, .. }, _) => {
            let text = "its record is gone; it is not known yet whether it lives";
            Some(warning("NodeVanished", object, text, "ask again in a few seconds"))
        }
        (Presence::Doubtful { .. }, None) => {
            let text =
                format!("its record is older than etcd's last start, and its Agent at {address} does not answer");
            let hint = "see whether it runs, and open the way from control to the node's gRPC port";
            Some(error("NodeUnconfirmed", object, text, hint))
        }
        (Presence::Sure, None) => {
            let text = format!("its Agent at {address} does not answer: no live figures");
            let hint = format!(
                "see in `echoctl get events --for {object}` whether it is being started again; \
                 if not, open the way from control to its gRPC port"
            );
            Some(warning("AgentUnreachable", object, text, hint))
        }
        (_, Some(answer)) if !answer.told.registered => {
            let text = "it says that it has no registration in etcd";
            Some(warning("NodeRegistration", object, text, "open the way from the node to etcd, and see its log"))
        }
        (_, Some(_)) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::Stored;

    fn told() -> v1::GetStatusResponse {
        let time = Some(SystemTime::now().into());
        v1::GetStatusResponse { registered: true, open_files: 10, max_files: 20_000, time, ..Default::default() }
    }

    fn seen(presence: Presence, told: Option<v1::GetStatusResponse>) -> Seen {
        let status = v1::NodeStatus { version: echo_proto::VERSION.into(), ..Default::default() };
        let record = Stored { value: v1::NodeRecord::default(), mod_revision: 1, create_revision: 1 };
        let node = Arc::new(Node { id: "node-1".parse().unwrap(), record, status, presence });
        let answer = told.map(|told| Answer { told, sent: SystemTime::now(), took: Duration::from_millis(1) });
        Seen { pool: "edge".parse().unwrap(), node, answer }
    }

    fn checks(seen: Seen) -> Vec<String> {
        of_one(&seen).into_iter().map(|finding| finding.check).collect()
    }

    #[test]
    fn each_fault_of_a_node_is_told() {
        let sure = |told: v1::GetStatusResponse| checks(seen(Presence::Sure, Some(told)));
        assert!(sure(told()).is_empty());
        assert_eq!(checks(seen(Presence::Sure, None)), ["AgentUnreachable"]);
        assert_eq!(sure(v1::GetStatusResponse { registered: false, ..told() }), ["NodeRegistration"]);
        assert_eq!(sure(v1::GetStatusResponse { open_files: 19_000, ..told() }), ["OpenFiles"]);
        let past = Some((SystemTime::now() - Duration::from_secs(3)).into());
        assert_eq!(sure(v1::GetStatusResponse { time: past, ..told() }), ["ClockSkew"]);
        let gone = |answers| Presence::Vanished { since: Instant::now(), at: SystemTime::now(), answers };
        assert_eq!(checks(seen(gone(Some(false)), None)), ["NodeVanished"]);
        assert_eq!(checks(seen(gone(Some(true)), Some(told()))), ["NodeVanished"]);
        let doubtful = Presence::Doubtful { since: Instant::now(), silent: true };
        assert_eq!(checks(seen(doubtful, None)), ["NodeUnconfirmed"], "its record stands");
        assert!(checks(seen(doubtful, Some(told()))).is_empty(), "it answers now");
        let mut other = seen(Presence::Sure, Some(told()));
        let node = Arc::make_mut(&mut other.node);
        node.status.version = "9.9.9".into();
        assert_eq!(checks(other), ["VersionSkew"]);
    }

    #[test]
    fn nodes_are_told_in_the_order_of_their_names() {
        let mut nodes = ["node-10", "node-2", "node-1"].map(|id| {
            let mut one = seen(Presence::Sure, None);
            Arc::make_mut(&mut one.node).id = id.parse().unwrap();
            one
        });
        sort(&mut nodes);
        assert_eq!(nodes.map(|one| one.node.id.to_string()), ["node-1", "node-2", "node-10"]);
    }

    #[test]
    fn what_a_hosts_nodes_all_complain_of_is_told_once() {
        let complains = |id: &str, host: &str, message: &str| {
            let mut one = seen(Presence::Sure, Some(told()));
            let node = Arc::make_mut(&mut one.node);
            node.id = id.parse().unwrap();
            host.clone_into(&mut node.status.host);
            let (r#type, reason) = ("ClockSynchronized".to_owned(), "Unsynchronized".to_owned());
            node.status.conditions =
                vec![v1::Condition { r#type, reason, message: message.to_owned(), ..Default::default() }];
            one
        };
        let nodes = [
            complains("node-1", "vm", "it is off"),
            complains("node-2", "vm", "it is off"),
            complains("node-3", "vm", "it is far off"),
            complains("node-4", "pm", "it is off"),
        ];
        let findings = judge(&nodes, 4);
        let told: Vec<_> = findings.iter().map(|f| (f.object.as_str(), f.message.as_str())).collect();
        let one = |far: &str| format!("ClockSynchronized is not so: it is {far}off (Unsynchronized)");
        let all = format!("2 nodes (node-1, node-2): {}", one(""));
        assert_eq!(told, [("host/vm", &*all), ("node/node-3", &*one("far ")), ("node/node-4", &*one(""))]);
    }

    #[test]
    fn what_was_not_looked_at_is_told() {
        let findings = judge(&[seen(Presence::Sure, Some(told()))], 3_000);
        let checks: Vec<&str> = findings.iter().map(|finding| finding.check.as_str()).collect();
        assert_eq!(checks, ["Nodes", "Nodes", "LeaseTtl"]);
    }
}
