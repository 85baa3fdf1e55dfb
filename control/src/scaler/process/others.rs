//! Nodes of the cluster that another control started, or somebody by hand under such an id.
//!
//! Used by the supervisor, which must start no second node in their place, and can't stop them. Whoever has a record and
//! is no process of this state directory is one, save for the last life of a node that lived here: its record stands
//! until its lease has run out, and must not keep the next one from its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;

use echo_proto::ids::{NodeId, PoolName};
use tokio::task::spawn_blocking;

use super::launch::Launcher;
use crate::plan::scale::{self, Keeper, Usage};
use crate::scaler::Registered;

/// Largest registration of a node that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Other {
    pub(super) index: u32,
    pub(super) pool: PoolName,
    pub(super) node: Registered,
}

/// Those of these nodes that are not `own`, which are processes that live here.
pub(super) async fn of(
    launcher: Launcher,
    registered: BTreeMap<(PoolName, NodeId), Registered>,
    own: BTreeSet<(u32, PoolName)>,
) -> Vec<Other> {
    let found = spawn_blocking(move || find(&launcher, registered, &own)).await;
    found.inspect_err(|error| tracing::error!(%error, "who runs elsewhere is not known")).unwrap_or_default()
}

/// Reads files.
fn find(
    launcher: &Launcher,
    registered: BTreeMap<(PoolName, NodeId), Registered>,
    own: &BTreeSet<(u32, PoolName)>,
) -> Vec<Other> {
    let known = registered.into_iter().filter_map(|((pool, id), node)| Some((scale::index(&id)?, pool, node)));
    let others = known.filter(|(index, pool, _)| !own.contains(&(*index, pool.clone())));
    let others = others.map(|(index, pool, node)| Other { index, pool, node });
    others.filter(|other| !lived_here(launcher, other)).collect()
}

/// Whether its record is that of the last process of this state directory.
fn lived_here(launcher: &Launcher, other: &Other) -> bool {
    let path = launcher.node_dir(other.index, &other.pool).join("registration");
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    let line = format!("incarnation {}", other.node.incarnation);
    read.is_ok() && text.lines().any(|said| said == line)
}

impl Other {
    /// As the plan counts it.
    pub(super) fn counted(&self) -> scale::Worker {
        let Self { index, pool, node } = self;
        let (pool, zone, keeper) = (pool.clone(), node.zone.clone(), Keeper::Elsewhere { sure: node.sure });
        scale::Worker { index: *index, pool, zone, leaving: node.leaves, usage: Usage::Serves, load: None, keeper }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    fn launcher(state_dir: &Path) -> Launcher {
        Launcher {
            binary: "echo-node".into(),
            state_dir: state_dir.to_owned(),
            cluster: "test".parse().unwrap(),
            etcd: Vec::new(),
            grpc_port: 0,
            http_port: 0,
            lease_ttl: Duration::from_secs(10),
            drain_deadline: None,
            zones: Vec::new(),
            lifeline: false,
        }
    }

    #[test]
    fn the_last_life_of_a_node_that_lived_here_is_no_other() {
        let directory = std::env::temp_dir().join(format!("echo-others-{}", std::process::id()));
        let launcher = launcher(&directory);
        let edge: PoolName = "edge".parse().unwrap();
        let node = |incarnation: &str| Registered {
            incarnation: incarnation.to_owned(),
            host: "h".to_owned(),
            zone: String::new(),
            leaves: false,
            sure: true,
        };
        let registered = ["node-1", "node-2", "node-3", "web-4"].map(|id| ((edge.clone(), id.parse().unwrap()), "aa"));
        let registered = registered.into_iter().map(|(key, incarnation)| (key, node(incarnation))).collect();
        for (index, incarnation) in [(1, "aa"), (2, "bb")] {
            let home = launcher.node_dir(index, &edge);
            std::fs::create_dir_all(&home).unwrap();
            let text = format!("node test/edge/node-{index}\nlease 7\nincarnation {incarnation}\n");
            std::fs::write(home.join("registration"), text).unwrap();
        }
        let indexes = |own: &[u32]| {
            let own = own.iter().map(|index| (*index, edge.clone())).collect();
            find(&launcher, BTreeMap::clone(&registered), &own).iter().map(|other| other.index).collect::<Vec<_>>()
        };
        assert_eq!(indexes(&[]), [2, 3]);
        assert_eq!(indexes(&[3]), [2]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
