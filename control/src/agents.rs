//! Asks the nodes' Agents: for live figures, which never go through etcd, and whether a node lives that etcd lost.
//!
//! Used by the Nodes service, for the nodes of one page only, by the roll call, and by `figures`. A node that is late or
//! gone has no answer; a caller waits for [`DEADLINE`] and [`TURN_DEADLINE`] together at most, however many are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use echo_proto::backoff::random_below;
use echo_proto::telemetry::rpc::{ClientLayer, Traced};
use echo_proto::v1;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};
use tower::ServiceBuilder;
use v1::agent_client::AgentClient;

/// Longest wait for one Agent.
const DEADLINE: Duration = Duration::from_millis(300);
/// Longest wait of one Agent for its turn, while others are asked.
const TURN_DEADLINE: Duration = Duration::from_millis(700);
/// Agents asked at the same time, over all calls.
pub(crate) const IN_FLIGHT: usize = 64;
/// Largest answer: a status names at most 64 listeners and 8 conditions; 1,024 flows of a session take less, too.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Most flows of a session in an answer.
const MAX_FLOWS: u32 = 1_024;
/// An Agent that was late within this time is not waited for again: one dead node must not slow each list.
const LATE_FOR: Duration = Duration::from_secs(3);
/// Most connections that are kept, at some 30 KiB each; beyond, any one of them goes for each that is made. Who asks more
/// Agents than these in turn makes a connection for almost each question, which costs several times the question itself:
/// who does so again and again has to go slowly, as `figures` does.
pub(crate) const MAX_CHANNELS: usize = 1_024;

/// One Agent.
type Agent = AgentClient<Traced<Channel>>;

/// Connections to Agents; cheap to clone.
#[derive(Clone)]
pub(crate) struct Agents {
    channels: Arc<Mutex<HashMap<String, Channel>>>,
    permits: Arc<Semaphore>,
    /// Who did not answer, and when.
    late: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Default for Agents {
    fn default() -> Self {
        Self { channels: Arc::default(), permits: Arc::new(Semaphore::new(IN_FLIGHT)), late: Arc::default() }
    }
}

impl Agents {
    /// Fills in `live` of the nodes whose Agents answer in time. Who was silent just before is not waited for.
    pub(crate) async fn fill(&self, nodes: &mut [v1::Node]) {
        let mut asked = JoinSet::new();
        for (place, node) in nodes.iter().enumerate() {
            let Some(status) = node.status.as_ref().filter(|s| s.sync() != v1::SyncState::Lost) else { continue };
            let (agents, address) = (self.clone(), status.agent_address.clone());
            asked.spawn(async move {
                let answer = agents.ask_again(address).await;
                (place, answer.and_then(|answer| answer.node?.status?.live))
            });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((place, Some(live))) = answer
                && let Some(status) = nodes.get_mut(place).and_then(|node| node.status.as_mut())
            {
                status.live = Some(live);
            }
        }
    }

    /// As [`Self::ask`], of somebody who asks many again and again: an Agent that was late just before is passed over.
    pub(crate) async fn ask_again(&self, address: String) -> Option<v1::GetStatusResponse> {
        if self.was_late(&address) {
            return None;
        }
        let answer = self.ask(&address).await;
        self.note(address, answer.is_some());
        answer
    }

    /// What the Agent at this address says of its node; `None` if it does not answer in time.
    pub(crate) async fn ask(&self, address: &str) -> Option<v1::GetStatusResponse> {
        self.call(address, |mut agent| async move { agent.get_status(v1::GetStatusRequest {}).await }).await
    }

    /// What its node received of a stamped session, with `limit` flows at most; `None` if it does not answer in time, or
    /// does not know.
    pub(crate) async fn sessions(
        &self,
        address: &str,
        session: String,
        limit: u32,
    ) -> Option<v1::ListSessionsResponse> {
        let request = v1::ListSessionsRequest { session, limit: limit.min(MAX_FLOWS) };
        self.call(address, |mut agent| async move { agent.list_sessions(request).await }).await
    }

    async fn call<T, F>(&self, address: &str, call: impl FnOnce(Agent) -> F) -> Option<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        if address.is_empty() {
            return None;
        }
        // Never closed.
        let _permit = tokio::time::timeout(TURN_DEADLINE, self.permits.acquire()).await.ok()?.ok()?;
        let channel = self.channel(address)?;
        let client = AgentClient::new(ServiceBuilder::new().layer(ClientLayer).service(channel));
        let client = client.max_decoding_message_size(MAX_ANSWER_BYTES);
        let answer = tokio::time::timeout(DEADLINE, call(client)).await;
        Some(answer.ok()?.ok()?.into_inner())
    }

    /// Whether an Agent was late so short a time ago that a list need not wait for it again.
    fn was_late(&self, address: &str) -> bool {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.get(address).is_some_and(|at| at.elapsed() < LATE_FOR)
    }

    fn note(&self, address: String, answered: bool) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            late.remove(&address);
            return;
        }
        if late.len() >= MAX_CHANNELS {
            late.retain(|_, at| at.elapsed() < LATE_FOR);
        }
        if late.len() < MAX_CHANNELS {
            late.insert(address, Instant::now());
        }
    }

    fn channel(&self, address: &str) -> Option<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Some(channel.clone());
        }
        // Not the oldest: of somewhat more Agents than these, asked in turn, that is always the next one.
        if channels.len() >= MAX_CHANNELS
            && let Some(any) = channels.keys().nth(random_below(channels.len())).cloned()
        {
            channels.remove(&any);
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?.connect_timeout(DEADLINE);
        let channel = endpoint.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Some(channel)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_number_of_dead_agents_holds_a_caller_up() {
        // It takes connections, and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let agent_address = silent.local_addr().unwrap().to_string();
        let status = Some(v1::NodeStatus { agent_address, ..Default::default() });
        let mut nodes = vec![v1::Node { status, ..Default::default() }; 8 * IN_FLIGHT];
        let begun = Instant::now();
        let agents = Agents::default();
        agents.fill(&mut nodes).await;
        // Without a limit on the wait for a turn it is 8 x 300 ms.
        assert!(begun.elapsed() < DEADLINE * 6, "{:?}", begun.elapsed());
        let again = Instant::now();
        agents.fill(&mut nodes).await;
        assert!(again.elapsed() < DEADLINE, "who was late is not waited for again: {:?}", again.elapsed());
    }

    #[tokio::test]
    async fn somewhat_more_agents_than_connections_keep_most_of_them() {
        let agents = Agents::default();
        let address = |n: usize| format!("127.0.0.1:{}", 10_000 + n);
        let asked = MAX_CHANNELS * 5 / 4;
        let kept = |n: usize| agents.channels.lock().unwrap().contains_key(&address(n));
        let rounds: Vec<usize> =
            (0..4).map(|_| (0..asked).filter(|n| (kept(*n), agents.channel(&address(*n))).0).count()).collect();
        assert!(agents.channels.lock().unwrap().len() <= MAX_CHANNELS);
        assert!(rounds[1..].iter().all(|kept| *kept > asked / 4), "{rounds:?}");
    }
}
