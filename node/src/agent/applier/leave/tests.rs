//! Wishes in, sockets closed and opened, with real connections.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::super::tests::{Bench, PATIENCE, applied, revision, stable, taken};
use super::*;

fn intent(kind: IntentKind) -> Option<v1::Intent> {
    Some(v1::Intent { kind: kind.into(), author: "ann".into(), ..Default::default() })
}

/// A node that serves on a port that it finds again, and where.
async fn serving() -> (Bench, SocketAddr) {
    let mut bench = Bench::start();
    let (holder, port) = taken();
    drop(holder);
    bench.assign(&stable(1, port));
    let address = bench.until(applied(1)).await.listeners[0].address.parse().unwrap();
    (bench, address)
}

fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 2];
    stream.write_all(b"hi").is_ok() && stream.read_exact(&mut back).is_ok() && &back == b"hi"
}

/// A connection that is known to be served.
fn connected(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(echoes(&mut stream));
    stream
}

fn closing(report: &Report) -> bool {
    report.drain.as_ref().is_some_and(|drain| drain.stage() == DrainStage::Closing)
}

#[tokio::test]
async fn a_drain_waits_for_connections_and_stays_until_it_is_taken_back() {
    let (mut bench, address) = serving().await;
    let mut open = connected(address);
    bench.intents.send_replace(intent(IntentKind::Drain));
    let report = bench.until(closing).await;
    assert_eq!((report.phase, report.listeners.len()), (NodePhase::Draining, 0));
    assert_eq!(report.not_ready().as_deref(), Some("draining: drained by ann"));
    assert!(report.applied.is_some(), "it still serves whom it has");
    assert!(TcpStream::connect(address).is_err());
    assert!(echoes(&mut open));

    drop(open);
    let report = bench.until(|r| r.phase == NodePhase::Drained).await;
    let drain = report.drain.unwrap();
    assert_eq!((drain.stage(), drain.exits, drain.cut_connections), (DrainStage::Drained, false, 0));
    assert_eq!(report.applied, None);

    bench.intents.send_replace(None);
    let report = bench.until(applied(1)).await;
    assert_eq!((report.phase, report.drain), (NodePhase::Ready, None));
    connected(address);
}

#[tokio::test]
async fn a_drain_that_is_taken_back_halfway_cuts_nobody() {
    let (mut bench, address) = serving().await;
    let mut open = connected(address);
    bench.intents.send_replace(intent(IntentKind::Drain));
    bench.until(closing).await;
    bench.intents.send_replace(None);
    bench.until(|r| r.phase == NodePhase::Ready).await;
    connected(address);
    assert!(echoes(&mut open));
}

#[tokio::test]
async fn who_lost_its_port_while_it_drained_says_that_it_serves_nothing() {
    let (mut bench, address) = serving().await;
    let mut open = connected(address);
    bench.intents.send_replace(intent(IntentKind::Drain));
    bench.until(closing).await;
    let holder = TcpListener::bind(address).unwrap();
    bench.intents.send_replace(None);
    let report = bench.until(|r| r.rejection.is_some()).await;
    assert_eq!((report.phase, report.applied), (NodePhase::Rejected, None));
    assert!(echoes(&mut open), "nobody is cut for that");
    drop(holder);
    assert_eq!(bench.until(applied(1)).await.phase, NodePhase::Ready);
}

#[tokio::test]
async fn force_cuts_what_is_open_and_counts_it() {
    let (mut bench, address) = serving().await;
    let mut open = connected(address);
    bench.intents.send_replace(intent(IntentKind::Drain));
    bench.until(closing).await;
    bench.intents.send_replace(intent(IntentKind::Drain).map(|drain| v1::Intent { force: true, ..drain }));
    let report = bench.until(|r| r.phase == NodePhase::Drained).await;
    assert_eq!(report.drain.unwrap().cut_connections, 1);
    assert!(!echoes(&mut open));
}

#[tokio::test]
async fn who_is_drained_from_the_start_never_serves_and_takes_the_newest_config_afterwards() {
    let mut bench = Bench::start();
    bench.intents.send_replace(intent(IntentKind::Drain));
    bench.assign(&stable(1, 0));
    bench.until(|r| r.phase == NodePhase::Drained).await;
    let wrong = v1::AssignedRevision { digest: "another".into(), ..revision(2, 0) };
    bench.assign(&v1::Assignment { stable: Some(wrong), ..stable(2, 0) });
    let report = bench.until(|r| r.rejection.is_some()).await;
    assert_eq!((report.phase, report.applied), (NodePhase::Drained, None), "what is wrong with a config is told");
    bench.assign(&stable(3, 0));
    bench.intents.send_replace(None);
    let report = bench.until(applied(3)).await;
    assert_eq!((report.phase, report.rejection), (NodePhase::Ready, None));
}

