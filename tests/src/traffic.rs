//! Traffic towards nodes with every byte checked, and a log of every echo that failed or was late.
//!
//! Used by the tests that kill, stop and cut: what the log holds must be explained by what they did
//! ([`Report::unexplained`]). It never retries an echo, and never forgives one.

mod faults;
mod tcp;
mod udp;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use echo_probe::pattern;
use serde_json::Value;

use crate::cluster::{bound, name};
use crate::lab::Party;

pub use faults::Faults;

/// Between two echoes of a flow.
const INTERVAL: Duration = Duration::from_millis(20);
/// An answer after so long is late: a thousand round trips, and more than a busy machine's scheduler takes.
pub const LATE: Duration = Duration::from_secs(2);
/// An answer after so long does not count any more; longer than any process is stopped in a test.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest message.
const MAX_SIZE: usize = 4096;
/// Most failures of a flow; a test with more fails.
const MAX_LOSSES: usize = 30_000;

/// A node that is sent to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub node: String,
    /// Its TCP echo.
    pub tcp: SocketAddr,
    /// Its UDP echo.
    pub udp: SocketAddr,
}

impl Target {
    /// The nodes of a list, with the listeners of [`crate::cluster::pool_on`].
    pub fn all(nodes: &[Value]) -> Vec<Self> {
        nodes.iter().map(|n| Self { node: name(n), tcp: bound(n, "echo-tcp"), udp: bound(n, "echo-udp") }).collect()
    }
}

/// Running traffic.
#[derive(Debug)]
pub struct Traffic {
    flows: Vec<JoinHandle<Flow>>,
    // Its end is the flows' signal to stop.
    stop: Vec<mpsc::Sender<()>>,
    so_far: Arc<Mutex<Vec<Loss>>>,
    echoes: Arc<AtomicU64>,
}

/// An echo that failed or was late.
#[derive(Debug, Clone)]
pub struct Loss {
    /// Towards this node.
    pub node: String,
    /// `tcp`, `tcp connect` or `udp`.
    pub kind: &'static str,
    /// When it was sent.
    pub sent: Instant,
    /// When it had failed, or the late answer came.
    pub known: Instant,
    /// What went wrong.
    pub cause: String,
    /// An answer that is not what was sent, or came twice: no fault explains that.
    pub wrong: bool,
}

/// What became of the traffic.
#[derive(Debug)]
pub struct Report {
    /// Echoes that came back right, late ones included.
    pub echoes: u64,
    /// The others, and the late ones.
    pub losses: Vec<Loss>,
}

impl Traffic {
    /// Sends over three flows to each target: one TCP connection that lives on, one a message, and UDP. From `party`,
    /// or from where the test is.
    pub fn start(party: Option<&Party>, targets: &[Target]) -> Self {
        let (so_far, echoes) = (Arc::default(), Arc::default());
        let mut traffic = Self { flows: Vec::new(), stop: Vec::new(), so_far, echoes };
        for target in targets {
            traffic.flow(party, &target.node, "tcp", target.tcp, tcp::keep);
            traffic.flow(party, &target.node, "tcp connect", target.tcp, tcp::connect);
            traffic.flow(party, &target.node, "udp", target.udp, udp::run);
        }
        traffic
    }

    fn flow(&mut self, party: Option<&Party>, node: &str, kind: &'static str, to: SocketAddr, run: fn(&mut Flow)) {
        let (sender, stop) = mpsc::channel();
        let (losses, echoes) = (Arc::clone(&self.so_far), Arc::clone(&self.echoes));
        let number = self.flows.len() as u64;
        let (node, lost) = (node.to_owned(), 0);
        let mut flow = Flow { node, kind, to, number, next: 0, stop, losses, echoes, lost };
        let party = party.map(Party::share);
        self.stop.push(sender);
        self.flows.push(std::thread::spawn(move || {
            if let Some(party) = party {
                party.enter();
            }
            run(&mut flow);
            flow
        }));
    }

    /// Echoes so far.
    pub fn echoes(&self) -> u64 {
        self.echoes.load(Ordering::Relaxed)
    }

    /// What failed so far.
    pub fn losses(&self) -> Vec<Loss> {
        self.so_far.lock().expect("no flow panics").clone()
    }

    /// Stops sending, waits for the last answers, and tells.
    pub fn stop(mut self) -> Report {
        self.stop.clear();
        for flow in self.flows.drain(..) {
            let flow = flow.join().expect("no flow panics");
            assert!(flow.lost <= MAX_LOSSES, "{} {}: more failures than can be kept", flow.node, flow.kind);
        }
        Report { echoes: self.echoes(), losses: self.losses() }
    }
}

impl Report {
    /// That there was traffic, and all of it came back in time.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.echoes > 0, "no echo at all");
        assert!(self.losses.is_empty(), "{} echoes failed, first {:?}", self.losses.len(), self.losses.first());
    }

    /// The failures that no fault of the log explains.
    pub fn unexplained<'a>(&'a self, faults: &Faults) -> Vec<&'a Loss> {
        self.losses.iter().filter(|loss| !faults.explain(loss)).collect()
    }
}

/// One flow's side of the log.
#[derive(Debug)]
struct Flow {
    node: String,
    kind: &'static str,
    to: SocketAddr,
    /// Of the flow: part of every payload.
    number: u64,
    /// Of the next message.
    next: u64,
    stop: mpsc::Receiver<()>,
    losses: Arc<Mutex<Vec<Loss>>>,
    echoes: Arc<AtomicU64>,
    /// Echoes that failed or were late.
    lost: usize,
}

impl Flow {
    /// Waits until the next echo is due; false: stop.
    fn pause(&self) -> bool {
        self.stop.recv_timeout(INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout)
    }

    fn stopped(&self) -> bool {
        self.stop.try_recv() == Err(mpsc::TryRecvError::Disconnected)
    }

    /// The next message, and its number; their sizes go through all there are.
    fn message(&mut self, shortest: usize, longest: usize) -> (u64, Vec<u8>) {
        let number = self.next;
        self.next += 1;
        (number, self.expected(number, shortest, longest))
    }

    fn expected(&self, number: u64, shortest: usize, longest: usize) -> Vec<u8> {
        let sizes = longest - shortest + 1;
        // A prime step, so that short and long ones alternate.
        let size = shortest + usize::try_from(number % sizes as u64).unwrap_or(0) * 1009 % sizes;
        let mut message = vec![0; size];
        pattern::fill(&mut message, self.number, number);
        message
    }

    fn echoed(&mut self, sent: Instant) {
        self.echoes.fetch_add(1, Ordering::Relaxed);
        if sent.elapsed() > LATE {
            self.lost(sent, Instant::now(), format!("answered after {:?}", sent.elapsed()), false);
        }
    }

    fn failed(&mut self, sent: Instant, error: &std::io::Error) {
        let wrong = error.kind() == std::io::ErrorKind::InvalidData;
        self.lost(sent, Instant::now(), error.to_string(), wrong);
    }

    fn lost(&mut self, sent: Instant, known: Instant, cause: String, wrong: bool) {
        self.lost += 1;
        if self.lost <= MAX_LOSSES {
            let loss = Loss { node: self.node.clone(), kind: self.kind, sent, known, cause, wrong };
            self.losses.lock().expect("no flow panics").push(loss);
        }
    }
}
