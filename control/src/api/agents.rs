//! Asks the nodes' Agents for live figures: connections, rates. They never go through etcd.
//!
//! Used by the Nodes service, for the nodes of one page only. A node that is late or gone has no figures; a caller waits
//! for [`DEADLINE`] and [`TURN_DEADLINE`] together at most, however many are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use echo_proto::telemetry::rpc::ClientLayer;
use echo_proto::v1;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceBuilder;
use v1::agent_client::AgentClient;

/// Longest wait for one Agent.
const DEADLINE: Duration = Duration::from_millis(300);
/// Longest wait of one Agent for its turn, while others are asked.
const TURN_DEADLINE: Duration = Duration::from_millis(700);
/// Agents asked at the same time, over all calls.
const IN_FLIGHT: usize = 64;
/// Most connections that are kept; beyond, all are dropped and made again when needed.
const MAX_CHANNELS: usize = 1_024;

/// Connections to Agents; cheap to clone.
#[derive(Clone)]
pub(super) struct Agents {
    channels: Arc<Mutex<HashMap<String, Channel>>>,
    permits: Arc<Semaphore>,
}

impl Default for Agents {
    fn default() -> Self {
        Self { channels: Arc::default(), permits: Arc::new(Semaphore::new(IN_FLIGHT)) }
    }
}

impl Agents {
    /// Fills in `live` of the nodes whose Agents answer in time.
    pub(super) async fn fill(&self, nodes: &mut [v1::Node]) {
        let mut asked = JoinSet::new();
        for (place, node) in nodes.iter().enumerate() {
            let Some(status) = node.status.as_ref().filter(|s| !s.agent_address.is_empty()) else { continue };
            let (agents, address) = (self.clone(), status.agent_address.clone());
            asked.spawn(async move { (place, agents.ask(address).await) });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((place, Some(live))) = answer
                && let Some(status) = nodes.get_mut(place).and_then(|node| node.status.as_mut())
            {
                status.live = Some(live);
            }
        }
    }

    async fn ask(&self, address: String) -> Option<v1::LiveFigures> {
        // Never closed.
        let _permit = tokio::time::timeout(TURN_DEADLINE, self.permits.acquire()).await.ok()?.ok()?;
        let channel = self.channel(&address)?;
        let mut client = AgentClient::new(ServiceBuilder::new().layer(ClientLayer).service(channel));
        let answer = tokio::time::timeout(DEADLINE, client.get_status(v1::GetStatusRequest {})).await;
        let node = answer.ok()?.ok()?.into_inner().node?;
        node.status?.live
    }

    fn channel(&self, address: &str) -> Option<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Some(channel.clone());
        }
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?.connect_timeout(DEADLINE);
        let channel = endpoint.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Some(channel)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test]
    async fn no_number_of_dead_agents_holds_a_caller_up() {
        // It takes connections, and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let agent_address = silent.local_addr().unwrap().to_string();
        let status = Some(v1::NodeStatus { agent_address, ..Default::default() });
        let mut nodes = vec![v1::Node { status, ..Default::default() }; 8 * IN_FLIGHT];
        let begun = Instant::now();
        Agents::default().fill(&mut nodes).await;
        // Without a limit on the wait for a turn it is 8 x 300 ms.
        assert!(begun.elapsed() < DEADLINE * 6, "{:?}", begun.elapsed());
    }
}
