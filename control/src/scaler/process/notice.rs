//! What the scaler tells of its processes, as events.
//!
//! Built for the supervisor. `from` and `to` are process ids where a process takes another's place.

use std::collections::BTreeMap;
use std::time::Duration;

use echo_proto::ids::PoolName;
use echo_proto::v1;
use tokio::sync::watch;

use super::super::{Failure, Failures, MAX_NAMED, Notices, RETIRED, elsewhere};
use super::child::Ending;
use super::launch::LaunchError;
use super::others::Other;
use super::record::Record;
use crate::event;
use crate::plan::scale::MAX_PER_HOST;
use crate::words::count;

/// A node that does not stay.
const BACK_OFF: &str = "BackOff";

/// A process that has ended.
#[derive(Debug, Clone)]
pub(super) struct Death {
    pub(super) pid: u32,
    /// In words.
    pub(super) how: String,
    pub(super) ending: Ending,
    /// The last line of its log, if it ended by itself and not well.
    pub(super) words: Option<String>,
}

impl Death {
    fn told(&self) -> String {
        let words = self.words.as_ref().map_or_else(String::new, |words| format!(", saying: {words}"));
        format!("pid {} {}{words}", self.pid, self.how)
    }
}

/// As [`event::normal`] or [`event::warning`].
type Build = fn(&str, String, String) -> v1::Event;

fn about(build: Build, reason: &str, (index, pool): (u32, &PoolName), text: String) -> v1::Event {
    event::in_pool(pool, build(reason, format!("node/node-{index}"), text))
}

/// It has died, or left as somebody else told it to, and is started again. How long the wait is, differs each time, and
/// is not told: so repeats fold.
pub(super) fn ended(node: (u32, &PoolName), death: &Death, wait: Duration) -> v1::Event {
    let when = if wait.is_zero() { "at once" } else { "after a wait" };
    let text = format!("{}; it is started again {when}", death.told());
    match death.ending {
        Ending::InOrder => about(event::normal, "NodeEnded", node, text),
        Ending::GaveUp | Ending::Other => about(event::warning, "NodeDied", node, text),
    }
}

/// It died soon after its start, and not for the first time.
pub(super) fn backs_off(node: (u32, &PoolName)) -> v1::Event {
    let text = "it ends again and again soon after its start, so that each start waits longer; see its log".to_owned();
    about(event::warning, BACK_OFF, node, text)
}

/// Another process runs in the place of one that died.
pub(super) fn replaced(node: (u32, &PoolName), death: &Death, pid: u32) -> v1::Event {
    let event = about(event::normal, "NodeReplaced", node, format!("{}; pid {pid} runs in its place", death.told()));
    v1::Event { from: death.pid.to_string(), to: pid.to_string(), ..event }
}

/// A node that was no longer wanted is gone.
pub(super) fn retired(node: (u32, &PoolName), death: &Death) -> v1::Event {
    about(event::normal, RETIRED, node, format!("no longer wanted: told to drain and exit; {}", death.told()))
}

/// It runs for another cluster's etcd, and has to go.
pub(super) fn outdated(record: &Record) -> v1::Event {
    let (cluster, etcd) = (&record.cluster, record.etcd.join(","));
    let text = format!("it was started for cluster {cluster} with etcd at {etcd}; it is stopped, and started anew");
    about(event::warning, "NodeOutdated", (record.index, &record.pool), text)
}

/// It can't be started.
pub(super) fn failed(node: (u32, &PoolName), error: &LaunchError) -> v1::Event {
    about(event::warning, "NodeStartFailed", node, format!("node-{} can't be started: {error}", node.0))
}

/// It has not left in time.
pub(super) fn overdue(node: (u32, &PoolName), pid: u32, signal: &str) -> v1::Event {
    let text = format!("pid {pid} has not left when its drain was over; it is sent {signal}");
    about(event::warning, "NodeOverdue", node, text)
}

/// What can't be done, by pool: of several things, what only an operator mends.
pub(super) fn failures<'a>(
    looping: impl Iterator<Item = (u32, &'a PoolName)>,
    refused: BTreeMap<PoolName, u32>,
    beyond: BTreeMap<PoolName, u32>,
    others: &[Other],
) -> Failures {
    let surplus = |(pool, many): (PoolName, u32)| {
        let nodes = others.iter().filter(|other| other.pool == pool && !other.node.leaves);
        let nodes: Vec<_> = nodes.map(|other| (format!("node-{}", other.index), other.node.host.as_str())).collect();
        let message = elsewhere(many, nodes.iter().map(|(name, host)| (name.as_str(), *host)));
        (pool, Failure { reason: "StartedElsewhere", message })
    };
    let no_room = |(pool, missing): (PoolName, u32)| {
        let message = format!("{} not started: a host runs at most {MAX_PER_HOST}", count(missing, "node"));
        (pool, Failure { reason: "NoRoom", message })
    };
    let mut ends: BTreeMap<PoolName, Vec<u32>> = BTreeMap::new();
    looping.for_each(|(index, pool)| ends.entry(pool.clone()).or_default().push(index));
    let ends = ends.into_iter().map(|(pool, nodes)| (pool, Failure { reason: BACK_OFF, message: loops(&nodes) }));
    ends.chain(beyond.into_iter().map(surplus)).chain(refused.into_iter().map(no_room)).collect()
}

/// Who does not stay, and where to see why.
fn loops(nodes: &[u32]) -> String {
    let named = nodes.iter().take(MAX_NAMED).map(|index| format!("node-{index}")).collect::<Vec<_>>().join(", ");
    let more = match nodes.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first = nodes.first().map_or(0, |index| *index);
    format!(
        "{named}{more}: no start lasts, so that each waits longer; see `echoctl get events --for node/node-{first}` and \
         its log"
    )
}

/// Tells what can't be done, where that is new, and keeps it for who asks.
pub(super) fn tell_failures(notices: &Notices, told: &watch::Sender<Failures>, failures: Failures) {
    for (pool, failure) in &failures {
        // Each node's back-off is told as its own.
        if failure.reason != BACK_OFF && told.borrow().get(pool) != Some(failure) {
            notices.send(event::warning("ScaleRefused", event::of_pool(pool), &failure.message));
        }
    }
    told.send_if_modified(|told| {
        let changed = *told != failures;
        *told = failures;
        changed
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::Update;
    use crate::view::View;

    #[test]
    fn what_there_is_no_room_for_is_told_once_and_kept_for_as_long_as_it_is_so() {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        view.apply(Update::Reset(Vec::new()), 7);
        let (notices, mut told) = Notices::channel(view);
        let (failures, known) = watch::channel(Failures::new());
        let edge: PoolName = "edge".parse().unwrap();
        let mut refuse = |missing: Option<u32>| {
            let refused = missing.map(|missing| (edge.clone(), missing)).into_iter().collect();
            tell_failures(&notices, &failures, super::failures(std::iter::empty(), refused, BTreeMap::new(), &[]));
            (
                told.try_recv().ok().map(|notice| (notice.event.message, notice.revision)),
                known.borrow().get(&edge).map(|failure| failure.message.clone()),
            )
        };
        let cause = |nodes: &str| Some(format!("{nodes} not started: a host runs at most 254"));
        let (two, one) = (cause("2 nodes"), cause("1 node"));
        // With the revision that was known.
        assert_eq!(refuse(Some(2)), (two.clone().map(|told| (told, 7)), two.clone()));
        assert_eq!(refuse(Some(2)), (None, two));
        assert_eq!(refuse(Some(1)), (one.clone().map(|told| (told, 7)), one));
        assert_eq!(refuse(None), (None, None));
    }
}
