//! A TCP proxy in front of etcd: answers come late, and requests can be swallowed, as on a bad path.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A running proxy; its threads end with the test.
#[derive(Debug)]
pub struct SlowPath {
    url: String,
    cut: Arc<AtomicBool>,
}

impl SlowPath {
    /// In front of `url`; every answer takes `delay` longer.
    pub fn start(url: &str, delay: Duration) -> Self {
        let target: SocketAddr = url.strip_prefix("http://").and_then(|a| a.parse().ok()).expect("etcd has an address");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let cut = Arc::new(AtomicBool::new(false));
        let requests = Arc::clone(&cut);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(target) else { continue };
                relay(client, server, delay, &requests);
            }
        });
        Self { url: format!("http://{address}"), cut }
    }

    /// Where clients find it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on no request arrives any more; answers to earlier ones still do.
    pub fn cut_requests(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

fn relay(client: TcpStream, server: TcpStream, delay: Duration, cut: &Arc<AtomicBool>) {
    let share = |stream: &TcpStream| stream.try_clone().expect("can share a socket");
    let (mut requests, mut to_server) = (share(&client), share(&server));
    let (mut answers, mut to_client) = (server, client);
    let cut = Arc::clone(cut);
    thread::spawn(move || {
        read_all(&mut requests, |bytes| cut.load(Ordering::SeqCst) || to_server.write_all(bytes).is_ok());
    });
    let (sender, late) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        read_all(&mut answers, |bytes| sender.send((Instant::now() + delay, bytes.to_vec())).is_ok());
    });
    thread::spawn(move || {
        for (due, bytes) in late {
            wait_until(due);
            if to_client.write_all(&bytes).is_err() {
                return;
            }
        }
    });
}

fn read_all(from: &mut TcpStream, mut take: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !take(&buffer[..read]) {
            return;
        }
    }
}

#[allow(clippy::disallowed_methods)] // The delay is what this proxy is for.
fn wait_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}
