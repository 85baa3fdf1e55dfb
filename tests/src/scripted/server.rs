//! The scripted etcd's socket and threads: accepts, keeps a handle of each connection to cut it, ends leases.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use super::connection::Connection;
use super::pb::kv_server::KvServer;
use super::pb::lease_server::LeaseServer;
use super::pb::maintenance_server::MaintenanceServer;
use super::pb::watch_server::WatchServer;
use super::services::Service;
use super::shared::Shared;

/// How often leases are looked at.
const EXPIRY: Duration = Duration::from_millis(50);
/// Connections that wait to be served.
const CONNECTIONS: usize = 64;

/// Serves on a free port until the runtime is dropped.
pub(super) fn start(shared: &Arc<Shared>) -> (Runtime, SocketAddr) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts");
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let (sender, connections) = mpsc::channel(CONNECTIONS);
    runtime.spawn(accept(listener, Arc::clone(shared), sender));
    runtime.spawn(expire(Arc::clone(shared)));
    let service = Service(Arc::clone(shared));
    let router = Server::builder()
        .add_service(KvServer::new(service.clone()))
        .add_service(LeaseServer::new(service.clone()))
        .add_service(MaintenanceServer::new(service.clone()))
        .add_service(WatchServer::new(service));
    runtime.spawn(router.serve_with_incoming(ReceiverStream::new(connections)));
    (runtime, address)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, sender: mpsc::Sender<std::io::Result<Connection>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let served = stream.into_std().and_then(|stream| {
            let number = shared.connected(stream.try_clone()?);
            Ok(Connection { stream: TcpStream::from_std(stream)?, number, shared: Arc::clone(&shared) })
        });
        if sender.send(served).await.is_err() {
            return;
        }
    }
}

async fn expire(shared: Arc<Shared>) {
    let mut rounds = tokio::time::interval(EXPIRY);
    loop {
        let now: Instant = rounds.tick().await.into();
        // Only what ended is told to the watches.
        if shared.look(|store| !store.leases.ended(now).is_empty()) {
            shared.change(|store| store.expire(now));
        }
    }
}
