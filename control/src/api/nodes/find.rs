//! Which node a caller means by its name.
//!
//! Part of the Nodes service. Names are unique in a pool only, so that a name alone may mean two nodes: then neither is
//! taken, and the pools are named. One that lives goes before those that are gone.

use std::sync::Arc;

use echo_proto::ids::{NodeId, PoolName};

use super::super::error::ApiError;
use super::super::filter;
use crate::fleet::Node;
use crate::plan::pin::pinned;
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
        let id = name.parse().map_err(|e| ApiError::argument("node", format!("{e}")))?;
        Ok(Self { id, pool: filter(pool)? })
    }

    /// The one node that is meant.
    pub(super) fn find<'a>(
        &'a self,
        state: &'a State,
    ) -> Result<(&'a PoolName, &'a PoolState, &'a Arc<Node>), ApiError> {
        self.only(state, |pool| pool.fleet.get(&self.id))
    }

    /// The pool of the one node that is meant; also of one that is gone and that an operator still wants something of.
    pub(super) fn pool<'a>(&'a self, state: &'a State) -> Result<&'a PoolName, ApiError> {
        let known = |pool: &PoolState| pool.fleet.get(&self.id).is_some() || pool.intents.contains_key(&self.id);
        self.only(state, |pool| known(pool).then_some(())).map(|(name, ..)| name)
    }

    /// The pool of the one node that is meant, also of one that is gone, and of which only the pin is left.
    pub(super) fn pinned<'a>(&'a self, state: &'a State) -> Result<&'a PoolName, ApiError> {
        let is_pinned = |pool: &PoolState| {
            let record = pool.pool.valid().map(|stored| &stored.value.record);
            record.is_some_and(|record| pinned(record, &self.id) > 0)
        };
        let known = |pool: &PoolState| pool.fleet.get(&self.id).is_some() || is_pinned(pool);
        self.only(state, |pool| known(pool).then_some(())).map(|(name, ..)| name)
    }

    /// The one pool of those `known`; of several the one where the node lives.
    fn only<'a, T>(
        &'a self,
        state: &'a State,
        known: impl Fn(&'a PoolState) -> Option<T>,
    ) -> Result<(&'a PoolName, &'a PoolState, T), ApiError> {
        let id = self.id.as_str();
        let pools = crate::present::pools(state, self.pool.as_ref());
        let found: Vec<_> = pools.filter_map(|(name, pool)| Some((name, pool, known(pool)?))).collect();
        let lives = |pool: &PoolState| pool.fleet.get(&self.id).is_some_and(|node| !node.has_vanished());
        let any = found.iter().any(|(_, pool, _)| lives(pool));
        let mut found = found.into_iter().filter(|(_, pool, _)| lives(pool) || !any);
        let first = found.next().ok_or_else(|| ApiError::no_node(id, self.pool.as_ref()))?;
        let others: Vec<&str> = found.map(|(name, ..)| name.as_str()).take(POOLS_NAMED).collect();
        if others.is_empty() {
            return Ok(first);
        }
        let pools = format!("{}, {}", first.0, others.join(", "));
        let text =
            format!("node {id:?} is ambiguous: the pools {pools} have a node of this name; name one with --pool");
        Err(ApiError::unmet("NODE_AMBIGUOUS", format!("node/{id}"), text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Delta, Entry, Update};
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
        assert!(matches!(find("node-2", "a"), Err(ApiError::NotFound(it)) if it.text.contains("pool \"a\"")));
        assert!(matches!(find("node-9", ""), Err(ApiError::NotFound(_))));
        assert!(matches!(find("node-3", ""), Err(ApiError::NotFound(_))));
        let gone = Named::parse("node-3", "").unwrap();
        assert_eq!(view.read(|state| gone.pool(state).map(ToString::to_string)), Ok("c".to_owned()));
        assert!(matches!(find("No Node", ""), Err(ApiError::Argument(_))));
        view.apply(Update::Changes(vec![Delta::Gone(b"/echo/v1/test/nodes/a/node-1".to_vec())]), 4);
        assert_eq!(find("node-1", ""), Ok("b/node-1".to_owned()), "the other one is gone");
        assert_eq!(find("node-1", "a"), Ok("a/node-1".to_owned()));
    }
}
