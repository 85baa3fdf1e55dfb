//! What nodes dropped and refused while a load ran, as they count it themselves: that is no loss of the network's.
//!
//! Used by `bench`. It must never hold a load up for long, nor fail it: who does not tell in time is not asked again.

use std::collections::BTreeMap;
use std::time::Duration;

use echo_proto::v1;
use tokio::time::timeout;

use crate::args::Global;
use crate::failure::Failure;
use crate::object::Object as _;
use crate::object::source::{Filter, Source as _, list};
use crate::reflector::{Known, Reflector, control};

/// Longest wait for all of them.
const DEADLINE: Duration = Duration::from_secs(2);

/// Counts by reason.
pub(super) type Drops = BTreeMap<String, u64>;

/// What each node has dropped and refused since it started, for all its clients.
#[derive(Debug, Default)]
pub(super) struct Counted(BTreeMap<String, Drops>);

impl Counted {
    /// As the nodes tell now; nothing of those that control does not know, or not in time.
    pub(super) async fn now(global: &Global, reflectors: &[Reflector]) -> Self {
        let known: Vec<_> = reflectors.iter().filter_map(|reflector| reflector.node.as_ref()).collect();
        let Some(first) = known.first() else { return Self::default() };
        let nodes = timeout(DEADLINE, nodes(global, first, known.len())).await;
        let nodes = nodes.ok().and_then(Result::ok).unwrap_or_default();
        Self(
            nodes
                .iter()
                .filter_map(|node| Some((node.name().to_owned(), drops(node.status.as_ref()?.live.as_ref()?))))
                .collect(),
        )
    }

    /// What one node has counted since `before`, by reason; `None` where it did not tell twice, or began anew.
    pub(super) fn since(&self, before: &Self, node: &str) -> Option<Drops> {
        let (now, before) = (self.0.get(node)?, before.0.get(node)?);
        let more = now.iter().map(|(reason, count)| {
            let more = count.checked_sub(before.get(reason).copied().unwrap_or_default())?;
            Some((reason.clone(), more))
        });
        let more: Drops = more.collect::<Option<_>>()?;
        Some(more.into_iter().filter(|(_, count)| *count > 0).collect())
    }
}

async fn nodes(global: &Global, first: &Known, count: usize) -> Result<Vec<v1::Node>, Failure> {
    let mut control = control(global).await?;
    if count == 1 {
        return Ok(vec![v1::Node::find(&mut control, &first.name, &Filter::default()).await?]);
    }
    // Several are those of one pool.
    let filter = Filter { pool: first.pool.clone(), ..Filter::default() };
    Ok(list::<v1::Node>(&mut control, &filter).await?.0)
}

fn drops(live: &v1::LiveFigures) -> Drops {
    let mut drops: Drops = live.dropped_packets.clone().into_iter().collect();
    for (reason, count) in &live.rejected_connections {
        *drops.entry(reason.clone()).or_default() += count;
    }
    drops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_node_told_twice_and_counted_on_is_told() {
        let counted = |node: &str, counts: &[(&str, u64)]| {
            let drops = counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
            Counted([(node.to_owned(), drops)].into())
        };
        let before = counted("a", &[("acl", 3), ("rate_limit", 5)]);
        let now = counted("a", &[("acl", 3), ("rate_limit", 9), ("oversize", 1)]);
        let expected = [("rate_limit".to_owned(), 4), ("oversize".to_owned(), 1)].into();
        assert_eq!(now.since(&before, "a"), Some(expected));
        assert_eq!(before.since(&now, "a"), None, "it began anew");
        assert_eq!(now.since(&before, "b"), None);
        assert_eq!(now.since(&counted("b", &[]), "a"), None);
    }
}
