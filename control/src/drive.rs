//! The one loop: what changed -> a pure plan -> fenced writes. Only the elected leader runs it.
//!
//! Run by the app as a task. Every pass looks at everything that is known and does what is missing, so that a lost
//! message or a new leader costs nothing but time. It must never write without the fence: the leader key and the pool
//! as they were when the plan was made.

mod autoscale;
mod guard;
mod inbox;
mod intents;
mod invalid;
mod journal;
mod leases;
mod nodes;
mod pools;
mod returns;
mod term;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::inbox::Inbox;
pub use self::intents::Absences;
use self::term::Term;
use echo_proto::ids::PoolName;

use crate::figures::{Figures, User};
use crate::fleet::{Node, Presence};
use crate::pace;
use crate::plan::scale::{self, Usage};
use crate::scaler::{Registered, Scaler, Wanted};
use crate::stop::Stop;
use crate::store::Store;
use crate::store::election::Leadership;
use crate::view::{PoolState, Slot, State, View};
use echo_proto::v1::{self, NodePhase};

/// Least time from the end of a pass to the next one that a timer calls for.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// The loop and what it works with.
pub struct Drive {
    /// Where decisions are written.
    pub store: Store,
    /// What decisions rest on.
    pub view: View,
    /// Told how many nodes each pool wants.
    pub scaler: Arc<dyn Scaler>,
    /// What the nodes do.
    pub figures: Figures,
    /// Whether this process leads.
    pub leadership: watch::Receiver<Option<Leadership>>,
    /// Events of the scaler, to be stored.
    pub inbox: Inbox,
    /// Intents that nobody carries out.
    pub absences: Absences,
}

/// How a pass went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Nothing is left to do before this instant, or before something changes.
    Done(Option<Instant>),
    /// etcd did not answer, or someone else was faster: look again soon.
    Again,
}

impl Drive {
    /// Drives while this process leads, until `stop`.
    pub async fn run(mut self, mut stop: Stop) {
        loop {
            let leadership = *self.leadership.borrow_and_update();
            match leadership {
                Some(leadership) => self.lead(leadership, &mut stop).await,
                None => {
                    self.scaler.want(None);
                    for user in [User::Autoscaler, User::Health] {
                        self.figures.keep(user, |_| false);
                    }
                    tokio::select! {
                        changed = self.leadership.changed() => if changed.is_err() { return },
                        () = stop.wait() => {}
                    }
                }
            }
            if stop.is_set() {
                return;
            }
        }
    }

    /// One term: until the leadership changes or `stop`. Timers start anew, whatever the last leader's were.
    async fn lead(&mut self, leadership: Leadership, stop: &mut Stop) {
        let (mut updates, mut lost) = (self.view.updates(), self.leadership.clone());
        let (mut rounds, mut failures) = (self.figures.rounds(), self.scaler.failures());
        let mut term = Term::new(self.store.clone(), leadership, self.figures.clone(), self.scaler.clone());
        loop {
            updates.mark_unchanged();
            rounds.mark_unchanged();
            failures.mark_unchanged();
            // A write that waits for etcd must not outlive the leadership, and nothing may be told after it.
            let pass = async {
                let began = Instant::now();
                let wake = self.pass(&mut term).await;
                sleep(pace::rest(began.elapsed(), Duration::ZERO)).await;
                wake
            };
            let wake = tokio::select! {
                biased;
                _ = lost.changed() => return,
                () = stop.wait() => return,
                wake = pass => wake,
            };
            // A deadline that has passed must not spin; without one, the view has to change first.
            let pause = sleep_until(wake.unwrap_or_else(Instant::now).max(Instant::now() + MIN_PAUSE));
            tokio::select! {
                _ = updates.changed() => {}
                _ = rounds.changed() => {}
                _ = failures.changed() => {}
                _ = lost.changed() => return,
                () = self.inbox.arrival() => {}
                () = pause, if wake.is_some() => {}
                () = stop.wait() => return,
            }
        }
    }

    /// Does all that is to do now; returns when to look again, if nothing changes before.
    async fn pass(&mut self, term: &mut Term) -> Option<Instant> {
        let wanted = self.view.read(|state| wanted(state, |name, pool| term.stands(name, pool)))?;
        self.scaler.want(Some(wanted));
        Some(term.pass(&self.view, &mut self.inbox, &mut self.absences).await)
    }
}

