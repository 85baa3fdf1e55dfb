//! One leader's term: what it remembers, and the passes that it makes.
//!
//! Made anew by the drive for each term, whatever the one before knew. Pools come first: what is told of a change must
//! not hold it up, and removing old events comes last.

use std::sync::Arc;
use std::time::Duration;

use echo_proto::backoff::Backoff;
use echo_proto::ids::PoolName;
use echo_proto::v1;
use tokio::time::Instant;

use super::autoscale::Scales;
use super::guard::Guarded;
use super::inbox::Inbox;
use super::intents::{self, Absences};
use super::invalid::Reported;
use super::journal::Journal;
use super::leases::Leases;
use super::nodes::Nodes;
use super::pools::Pools;
use super::returns::Returns;
use super::{Pass, inbox};
use crate::event;
use crate::figures::Figures;
use crate::scaler::Scaler;
use crate::store::election::Leadership;
use crate::store::{Store, StoreError, Stored};
use crate::view::{PoolState, View};

/// Waits after a write that failed, or that lost against another.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How often old events are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Reason of the event of a new leader.
const ELECTED: &str = "LeaderElected";

/// A term.
pub(super) struct Term {
    leadership: Leadership,
    pools: Pools,
    guarded: Guarded,
    scales: Scales,
    journal: Journal,
    /// `None`: not read yet.
    told: Option<ToldBefore>,
    backoff: Backoff,
    /// When old events are removed next.
    prune: Instant,
}

/// What was told, by this leader and those before it.
struct ToldBefore {
    reported: Reported,
    nodes: Nodes,
    returns: Returns,
    leases: Leases,
}

impl Term {
    pub(super) fn new(store: Store, leadership: Leadership, figures: Figures, scaler: Arc<dyn Scaler>) -> Self {
        let scales = Scales::new(store.clone(), leadership, figures.clone(), scaler);
        let pools = Pools::new(store.clone(), leadership, figures);
        let guarded = Guarded::new(store.clone(), leadership);
        let journal = Journal::new(store, leadership);
        let backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        Self { leadership, pools, guarded, scales, journal, told: None, backoff, prune: Instant::now() }
    }

    /// Whether a pool may get the nodes that it wants; see [`Scales::stands`].
    pub(super) fn stands(&self, name: &PoolName, pool: &PoolState) -> bool {
        self.scales.stands(name, pool)
    }

    /// Does all that is to do now; returns when to look again, if nothing changes before.
    pub(super) async fn pass(&mut self, view: &View, inbox: &mut Inbox, absences: &mut Absences) -> Instant {
        // First: nodes hear of a new port before any is told to answer there, though each by a watch of its own. What is
        // taken back or held needs no port.
        let guarded = self.guarded.pass(view).await;
        let pools = self.pools.pass(view, guarded != Pass::Again).await;
        // Whatever holds one pool's rollout up: that may last, and others grow meanwhile.
        let scales = self.scales.pass(view).await;
        let others = self.report(view, inbox, absences).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "an event was not stored yet");
            vec![Pass::Again]
        });
        if Instant::now() >= self.prune {
            self.prune = Instant::now() + PRUNE_EVERY;
            self.journal.prune().await;
        }
        let passes = others.into_iter().chain([guarded, pools, scales]);
        let (mut due, mut again) = (self.prune, false);
        for pass in passes {
            match pass {
                Pass::Done(at) => due = at.map_or(due, |at| due.min(at)),
                Pass::Again => again = true,
            }
        }
        if !again {
            self.backoff.reset();
            return due;
        }
        due.min(Instant::now() + self.backoff.next_wait())
    }

    async fn report(
        &mut self,
        view: &View,
        inbox: &mut Inbox,
        absences: &mut Absences,
    ) -> Result<Vec<Pass>, StoreError> {
        let told = match &mut self.told {
            Some(told) => told,
            None => {
                let events = self.journal.recall().await?;
                let Some(elected) = elected(view, self.leadership, &events) else { return Ok(vec![Pass::Again]) };
                if !self.journal.tell(elected).await? {
                    return Ok(vec![Pass::Again]);
                }
                let (reported, nodes) = (Reported::recall(&events), Nodes::recall(&events));
                let (returns, leases) = (Returns::recall(&events, view), Leases::recall(&events));
                self.told.insert(ToldBefore { reported, nodes, returns, leases })
            }
        };
        Ok(vec![
            told.returns.pass(view, &mut self.journal).await?,
            inbox::pass(inbox, view, &mut self.journal).await?,
            told.leases.pass(view, &mut self.journal).await?,
            told.nodes.pass(view, &mut self.journal).await?,
            intents::pass(view, &mut self.journal, absences).await?,
            told.reported.pass(view, &mut self.journal).await?,
        ])
    }
}

/// Tells who leads, after whom; `None` before the view shows it.
fn elected(view: &View, leadership: Leadership, told: &[Stored<v1::Event>]) -> Option<v1::Event> {
    let leader = view.read(|state| state.leader.clone())?;
    if leader.create_revision != leadership.create_revision {
        return None;
    }
    let v1::LeaderRecord { instance, address, host, .. } = leader.value;
    let before = told.iter().rev().find(|event| event.value.reason == ELECTED);
    let from = before.map_or_else(String::new, |event| event.value.to.clone());
    let message = format!("control at {address} on host {host} leads");
    let event = event::normal(ELECTED, format!("control/{instance}"), message);
    Some(v1::Event { from, to: instance, ..event })
}
