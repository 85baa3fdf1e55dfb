//! Whose state directory it is: one node of one pool of one cluster.
//!
//! Used by [`super::state_dir`], which writes it as the first line of every file.

use std::fmt;

use echo_proto::ids::{ClusterName, NodeId, PoolName};

use crate::settings::Settings;

/// What the line begins with.
pub const MARK: &str = "node ";

/// A node as its state directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Cluster that it belongs to.
    pub cluster: ClusterName,
    /// Pool that it serves.
    pub pool: PoolName,
    /// Its id in the pool.
    pub node: NodeId,
}

impl Owner {
    /// The node of these settings.
    pub fn of(settings: &Settings) -> Self {
        Self { cluster: settings.cluster.clone(), pool: settings.pool.clone(), node: settings.id.clone() }
    }

    /// Reads the line back; `None` for any other.
    pub fn read(line: &str) -> Option<Self> {
        let mut names = line.strip_prefix(MARK)?.splitn(3, '/');
        let (cluster, pool, node) = (names.next()?, names.next()?, names.next()?);
        Some(Self { cluster: cluster.parse().ok()?, pool: pool.parse().ok()?, node: node.parse().ok()? })
    }

    /// The line.
    pub fn written(&self) -> String {
        format!("{MARK}{}/{}/{}", self.cluster, self.pool, self.node)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of pool {} in cluster {}", self.node, self.pool, self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_names_an_owner() {
        let line = "node prod/edge/node-1.a";
        assert_eq!(Owner::read(line).map(|owner| owner.written()).as_deref(), Some(line));
        for other in ["", "node ", "node prod/edge", "node prod/edge/", "node prod/edge/a/b", "prod/edge/a"] {
            assert_eq!(Owner::read(other), None, "{other}");
        }
    }
}
