//! Warns when so many nodes register for so short a time that a busy etcd could lose them all at once.
//!
//! Part of the drive. Nothing switches by itself: an operator gives the nodes a longer `--lease-ttl`. Told once for as
//! long as it holds, whoever leads.

use std::time::Duration;

use echo_proto::v1;
use tokio::time::Instant;

use super::Pass;
use super::journal::Journal;
use crate::event;
use crate::store::{StoreError, Stored};
use crate::view::{State, View};

/// Reason of the event.
const SHORT: &str = "ShortLeases";
/// Nodes beyond which a short registration is a danger: their heartbeats alone are then many hundreds a second, and when
/// etcd is held up for some seconds, all of them run out.
const MANY: usize = 2_000;
/// What is long enough then.
const LONG_ENOUGH: Duration = Duration::from_secs(30);
/// Of a record that does not tell: older nodes have this, unless they were told otherwise.
const UNTOLD: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Whether it was told.
#[derive(Debug)]
pub(super) struct Leases {
    told: bool,
    due: Instant,
}

impl Leases {
    /// What earlier leaders told.
    pub(super) fn recall(events: &[Stored<v1::Event>]) -> Self {
        Self { told: events.iter().any(|event| event.value.reason == SHORT), due: Instant::now() }
    }

    pub(super) async fn pass(&mut self, view: &View, journal: &mut Journal) -> Result<Pass, StoreError> {
        let now = Instant::now();
        if now < self.due {
            return Ok(Pass::Done(Some(self.due)));
        }
        let (nodes, short) = view.read(count);
        if !is_danger(nodes, short) {
            self.told = false;
        } else if !self.told {
            let event = event::warning(SHORT, event::of_cluster(journal.keys()), message(nodes, short));
            tracing::warn!(nodes, short, "{}", event.message);
            if !journal.tell(event).await? {
                return Ok(Pass::Again);
            }
            self.told = true;
        }
        self.due = now + LOOK_EVERY;
        Ok(Pass::Done(Some(self.due)))
    }
}

/// How many nodes have a record, and how many of them one that lives for too short a time where they are many.
fn count(state: &State) -> (usize, usize) {
    let live = state.pools.values().flat_map(|pool| pool.fleet.live());
    let ttl = |status: &v1::NodeStatus| status.lease_ttl.and_then(|ttl| Duration::try_from(ttl).ok());
    live.fold((0, 0), |(nodes, short), node| {
        (nodes + 1, short + usize::from(ttl(&node.status).unwrap_or(UNTOLD) < LONG_ENOUGH))
    })
}

fn is_danger(nodes: usize, short: usize) -> bool {
    nodes > MANY && short > 0
}

fn message(nodes: usize, short: usize) -> String {
    format!(
        "of {nodes} nodes, {short} register for less than {LONG_ENOUGH:?}: with more than {MANY} nodes, an etcd that is \
         held up can lose them all at once; start them with --lease-ttl {LONG_ENOUGH:?}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_many_short_leases_are_a_danger_and_one_leader_tells_it() {
        assert!(!is_danger(MANY, MANY));
        assert!(is_danger(MANY + 1, 1));
        assert!(!is_danger(10 * MANY, 0));
        let told = |reason: &str| {
            let value = event::warning(reason, "cluster/test".to_owned(), "");
            Leases::recall(&[Stored { value, mod_revision: 1, create_revision: 1 }]).told
        };
        assert!(told(SHORT) && !told("EtcdReturned"));
        assert_eq!(
            message(2_500, 7),
            "of 2500 nodes, 7 register for less than 30s: with more than 2000 nodes, an etcd that is held up can lose \
             them all at once; start them with --lease-ttl 30s"
        );
    }
}
