//! A node that leaves, as a whole.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use clap::Parser as _;
use echo_proto::telemetry::{self, Identity, Logs};

use echo_proto::v1::{self, IntentKind};
use tokio::sync::watch;

use super::*;
use crate::agent::state_dir::tests::Scratch;
use crate::app::build;
use crate::pool_file;
use crate::settings::{Args, Settings};

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(10);
const POOL: &str = "
apiVersion: echo/v1
kind: Pool
metadata: {name: edge}
spec: {template: {listeners: [{name: a, protocol: TCP, port: 0, service: {echo: {}}}]}}
";

/// The command line of a node that needs nobody.
fn settings(dir: &Path) -> Settings {
    std::fs::create_dir_all(dir).unwrap();
    let file = dir.join("pool.yaml");
    std::fs::write(&file, POOL).unwrap();
    let args = ["echo-node", "--address=127.0.0.1", "--grpc=127.0.0.1:0", "--http=127.0.0.1:0", "--shards=1"];
    let args = args.into_iter().map(str::to_owned).chain([format!("--config={}", file.display())]);
    Settings::read(Args::try_parse_from(args).unwrap(), "host".into()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_hide_that_a_part_of_the_node_has_ended() {
    let scratch = Scratch::new();
    let settings = settings(&scratch.0);
    let identity =
        Identity { service: "echo-node", cluster: "test".into(), instance: "n".into(), attributes: Vec::new() };
    let telemetry = telemetry::start(identity, Logs::Off).unwrap();
    let file = pool_file::of(&settings.source).unwrap();
    let mut app = build(settings, file, telemetry.metrics()).await.unwrap();
    let (retire, intents) = watch::channel(None);
    app.inbox.intents = intents;
    let (fuse, blown) = oneshot::channel::<()>();
    app.critical.spawn("fuse", async move {
        let _ = blown.await;
        Err("blown")
    });
    let mut report = app.health.1.report.clone();
    let address: SocketAddr = report.borrow().listeners[0].address.parse().unwrap();
    let mut open = TcpStream::connect(address).unwrap();
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    let running = tokio::spawn(app.run());

    retire.send_replace(Some(v1::Intent { kind: IntentKind::Retire.into(), ..Default::default() }));
    let draining = report.wait_for(|report| report.phase == v1::NodePhase::Draining && report.listeners.is_empty());
    timeout(PATIENCE, draining).await.unwrap().unwrap();
    assert!(report.borrow().drain.as_ref().unwrap().exits);
    assert!(!running.is_finished(), "an open connection holds it");
    drop(fuse);
    let ended = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().to_string(), "fuse ended: blown");
}

#[test]
fn only_a_second_signal_ends_a_node_at_once_and_a_lost_id_stays_the_reason() {
    let mut told = Told::default();
    assert!(told.signal("SIGTERM").is_none());
    assert!(matches!(told.signal("SIGTERM"), Some(RunError::Forced("SIGTERM"))));

    let holder = HeldByOther { id: "p/n".into(), address: "a:1".into(), since: "then".into() };
    let mut told = Told { held: Some(holder), ..Told::default() };
    assert!(told.signal("SIGTERM").is_none(), "the loss of the id is no signal");
    assert!(matches!(told.signal("SIGTERM"), Some(RunError::Held(_))));
}
