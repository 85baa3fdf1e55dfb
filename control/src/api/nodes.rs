//! The Nodes service: the live nodes, sorted by pool and then as people count.
//!
//! Served from the view; figures of the moment are asked from the Agents of the listed page.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::{API_VERSION, v1};
use tonic::{Request, Response, Status};
use v1::nodes_server::Nodes;

use super::error::ApiError;
use super::pages::{self, PageOf};
use super::watch::{self, Source};
use super::{Api, pool_name};
use crate::fleet::{Node, natural_order};
use crate::present;
use crate::view::{PoolState, State};

/// Where a page starts: after this node.
type Position = (PoolName, NodeId);
/// A node and its pool.
type Row<'a> = (&'a PoolName, &'a PoolState, &'a Node);

#[tonic::async_trait]
impl Nodes for Api {
    async fn get(&self, request: Request<v1::NodesGetRequest>) -> Result<Response<v1::NodesGetResponse>, Status> {
        let name = request.into_inner().name;
        name.parse::<NodeId>().map_err(|e| ApiError::Argument(format!("{e}")))?;
        self.current()?;
        let found = self.view.read(|state| {
            let mut nodes = state.pools.values().flat_map(|pool| pool.fleet.iter().map(move |node| (pool, node)));
            nodes.find(|(_, node)| node.id.as_str() == name).map(|(pool, node)| present::node(pool, node))
        });
        let mut nodes = [found.ok_or_else(|| ApiError::no_node(&name))?];
        self.agents.fill(&mut nodes).await;
        let [node] = nodes;
        Ok(Response::new(v1::NodesGetResponse { node: Some(node) }))
    }

    async fn list(&self, request: Request<v1::NodesListRequest>) -> Result<Response<v1::NodesListResponse>, Status> {
        let request = request.into_inner();
        let filter = filter(&request.pool)?;
        let after = position(&request.page_token)?;
        self.current()?;
        let mut page = PageOf::new(pages::size(request.page_size));
        let (next_page_token, version) = self.view.read(|state| {
            let next = fill(&mut page, state, filter.as_ref(), after.as_ref());
            (next, state.revision.to_string())
        });
        let mut nodes = page.items;
        if !request.skip_live {
            self.agents.fill(&mut nodes).await;
        }
        Ok(Response::new(v1::NodesListResponse { nodes, next_page_token, resource_version: version }))
    }

    type WatchStream = watch::Stream<v1::NodesWatchResponse>;

    async fn watch(&self, request: Request<v1::NodesWatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let source = NodeSource(filter(&request.into_inner().pool)?);
        self.current()?;
        Ok(Response::new(watch::stream(source, self)?))
    }

    async fn set_intent(&self, _: Request<v1::SetIntentRequest>) -> Result<Response<v1::SetIntentResponse>, Status> {
        Err(Status::unimplemented("Nodes/SetIntent"))
    }

    async fn clear_intent(
        &self,
        _: Request<v1::ClearIntentRequest>,
    ) -> Result<Response<v1::ClearIntentResponse>, Status> {
        Err(Status::unimplemented("Nodes/ClearIntent"))
    }
}

/// Puts the nodes after `after` on the page; returns the token of the next page, empty after the last.
fn fill(page: &mut PageOf<v1::Node>, state: &State, filter: Option<&PoolName>, after: Option<&Position>) -> String {
    let mut rows: Vec<Row<'_>> = present::pools(state, filter)
        .flat_map(|(name, pool)| pool.fleet.iter().map(move |node| (name, pool, node.as_ref())))
        .collect();
    rows.sort_by(|a, b| order((a.0.as_str(), a.2.id.as_str()), (b.0.as_str(), b.2.id.as_str())));
    let mut last = String::new();
    for (name, pool, node) in rows {
        let position = (name.as_str(), node.id.as_str());
        if after.is_some_and(|(pool, node)| order(position, (pool.as_str(), node.as_str())).is_le()) {
            continue;
        }
        if !page.push(present::node(pool, node)) {
            return last;
        }
        last = format!("{name}/{}", node.id);
    }
    String::new()
}

/// Reads a page's token, `pool/node`; `None` for the first page.
fn position(token: &str) -> Result<Option<Position>, ApiError> {
    if token.is_empty() {
        return Ok(None);
    }
    let parsed = token.split_once('/').and_then(|(pool, node)| Some((pool.parse().ok()?, node.parse().ok()?)));
    parsed.map(Some).ok_or_else(pages::foreign_token)
}

fn order(a: (&str, &str), b: (&str, &str)) -> Ordering {
    a.0.cmp(b.0).then_with(|| natural_order(a.1, b.1))
}

fn filter(pool: &str) -> Result<Option<PoolName>, ApiError> {
    if pool.is_empty() { Ok(None) } else { pool_name(pool).map(Some) }
}

/// Watches nodes, of one pool or of all.
struct NodeSource(Option<PoolName>);

impl Source for NodeSource {
    type Key = (PoolName, NodeId);
    /// The record, and what is computed from other records.
    type Version = (i64, v1::SyncState);
    type Object = v1::Node;
    type Reply = v1::NodesWatchResponse;

    fn versions(&self, state: &State) -> BTreeMap<Self::Key, Self::Version> {
        let rows = present::pools(state, self.0.as_ref())
            .flat_map(|(name, pool)| pool.fleet.iter().map(move |node| (name, pool, node)));
        let version = |pool: &PoolState, node: &Node| (node.record.mod_revision, present::sync_state(pool, node));
        rows.map(|(name, pool, node)| ((name.clone(), node.id.clone()), version(pool, node))).collect()
    }

    fn object(&self, state: &State, (name, id): &Self::Key) -> Option<v1::Node> {
        let pool = state.pools.get(name)?;
        pool.fleet.get(id).map(|node| present::node(pool, node))
    }

    fn gone(&self, (pool, id): &Self::Key) -> v1::Node {
        let metadata = v1::ObjectMeta { name: id.to_string(), ..Default::default() };
        let status = v1::NodeStatus { pool: pool.to_string(), ..Default::default() };
        v1::Node {
            api_version: API_VERSION.to_owned(),
            kind: "Node".to_owned(),
            metadata: Some(metadata),
            status: Some(status),
        }
    }

    fn reply(
        &self,
        kind: v1::WatchType,
        node: Option<v1::Node>,
        resource_version: String,
    ) -> Option<v1::NodesWatchResponse> {
        Some(v1::NodesWatchResponse { r#type: kind.into(), node, resource_version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_another_list_is_refused() {
        assert_eq!(position(""), Ok(None));
        assert!(position("edge/node-1").is_ok_and(|p| p.is_some()));
        for token in ["junk", "/", "edge/", "7:00"] {
            assert!(matches!(position(token), Err(ApiError::Argument(_))), "{token}");
        }
    }
}
