//! Which node a caller means by its name.
//!
//! Part of the Nodes service. Names are unique in a pool only, so that a name alone may mean two nodes: then neither is
//! taken, and the pools are named.

use std::sync::Arc;

use echo_proto::ids::{NodeId, PoolName};

use super::super::error::ApiError;
use super::super::filter;
use crate::fleet::Node;
use crate::view::{PoolState, State};

/// Pools that an error names.
const POOLS_NAMED: usize = 8;

/// A node by its name, and its pool where that is given.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) id: NodeId,
    pub(super) pool: Option<PoolName>,
}

impl Named {
    pub(super) fn parse(name: &str, pool: &str) -> Result<Self, ApiError> {
        let id = name.parse().map_err(|e| ApiError::Argument(format!("{e}")))?;
        Ok(Self { id, pool: filter(pool)? })
    }

    /// The one node that is meant.
    pub(super) fn find<'a>(
        &'a self,
        state: &'a State,
    ) -> Result<(&'a PoolName, &'a PoolState, &'a Arc<Node>), ApiError> {
        let found = |(name, pool): (&'a PoolName, &'a PoolState)| Some((name, (pool, pool.fleet.get(&self.id)?)));
        let (name, (pool, node)) = self.only(crate::present::pools(state, self.pool.as_ref()).filter_map(found))?;
        Ok((name, pool, node))
    }

    /// The pool of the one node that is meant; also of one that is gone and that an operator still wants something of.
    pub(super) fn pool<'a>(&'a self, state: &'a State) -> Result<&'a PoolName, ApiError> {
        let known = |pool: &PoolState| pool.fleet.get(&self.id).is_some() || pool.intents.contains_key(&self.id);
        let pools = crate::present::pools(state, self.pool.as_ref()).filter(|(_, pool)| known(pool));
        self.only(pools.map(|(name, _)| (name, ()))).map(|(name, ())| name)
    }

    fn only<'a, T>(&self, mut found: impl Iterator<Item = (&'a PoolName, T)>) -> Result<(&'a PoolName, T), ApiError> {
        let id = self.id.as_str();
        let first = found.next().ok_or_else(|| ApiError::no_node(id, self.pool.as_ref()))?;
        let others: Vec<&str> = found.map(|(name, _)| name.as_str()).take(POOLS_NAMED).collect();
        if others.is_empty() {
            return Ok(first);
        }
        let pools = format!("{}, {}", first.0, others.join(", "));
        Err(ApiError::Precondition(format!(
            "node {id:?} is ambiguous: the pools {pools} have a node of this name; name one with --pool"
        )))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Entry, Update};
    use crate::view::View;

    #[test]
    fn a_name_in_two_pools_means_neither() {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let node = |key: &str| Entry {
            key: format!("/echo/v1/test/nodes/{key}").into_bytes(),
            value: br#"{"status":{"incarnation":"i"}}"#.to_vec(),
            ..Default::default()
        };
        let intent =
            Entry { key: b"/echo/v1/test/intents/c/node-3".to_vec(), value: b"{}".to_vec(), ..Default::default() };
        view.apply(Update::Reset(vec![node("a/node-1"), node("b/node-1"), node("b/node-2"), intent]), 3);
        let find = |name: &str, pool: &str| {
            let named = Named::parse(name, pool)?;
            view.read(|state| named.find(state).map(|(pool, _, node)| format!("{pool}/{}", node.id)))
        };
        assert_eq!(find("node-2", ""), Ok("b/node-2".to_owned()));
        assert_eq!(find("node-1", "b"), Ok("b/node-1".to_owned()));
        let ambiguous = find("node-1", "").unwrap_err();
        assert!(ambiguous.to_string().contains("the pools a, b have"), "{ambiguous}");
        assert!(matches!(find("node-2", "a"), Err(ApiError::NotFound(text)) if text.contains("pool \"a\"")));
        assert!(matches!(find("node-9", ""), Err(ApiError::NotFound(_))));
        assert!(matches!(find("node-3", ""), Err(ApiError::NotFound(_))));
        let gone = Named::parse("node-3", "").unwrap();
        assert_eq!(view.read(|state| gone.pool(state).map(ToString::to_string)), Ok("c".to_owned()));
        assert!(matches!(find("No Node", ""), Err(ApiError::Argument(_))));
    }
}
