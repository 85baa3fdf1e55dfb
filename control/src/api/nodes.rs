//! The Nodes service: the live nodes, sorted by pool and then as people count.
//!
//! Served from the view; figures of the moment are asked from the Agents of the listed page.

mod find;
mod intents;
mod pins;
mod source;

use std::cmp::Ordering;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::v1;
use tonic::{Request, Response, Status};
use v1::nodes_server::Nodes;

use self::find::Named;
use self::source::NodeSource;
use super::error::ApiError;
use super::pages::{self, PageOf};
use super::{Api, filter, selector, watch};
use crate::fleet::{Node, natural_order};
use crate::present;
use crate::selector::Selector;
use crate::view::{PoolState, State};

/// Where a page starts: after this node.
type Position = (PoolName, NodeId);
/// A node and its pool.
type Row<'a> = (&'a PoolName, &'a PoolState, &'a Node);

#[tonic::async_trait]
impl Nodes for Api {
    async fn get(&self, request: Request<v1::NodesGetRequest>) -> Result<Response<v1::NodesGetResponse>, Status> {
        let v1::NodesGetRequest { name, pool } = request.into_inner();
        let wanted = Named::parse(&name, &pool)?;
        self.current()?;
        let mut nodes = [self.view.read(|state| {
            let (_, pool, node) = wanted.find(state)?;
            Ok::<_, ApiError>(present::node(pool, node))
        })?];
        self.agents.fill(&mut nodes).await;
        let [node] = nodes;
        Ok(Response::new(v1::NodesGetResponse { node: Some(node) }))
    }

    async fn pin(&self, request: Request<v1::PinRequest>) -> Result<Response<v1::PinResponse>, Status> {
        Ok(Response::new(self.put_pin(request.into_inner()).await?))
    }

    async fn list(&self, request: Request<v1::NodesListRequest>) -> Result<Response<v1::NodesListResponse>, Status> {
        let request = request.into_inner();
        let (filter, selector) = (filter(&request.pool)?, selector(&request.selector)?);
        let after = position(&request.page_token)?;
        self.current()?;
        let mut page = PageOf::new(pages::size(request.page_size));
        let (next_page_token, version) = self.view.read(|state| {
            let rows = rows(state, filter.as_ref(), &selector);
            let next = fill(&mut page, rows, after.as_ref());
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
        let request = request.into_inner();
        let source = NodeSource { filter: filter(&request.pool)?, selector: selector(&request.selector)? };
        self.current()?;
        Ok(Response::new(watch::stream(source, &request.resource_version, self)?))
    }

    async fn set_intent(
        &self,
        request: Request<v1::SetIntentRequest>,
    ) -> Result<Response<v1::SetIntentResponse>, Status> {
        Ok(Response::new(self.put_intent(request.into_inner()).await?))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::NodesListSessionsRequest>,
    ) -> Result<Response<v1::NodesListSessionsResponse>, Status> {
        let v1::NodesListSessionsRequest { name, pool, session, limit } = request.into_inner();
        let wanted = Named::parse(&name, &pool)?;
        self.current()?;
        let address = self.view.read(|state| {
            let (_, _, node) = wanted.find(state)?;
            Ok::<_, ApiError>(node.status.agent_address.clone())
        })?;
        let sessions = self.agents.sessions(&address, session, limit).await;
        let node = wanted.id.to_string();
        let sessions = sessions.ok_or(ApiError::SilentAgent { node, address })?;
        Ok(Response::new(v1::NodesListSessionsResponse { sessions: Some(sessions) }))
    }

    async fn clear_intent(
        &self,
        request: Request<v1::ClearIntentRequest>,
    ) -> Result<Response<v1::ClearIntentResponse>, Status> {
        Ok(Response::new(self.take_intent_back(request.into_inner()).await?))
    }
}

/// The nodes that are wanted, in order.
fn rows<'a>(state: &'a State, filter: Option<&'a PoolName>, selector: &Selector) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'_>> = present::pools(state, filter)
        .flat_map(|(name, pool)| pool.fleet.iter().map(move |node| (name, pool, node.as_ref())))
        .filter(|(name, _, node)| selects(selector, name, node))
        .collect();
    rows.sort_by(|a, b| order((a.0.as_str(), a.2.id.as_str()), (b.0.as_str(), b.2.id.as_str())));
    rows
}

/// Puts the nodes after `after` on the page; returns the token of the next page, empty after the last.
fn fill(page: &mut PageOf<v1::Node>, rows: Vec<Row<'_>>, after: Option<&Position>) -> String {
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

/// Whether a node is one of those wanted; it has the labels `pool` and `zone` beside its own.
fn selects(selector: &Selector, pool: &PoolName, node: &Node) -> bool {
    let labels = node.record.value.metadata.as_ref().map(|m| &m.labels);
    selector.matches(|key| match key {
        "pool" => Some(pool.as_str()),
        "zone" => Some(node.status.zone.as_str()).filter(|zone| !zone.is_empty()),
        key => labels?.get(key).map(String::as_str),
    })
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
