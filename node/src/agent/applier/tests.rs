//! Assignments in, reports out, with real sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU8, Ordering};

use echo_proto::codec;
use echo_proto::ids::Digest;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::agent::report;
use crate::agent::state_dir::StateDir;
use crate::agent::state_dir::tests::{Scratch, owner};
use crate::live::{LiveOptions, Who};

/// Longest wait for anything here.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    /// An address of this test's own: a port that it gives up there is no other test's meanwhile.
    static LOOPBACK: IpAddr = {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, high, low, NEXT.fetch_add(1, Ordering::Relaxed)).into()
    };
}

pub(super) fn loopback() -> IpAddr {
    LOOPBACK.with(|address| *address)
}

/// An applier that runs, and the cells around it.
pub(super) struct Bench {
    pub(super) assigned: watch::Sender<Assigned>,
    pub(super) intents: watch::Sender<Option<v1::Intent>>,
    pub(super) fleet_ports: watch::Sender<Option<FleetPorts>>,
    pub(super) leave: watch::Sender<Option<Wish>>,
    pub(super) report: watch::Receiver<Report>,
    task: JoinHandle<Applier>,
}

impl Bench {
    pub(super) fn start() -> Self {
        Self::start_with(None)
    }

    pub(super) fn start_with(saved: Option<SavedConfig>) -> Self {
        let (assigned, assigned_cell) = watch::channel(Assigned::Unknown);
        let (intents, intents_cell) = watch::channel(None);
        let (leave, left) = watch::channel(None);
        let link = watch::channel(Link::Joining).1;
        let (applier, report) = applier(saved);
        let (fleet_ports, ports_cell) = watch::channel(None);
        let inbox =
            Inbox { assigned: assigned_cell, intents: intents_cell, fleet_ports: ports_cell, leave: left, link };
        let task = tokio::spawn(applier.run(inbox));
        Self { assigned, intents, fleet_ports, leave, report, task }
    }

    pub(super) fn assign(&self, assignment: &v1::Assignment) {
        self.assigned.send_replace(value(assignment));
    }

    pub(super) async fn until(&mut self, what: impl FnMut(&Report) -> bool) -> Report {
        timeout(PATIENCE, self.report.wait_for(what)).await.unwrap().unwrap().clone()
    }

    /// Leaves as a signal makes it, at once.
    pub(super) async fn end(self) -> Applier {
        self.leave.send_replace(Some(Wish { force: true, ..Wish::exit("SIGTERM") }));
        self.left().await
    }