/// What each readable pool wants, as far as it `stands`; `None` while what is known is old.
fn wanted(state: &State, stands: impl Fn(&PoolName, &PoolState) -> bool) -> Option<Wanted> {
    if !state.synced || state.away.is_some() {
        return None;
    }
    let mut wanted = Wanted::default();
    for (name, pool) in &state.pools {
        if let Some(entry) = pool.pool.valid() {
            let replicas = pool.desired().filter(|_| stands(name, pool));
            wanted.replicas.extend(replicas.map(|replicas| (name.clone(), replicas)));
            let assigned = pool.assignment.valid().map_or(Duration::ZERO, |assignment| assignment.value.longest_drain);
            // Nodes may still run what was assigned before.
            wanted.drains.insert(name.clone(), assigned.max(entry.value.plan.template.drain.longest()));
        } else if is_deleted(pool) {
            wanted.replicas.insert(name.clone(), 0);
        }
        let usage = |node: &Arc<Node>| match node.status.phase() {
            NodePhase::Drained => Some(Usage::Drained),
            _ if !node.status.cordoned_by.is_empty() => Some(Usage::Cordoned),
            _ => None,
        };
        let idle = pool.fleet.live().filter_map(|node| Some(((name.clone(), node.id.clone()), usage(node)?)));
        wanted.idle.extend(idle);
        // Most of a large fleet are nobody's whom a scaler could have started: their names are not copied in each pass.
        let known = pool.fleet.iter().filter_map(|node| registered(node).map(|of| (node, of)));
        let known = known.map(|(node, of)| ((name.clone(), node.id.clone()), of));
        wanted.registered.extend(known);
    }
    Some(wanted)
}

/// A node that a scaler may have started, and that may live: also one without a record, unless its Agent is silent.
fn registered(node: &Node) -> Option<Registered> {
    scale::index(&node.id)?;
    let dead = matches!(node.presence, Presence::Vanished { answers: Some(false), .. } | Presence::Left);
    let v1::NodeStatus { incarnation, host, zone, .. } = &node.status;
    let (leaves, sure) = (node.leaves(), node.presence == Presence::Sure);
    let of = |text: &String| text.clone();
    (!dead).then(|| Registered { incarnation: of(incarnation), host: of(host), zone: of(zone), leaves, sure })
}

/// Whether a pool is gone for good: its key may be missing in a restored backup, but nodes that say so saw it deleted.
fn is_deleted(pool: &PoolState) -> bool {
    let phases = || pool.fleet.live().map(|node| node.status.phase());
    let goes = |phase| matches!(phase, NodePhase::NoPool | NodePhase::Draining);
    matches!(pool.pool, Slot::Absent) && phases().any(|phase| phase == NodePhase::NoPool) && phases().all(goes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Entry, Update};

    #[test]
    fn a_number_that_a_leader_has_yet_to_look_at_is_not_told() {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let value = br#"{"metadata":{"name":"edge","uid":"u"},"revision":{"uid":"u","n":1},"spec":{"template":{
            "listeners":[{"name":"l","protocol":"PROTOCOL_TCP","port":7007,"service":{"echo":{}}}]}}}"#;
        let entry = Entry { key: b"/echo/v1/test/pools/edge".to_vec(), value: value.to_vec(), ..Entry::default() };
        view.apply(Update::Reset(vec![entry]), 3);
        let told = |stands| view.read(|state| wanted(state, |_, _| stands)).unwrap();
        assert_eq!(told(true).replicas.into_values().collect::<Vec<_>>(), [3]);
        assert_eq!((told(false).replicas.len(), told(false).drains.len()), (0, 1));
    }

    /// What is wanted of a pool that has no key, with nodes in these phases.
    fn of_phases(phases: &[&str]) -> Option<u32> {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let entry = |(n, phase): (usize, &&str)| Entry {
            key: format!("/echo/v1/test/nodes/edge/node-{n}").into_bytes(),
            value: format!(r#"{{"status":{{"phase":"NODE_PHASE_{phase}"}}}}"#).into_bytes(),
            mod_revision: 3,
            ..Entry::default()
        };
        view.apply(Update::Reset(phases.iter().enumerate().map(entry).collect()), 3);
        view.read(|state| wanted(state, |_, _| true)).unwrap().replicas.get(&"edge".parse().unwrap()).copied()
    }

    #[test]
    fn a_deleted_pool_wants_none_once_all_its_nodes_say_so() {
        assert_eq!(of_phases(&["NO_POOL", "NO_POOL"]), Some(0));
        assert_eq!(of_phases(&["NO_POOL", "DRAINING"]), Some(0));
        assert_eq!(of_phases(&["NO_POOL", "READY"]), None, "one serves on: a backup was restored");
        assert_eq!(of_phases(&["DRAINING"]), None);
    }

    #[test]
    fn who_serves_nobody_is_told_to_the_scaler() {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let value = br#"{"status":{"phase":"NODE_PHASE_READY","cordonedBy":"ann"}}"#.to_vec();
        let entry = Entry { key: b"/echo/v1/test/nodes/edge/n".to_vec(), value, ..Entry::default() };
        view.apply(Update::Reset(vec![entry]), 3);
        let key = ("edge".parse().unwrap(), "n".parse().unwrap());
        assert_eq!(view.read(|state| wanted(state, |_, _| true)).unwrap().idle, [(key, Usage::Cordoned)].into());
    }
}
