//! A caller of control: what it asks, it asks as a program does that is on its own.

use std::time::{Duration, Instant};

use echo_proto::v1;
use echo_proto::v1::nodes_client::NodesClient;
use echo_proto::v1::pools_client::PoolsClient;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use crate::Failure;

/// Largest page: a page has 2 MiB at most.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Talks to any of the controls that answers.
pub(super) struct Client {
    runtime: Runtime,
    channel: Channel,
}

impl Client {
    pub(super) fn new(servers: &[String]) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let endpoints = servers.iter().map(|server| Ok(Endpoint::from_shared(server.clone())?.timeout(TIMEOUT)));
        let endpoints: Vec<_> = endpoints.collect::<Result<_, Failure>>()?;
        let channel = runtime.block_on(async { Channel::balance_list(endpoints.into_iter()) });
        Ok(Self { runtime, channel })
    }

    /// All nodes, page by page.
    pub(super) fn nodes(&self, skip_live: bool) -> Result<Vec<v1::Node>, Failure> {
        let mut client = NodesClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let mut request = v1::NodesListRequest { skip_live, ..Default::default() };
        let mut nodes = Vec::new();
        loop {
            let page = self.runtime.block_on(client.list(request.clone()))?.into_inner();
            nodes.extend(page.nodes);
            if page.next_page_token.is_empty() {
                return Ok(nodes);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Whether control knows that so many nodes run what they are assigned.
    pub(super) fn synced(&self, count: usize) -> Result<bool, Failure> {
        let nodes = self.nodes(true)?;
        let synced = |node: &&v1::Node| node.status.as_ref().is_some_and(|s| s.sync() == v1::SyncState::Synced);
        Ok(nodes.iter().filter(synced).count() == count)
    }

    /// How many nodes have a condition that says this.
    pub(super) fn said(&self, what: &str) -> Result<usize, Failure> {
        let says = |node: &&v1::Node| {
            node.status.iter().flat_map(|s| &s.conditions).any(|condition| condition.message == what)
        };
        Ok(self.nodes(true)?.iter().filter(says).count())
    }

    /// Waits until the rollout to revision `n` has completed.
    pub(super) fn wait_rolled_out(&self, n: u32, patience: Duration) -> Result<(), Failure> {
        let mut client = PoolsClient::new(self.channel.clone());
        let end = Instant::now() + patience;
        loop {
            let request = v1::GetRolloutRequest { pool: "default".to_owned() };
            let rollout = self.runtime.block_on(client.get_rollout(request))?.into_inner().rollout.unwrap_or_default();
            let begun = rollout.to.as_ref().is_some_and(|to| to.n == n);
            match rollout.phase() {
                v1::RolloutPhase::Completed if begun => return Ok(()),
                _ if !begun && Instant::now() < end => {}
                v1::RolloutPhase::Progressing if Instant::now() < end => {}
                other => return Err(format!("the rollout is {other:?}: {}", rollout.reason).into()),
            }
            echo_tests::wait::pause();
        }
    }
}