    /// Waits until it has drained and is to end.
    pub(super) async fn left(self) -> Applier {
        timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

pub(super) fn applier(saved: Option<SavedConfig>) -> (Applier, watch::Receiver<Report>) {
    let live =
        Live::start(LiveOptions { shards: NonZeroUsize::MIN, address: loopback(), who: Who::default() }).unwrap();
    let (cell, report) = watch::channel(Report::starting());
    let (node, pool) = ("node-1".parse().unwrap(), "edge".parse().unwrap());
    let own = Own {
        node,
        pool,
        incarnation: Incarnation::random(),
        drain_deadline: None,
        good_after: Duration::from_secs(10),
    };
    (Applier::new(live, own, cell, saved), report)
}

pub(super) fn revision(n: u32, port: u16) -> v1::AssignedRevision {
    let service = v1::Service { kind: Some(v1::service::Kind::Echo(v1::EchoService::default())) };
    let listener = v1::Listener {
        name: "echo-tcp".into(),
        protocol: v1::Protocol::Tcp.into(),
        port: port.into(),
        service: Some(service),
        ..Default::default()
    };
    let config = v1::PoolTemplate { listeners: vec![listener], ..Default::default() };
    v1::AssignedRevision { n, digest: Digest::of(&config).to_string(), config: Some(config) }
}

pub(super) fn value(assignment: &v1::Assignment) -> Assigned {
    Assigned::Value(codec::to_json(assignment).into_bytes().into())
}

pub(super) fn stable(n: u32, port: u16) -> v1::Assignment {
    v1::Assignment { uid: "u".into(), rollout: 1, stable: Some(revision(n, port)), ..Default::default() }
}

pub(super) fn rolling(rollout: u32, from: v1::AssignedRevision, to: v1::AssignedRevision) -> v1::Assignment {
    let (stable, next) = (Some(from), Some(to));
    v1::Assignment { uid: "u".into(), rollout, stable, next, cut: u64::MAX, ..Default::default() }
}

pub(super) fn applied(n: u32) -> impl FnMut(&Report) -> bool {
    move |report| report.applied.as_ref().is_some_and(|a| a.n == n)
}

/// A port that another process holds.
pub(super) fn taken() -> (TcpListener, u16) {
    let holder = TcpListener::bind((loopback(), 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    (holder, port)
}

#[tokio::test]
async fn what_is_assigned_is_served_and_told() {
    let mut bench = Bench::start();
    bench.assign(&stable(1, 0));
    let report = bench.until(applied(1)).await;
    assert_eq!((report.phase, report.rejection), (NodePhase::Ready, None));
    assert_eq!(report.listeners[0].name, "echo-tcp");
    let address: SocketAddr = report.listeners[0].address.parse().unwrap();
    assert!(TcpStream::connect(address).is_ok());
    bench.end().await.end().await;
}

#[tokio::test]
async fn a_next_that_can_not_be_bound_is_refused_and_stable_serves_on() {
    let (_holder, port) = taken();
    let mut bench = Bench::start();
    bench.assign(&stable(1, 0));
    let before = bench.until(applied(1)).await;
    bench.assign(&rolling(2, revision(1, 0), revision(2, port)));
    let report = bench.until(|r| r.rejection.is_some()).await;
    let rejection = report.rejection.clone().unwrap();
    assert_eq!((rejection.revision.as_ref().unwrap().n, rejection.rollout), (2, 2));
    let told = format!("listener echo-tcp: bind {}:{port}: address in use", loopback());
    assert_eq!(report::told(&rejection), told);
    assert_eq!((report.phase, report.applied, report.listeners), (before.phase, before.applied, before.listeners));
    bench.end().await.end().await;
}

#[tokio::test]
async fn a_joiner_that_refuses_next_serves_stable() {
    let (_holder, port) = taken();
    let mut bench = Bench::start();
    bench.assign(&rolling(2, revision(1, 0), revision(2, port)));
    let report = bench.until(applied(1)).await;
    assert_eq!((report.phase, report.rejection.unwrap().revision.unwrap().n), (NodePhase::Ready, 2));
    bench.end().await.end().await;
}

#[tokio::test]
async fn a_refused_stable_is_tried_until_it_works() {
    let (holder, port) = taken();
    let mut bench = Bench::start();
    bench.assign(&stable(1, port));
    let report = bench.until(|r| r.phase == NodePhase::Rejected).await;
    assert!(report.not_ready().unwrap().contains("address in use"));
    drop(holder);
    let report = bench.until(applied(1)).await;
    assert_eq!((report.phase, report.rejection), (NodePhase::Ready, None));
    bench.end().await.end().await;
}

#[tokio::test]
async fn garbage_is_told_and_stops_nothing() {
    let mut bench = Bench::start();
    bench.assigned.send_replace(Assigned::Value(b"{".as_slice().into()));
    assert!(bench.until(|r| r.phase == NodePhase::Rejected).await.not_ready().unwrap().contains("not JSON"));
    bench.assign(&stable(1, 0));
    assert!(bench.until(applied(1)).await.conditions.is_empty());
    bench.assigned.send_replace(Assigned::Value(b"\xff\xfe".as_slice().into()));
    let report = bench.until(|r| !r.conditions.is_empty()).await;
    assert_eq!((report.phase, report.conditions[0].r#type.as_str()), (NodePhase::Ready, CONFIG_READABLE));
    bench.end().await.end().await;
}

#[tokio::test]
async fn only_a_deletion_closes_the_listeners() {
    let mut bench = Bench::start();
    bench.assigned.send_replace(Assigned::Absent);
    bench.until(|r| r.phase == NodePhase::NoPool).await;
    bench.assign(&stable(1, 0));
    let address: SocketAddr = bench.until(applied(1)).await.listeners[0].address.parse().unwrap();
    bench.assigned.send_replace(Assigned::Absent);
    let report = bench.until(|r| !r.conditions.is_empty()).await;
    assert_eq!((report.phase, report.conditions[0].r#type.as_str()), (NodePhase::Ready, ASSIGNED));
    assert!(TcpStream::connect(address).is_ok(), "missing is not deleted");
    bench.assigned.send_replace(Assigned::Deleted);
    let report = bench.until(|r| r.phase == NodePhase::NoPool).await;
    assert_eq!((report.applied, report.listeners.len(), report.conditions.len()), (None, 0, 0));
    assert!(TcpStream::connect(address).is_err());
    bench.end().await.end().await;
}

#[tokio::test]
async fn a_start_without_etcd_serves_what_was_good() {
    let scratch = Scratch::new();
    let dir = Arc::new(StateDir::open(&scratch.0, owner("node-1")).unwrap());
    let saved = || Some(SavedConfig::new(Arc::clone(&dir)));
    let (mut before, _) = applier(saved());
    before.take(value(&stable(1, 0))).await;
    before.keep().await;
    before.end().await;

    let (mut after, report) = applier(saved());
    after.fall_back().await;
    assert!(applied(1)(&report.borrow()) && report.borrow().phase == NodePhase::Ready);
    after.take(Assigned::Absent).await;
    assert_eq!(report.borrow().phase, NodePhase::Ready, "a wiped etcd deletes nothing");

    after.take(Assigned::Deleted).await;
    after.look(&watch::channel(Link::Joining).1).await;
    let (mut late, report) = applier(saved());
    late.fall_back().await;
    assert_eq!(report.borrow().phase, NodePhase::Starting, "a deleted pool's config is forgotten");
    late.end().await;
    after.end().await;
}

#[tokio::test]
async fn a_start_that_finds_no_readable_assignment_serves_what_was_good() {
    let scratch = Scratch::new();
    let dir = Arc::new(StateDir::open(&scratch.0, owner("node-1")).unwrap());
    let saved = || Some(SavedConfig::new(Arc::clone(&dir)));
    let (mut before, _) = applier(saved());
    before.take(value(&stable(1, 0))).await;
    before.keep().await;
    before.end().await;

    for (nothing, condition) in
        [(Assigned::Absent, ASSIGNED), (Assigned::Value(b"{".as_slice().into()), CONFIG_READABLE)]
    {
        let (mut after, report) = applier(saved());
        after.take(nothing).await;
        let told = report.borrow().clone();
        assert!(applied(1)(&told) && told.phase == NodePhase::Ready, "{told:?}");
        assert_eq!(told.conditions[0].r#type, condition);
        after.take(value(&stable(2, 0))).await;
        assert!(applied(2)(&report.borrow()) && report.borrow().conditions.is_empty());
        after.end().await;
    }

    let (mut withheld, report) = applier(saved());
    withheld.take(Assigned::Withheld).await;
    assert_eq!(withheld.fallback.as_ref().unwrap().use_at, None, "another process serves at these addresses");
    assert_eq!(report.borrow().phase, NodePhase::Starting);
    withheld.end().await;
}