#[tokio::test]
async fn a_cordoned_node_serves_on_and_is_not_ready() {
    let (mut bench, address) = serving().await;
    let trace = Some(v1::TraceContext { traceparent: "00-1".into(), ..Default::default() });
    bench.intents.send_replace(intent(IntentKind::Cordon).map(|i| v1::Intent { trace: trace.clone(), ..i }));
    let report = bench.until(|r| r.not_ready().is_some()).await;
    assert_eq!((report.phase, report.cordoned_by.as_str()), (NodePhase::Ready, "ann"));
    assert_eq!(report.trace, trace, "the record answers the operator's change");
    connected(address);
    bench.intents.send_replace(intent(IntentKind::Drain));
    assert_eq!(bench.until(|r| r.phase == NodePhase::Drained).await.cordoned_by, "");
    bench.intents.send_replace(None);
    assert_eq!(bench.until(applied(1)).await.not_ready(), None);
}

#[tokio::test]
async fn an_intent_for_another_life_is_none() {
    let (mut bench, _) = serving().await;
    let other = |kind| intent(kind).map(|i| v1::Intent { incarnation: "0123456789abcdef".into(), ..i });
    bench.intents.send_replace(other(IntentKind::Retire));
    bench.assign(&stable(2, 0));
    let report = bench.until(applied(2)).await;
    assert_eq!((report.phase, report.drain), (NodePhase::Ready, None));
}

#[tokio::test]
async fn a_signal_ends_a_node_that_an_operator_drained() {
    let (mut bench, address) = serving().await;
    let open = connected(address);
    bench.intents.send_replace(intent(IntentKind::Drain));
    bench.until(closing).await;
    bench.leave.send_replace(Some(Wish::exit("SIGTERM")));
    bench.until(|r| r.drain.as_ref().is_some_and(|drain| drain.exits)).await;
    bench.intents.send_replace(None);
    drop(open);
    bench.left().await.end().await;
}

#[tokio::test]
async fn a_retired_node_leaves_with_or_without_a_config() {
    let (bench, _) = serving().await;
    for bench in [bench, Bench::start()] {
        bench.intents.send_replace(intent(IntentKind::Retire));
        let report = bench.report.clone();
        bench.left().await.end().await;
        let drain = report.borrow().drain.clone().unwrap();
        assert_eq!((drain.reason.as_str(), drain.exits), ("retired by ann", true));
    }
}

#[tokio::test]
async fn a_deleted_pools_connections_are_waited_for_and_its_return_reopens() {
    let (mut bench, address) = serving().await;
    let mut open = connected(address);
    let assigned = bench.assigned.borrow().clone();
    bench.assigned.send_replace(crate::agent::watch::Assigned::Deleted);
    let report = bench.until(closing).await;
    assert_eq!((report.phase, report.drain.unwrap().reason.as_str()), (NodePhase::Draining, "the pool was deleted"));
    bench.assigned.send_replace(assigned);
    bench.until(|r| r.phase == NodePhase::Ready).await;
    connected(address);
    assert!(echoes(&mut open));
    bench.assigned.send_replace(crate::agent::watch::Assigned::Deleted);
    drop(open);
    let report = bench.until(|r| r.phase == NodePhase::NoPool).await;
    assert_eq!((report.applied, report.drain), (None, None));
}

#[test]
fn what_was_cut_is_told_before_the_process_ends_and_nobody_where_nobody_listens() {
    let says = |drain: &Drain| Link::Registered(Box::new(Report { drain: drain.status(), ..Report::starting() }));
    let begin = |wish| Drain::begin(wish, Default::default(), Instant::now());
    let mut leaving = begin(Wish::exit("SIGTERM"));
    assert!(!told(&Link::Registered(Box::new(Report::starting())), &leaving));
    let stays = begin(Wish { after: After::Wait, ..Wish::exit("drained by ann") });
    assert!(told(&says(&stays), &stays) && !told(&says(&stays), &leaving));
    let before = says(&leaving);
    assert!(told(&before, &leaving));
    leaving.drained(3, Instant::now());
    assert!(!told(&before, &leaving) && told(&says(&leaving), &leaving));
    assert!(told(&Link::Joining, &leaving));
}

#[tokio::test]
async fn an_operator_hurries_a_node_that_a_signal_drains() {
    let (mut bench, address) = serving().await;
    let mut open = connected(address);
    bench.leave.send_replace(Some(Wish::exit("SIGTERM")));
    bench.until(closing).await;
    bench.intents.send_replace(intent(IntentKind::Drain).map(|drain| v1::Intent { force: true, ..drain }));
    let report = bench.report.clone();
    bench.left().await.end().await;
    assert!(!echoes(&mut open));
    let drain = report.borrow().drain.clone().unwrap();
    assert_eq!((drain.reason.as_str(), drain.exits, drain.cut_connections), ("SIGTERM", true, 1));
}
