//! One agent of the swarm: all that a node's process has but the data path, wired as in its own start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Parser as _;
use echo_node::agent::applier::{Applier, Own};
use echo_node::agent::endpoints::Endpoints;
use echo_node::agent::etcd::Etcd;
use echo_node::agent::identity::Identity;
use echo_node::agent::link::Link;
use echo_node::agent::report::Report;
use echo_node::agent::service::{AgentService, DataPath};
use echo_node::agent::session::Session;
use echo_node::agent::wires::Wires;
use echo_node::drain::Wish;
use echo_node::settings::{Args, Settings, Source};
use echo_proto::v1::agent_server::AgentServer;
use opentelemetry::metrics::Counter;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::null::NullPath;

/// A name of a condition that no node has.
const STIRRED: &str = "Stirred";

/// What all agents share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) etcd: Etcd,
    pub(super) data: DataPath,
    /// Of their registrations.
    pub(super) ttl: Duration,
    /// Counts those that ran out.
    pub(super) expired: Counter<u64>,
}

/// One agent, which runs on the runtime that started it.
pub(super) struct Agent {
    refused: Arc<AtomicU32>,
    report: watch::Sender<Report>,
    link: watch::Receiver<Link>,
    tasks: [AbortHandle; 2],
    /// Ends its service, with the connections to it.
    gone: Arc<Notify>,
    // Dropped, they would tell the agent to end.
    _leave: watch::Sender<Option<Wish>>,
    _farewell: oneshot::Sender<echo_node::agent::session::Farewell>,
}

impl Agent {
    /// Starts an agent of this name and zone.
    ///
    /// # Panics
    /// When no socket is left.
    pub(super) async fn start(id: &str, zone: &str, shared: Shared) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket is left");
        let address = listener.local_addr().expect("a bound socket has an address");
        let settings = settings(id, zone, shared.ttl);
        let identity = Arc::new(Identity::new(&settings, address, SocketAddr::from(([127, 0, 0, 1], 0))));
        let Wires { cells, inbox, report, leave } = Wires::new();
        let link = inbox.link.clone();
        let (farewell, farewells) = oneshot::channel();

        let service = AgentService::new(Arc::clone(&identity), cells.report.clone(), link.clone(), shared.data);
        let server = Server::builder().add_service(AgentServer::new(service));
        let gone = Arc::<Notify>::default();
        let ended = Arc::clone(&gone).notified_owned();
        tokio::spawn(server.serve_with_incoming_shutdown(TcpIncoming::from(listener), ended));

        let refused = Arc::<AtomicU32>::default();
        let path = NullPath::new(Arc::clone(&refused));
        let applier = Applier::new(path, Own::of(&settings, &identity), report.clone(), None);
        let applied = tokio::spawn(applier.run(inbox));

        let Source::Etcd { reread, .. } = settings.source else { panic!("it has no file") };
        let endpoints = Endpoints::shared(shared.etcd);
        let session = Session::new(identity, endpoints, shared.ttl, reread, None, cells, shared.expired);
        let joined = tokio::spawn(session.run(farewells));
        let tasks = [applied.abort_handle(), joined.abort_handle()];
        Self { refused, report, link, tasks, gone, _leave: leave, _farewell: farewell }
    }

    /// Ends it without a word, as a crash of its process would: its lease runs out.
    pub(super) fn crash(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.gone.notify_one();
    }

    /// Refuses the revision of this number from now on.
    pub(super) fn refuse(&self, n: u32) {
        self.refused.store(n, Ordering::Relaxed);
    }

    /// Has something new to say, whatever it is.
    pub(super) fn stir(&self, what: String) {
        self.report.send_modify(|report| {
            report.clear(&[STIRRED]);
            report.warn(STIRRED, "Bench", what);
        });
    }

    /// Whether its record is there, and says what is true now.
    pub(super) fn has_told(&self) -> bool {
        matches!(&*self.link.borrow(), Link::Registered(told) if **told == *self.report.borrow())
    }

    /// Waits until it has a record, for so long at most.
    pub(super) async fn joined(&self, limit: Duration) {
        let mut link = self.link.clone();
        let joined = link.wait_for(|link| matches!(link, Link::Registered(_)));
        // Why it has none is told at the end.
        let _ = tokio::time::timeout(limit, joined).await;
    }

    /// Why it has no record, where it knows.
    pub(super) fn trouble(&self) -> Option<String> {
        match &*self.link.borrow() {
            Link::Lost { cause, .. } => Some(cause.clone()),
            Link::Joining | Link::Registered(_) => None,
        }
    }

    /// The number of the revision that its record tells it serves.
    pub(super) fn told_revision(&self) -> Option<u32> {
        match &*self.link.borrow() {
            Link::Registered(told) => told.applied.as_ref().map(|applied| applied.n),
            Link::Joining | Link::Lost { .. } => None,
        }
    }
}

fn settings(id: &str, zone: &str, ttl: Duration) -> Settings {
    let ttl = format!("{}s", ttl.as_secs());
    let args = Args::try_parse_from(["echo-node", "--id", id, "--zone", zone, "--lease-ttl", &ttl]);
    Settings::read(args.expect("these are flags"), "swarm".to_owned()).expect("these are settings")
}
