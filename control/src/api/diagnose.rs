//! Cluster/Diagnose: looks for what is wrong, or soon will be.
//!
//! Part of the Cluster service. It asks etcd, the leader and the Agents, all at once and each with a deadline, and must
//! answer also when none of them does: that is when it is needed. The answer is bounded, the worst first where it is cut.

mod clock;
mod control;
mod etcd;
mod files;
pub(super) mod finding;
mod nodes;
mod pools;
mod ports;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use echo_proto::v1::Finding;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use self::finding::warning;
use super::Api;
use super::error::ApiError;
use crate::agents::Agents;

/// Most findings of one answer.
const MAX_FINDINGS: usize = 200;
/// Most nodes that are asked.
const MAX_NODES: usize = 500;
/// Nodes that one finding names.
const MAX_NAMED: usize = 8;
/// Longest time for the nodes; a member of etcd has less, and so has the leader. Callers wait for 10 s.
const NODES_DEADLINE: Duration = Duration::from_secs(8);
/// Longest wait for the end of another diagnosis.
const TURN_DEADLINE: Duration = Duration::from_secs(1);

/// What diagnoses need for themselves: while they ask silent nodes, no list may wait for its turn. One at a time.
#[derive(Clone)]
pub(super) struct Doctor {
    agents: Agents,
    turn: Arc<Semaphore>,
}

impl Default for Doctor {
    fn default() -> Self {
        Self { agents: Agents::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Doctor {
    async fn turn(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        let turn = timeout(TURN_DEADLINE, self.turn.acquire()).await;
        // Never closed.
        turn.ok().and_then(Result::ok).ok_or(ApiError::Diagnosing)
    }
}

impl Api {
    /// What was found, of everything that was looked at.
    pub(super) async fn diagnosis(&self) -> Result<Vec<Finding>, ApiError> {
        let _turn = self.doctor.turn().await?;
        let (etcd, control, nodes) =
            tokio::join!(etcd::look(&self.store, &self.about.etcd), control::look(self), self.look_at_nodes());
        Ok(bounded([etcd, control, nodes].concat()))
    }

    async fn look_at_nodes(&self) -> Vec<Finding> {
        let nodes = self.view.read(|state| {
            let fleets = state.pools.iter().map(|(name, pool)| (name, &pool.fleet));
            fleets.flat_map(|(name, fleet)| fleet.iter().map(|node| (name.clone(), node.clone()))).collect::<Vec<_>>()
        });
        let asked = nodes.get(..MAX_NODES).unwrap_or(&nodes);
        let seen = nodes::ask(&self.doctor.agents, asked, Instant::now() + NODES_DEADLINE).await;
        let mut findings = nodes::judge(&seen, nodes.len());
        findings.extend(self.view.read(|state| [ports::judge(&seen, state), pools::judge(state)].concat()));
        findings
    }
}

/// Another version than this control's; a fleet is upgraded node by node, so that it is no error.
fn version(object: &str, version: &str) -> Option<Finding> {
    let ours = echo_proto::VERSION;
    let text = format!("it runs version {version}, this control {ours}");
    (version != ours).then(|| warning("VersionSkew", object, text, "finish the upgrade; control goes first"))
}

/// `node-1, node-2 and 3 more`.
fn named(names: &[&str]) -> String {
    let shown = names.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The worst first where there are too many, and how many more there are.
fn bounded(mut findings: Vec<Finding>) -> Vec<Finding> {
    if findings.len() <= MAX_FINDINGS {
        return findings;
    }
    findings.sort_by_key(|finding| Reverse(finding.severity));
    let more = findings.len() - MAX_FINDINGS;
    findings.truncate(MAX_FINDINGS);
    let text = format!("{more} findings more");
    findings.push(warning("Truncated", "cluster", text, "mend those above, then ask again"));
    findings
}

#[cfg(test)]
mod tests {
    use super::finding::{error, ok};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_diagnosis_at_a_time() {
        let doctor = Doctor::default();
        let first = doctor.turn().await;
        assert!(first.is_ok() && doctor.turn().await.is_err_and(|error| error == ApiError::Diagnosing));
        drop(first);
        assert!(doctor.turn().await.is_ok());
    }

    #[test]
    fn many_names_are_cut() {
        assert_eq!(named(&["a", "b"]), "a, b");
        assert_eq!(named(&["n"; MAX_NAMED + 2]), format!("{}n and 2 more", "n, ".repeat(MAX_NAMED - 1)));
    }

    #[test]
    fn an_answer_is_bounded_and_keeps_the_worst() {
        let mut findings = vec![ok("A", "x", "fine"); MAX_FINDINGS];
        findings.push(error("B", "x", "bad", "mend it"));
        assert_eq!(bounded(findings.clone()).len(), MAX_FINDINGS + 1);
        let kept = bounded(findings);
        assert_eq!(kept.first().map(|f| f.check.as_str()), Some("B"));
        assert_eq!(kept.last().map(|f| f.message.as_str()), Some("1 findings more"));
    }
}
