//! What the draining nodes wait for: their open connections, asked from their Agents.
//!
//! Used at shutdown. Only informs; it must never hold the shutdown up.

use std::collections::BTreeMap;
use std::time::Duration;

use echo_proto::v1;
use echo_proto::v1::agent_client::AgentClient;
use tokio::time::timeout;
use tonic::transport::Endpoint;

use super::procfs::Process;
use crate::connect::Control;
use crate::object::Object as _;
use crate::object::source::{Filter, list};
use crate::server::Server;
use echo_control::words::count;

/// Longest wait for control's list.
const LIST: Duration = Duration::from_millis(300);
/// Longest wait for one Agent's answer; they are asked one after the other.
const ANSWER: Duration = Duration::from_millis(100);
/// The number of nodes that a line has room for.
const MAX_NAMED: usize = 8;

/// The Agents' addresses by the nodes' names.
#[derive(Debug, Default)]
pub(super) struct Agents(BTreeMap<String, String>);

impl Agents {
    /// Those that control knows; none, when it does not answer.
    pub(super) async fn of(server: &Server) -> Self {
        let list = async {
            let mut control = Control::open(server, LIST).await.ok()?;
            list::<v1::Node>(&mut control, &Filter::default()).await.ok()
        };
        let (nodes, _) = timeout(LIST, list).await.ok().flatten().unwrap_or_default();
        let address = |node: v1::Node| Some((node.name().to_owned(), node.status?.agent_address));
        Self(nodes.into_iter().filter_map(address).collect())
    }

    /// The nodes that are left, each with its open connections, where it has some and its Agent tells them in time.
    pub(super) async fn describe(&self, left: &[Process]) -> String {
        let mut named = Vec::new();
        for process in left.iter().take(MAX_NAMED) {
            named.push(match self.connections(&process.name).await {
                None | Some(0) => process.name.clone(),
                Some(open) => format!("{} ({})", process.name, count(open, "connection")),
            });
        }
        match left.len().saturating_sub(MAX_NAMED) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }

    async fn connections(&self, name: &str) -> Option<u32> {
        let address = self.0.get(name)?;
        let ask = async {
            let channel = Endpoint::from_shared(format!("http://{address}")).ok()?.connect().await.ok()?;
            let status = AgentClient::new(channel).get_status(v1::GetStatusRequest {}).await.ok()?;
            Some(status.into_inner().node?.status?.live?.connections)
        };
        timeout(ANSWER, ask).await.ok().flatten()
    }
}
