//! The prober: single probes at a steady pace, each followed until it is answered or its time is over, and what that
//! tells of the path.
//!
//! Used by `echoctl probe`. It must never report its own doing as the network's: what it did not send, sent late or had
//! no room for is counted apart, and so is what a node says that it dropped.
//!
//! | module | idea |
//! |---|---|
//! | `settings` | what can be asked for |
//! | `schedule` | when each probe is due |
//! | `message` | what a probe is made of, and what is an answer to it |
//! | `book` | which are out, what came back, and what that means; `path`: lost where |
//! | `udp`, `tcp` | the sockets, with `kernel`'s times and errors |
//! | `event`, `report` | what is told, at once and at the end |
//! | `running` | the loop that sends, takes notes and looks whose time is over |

mod book;
mod event;
mod kernel;
mod message;
mod path;
mod report;
mod running;
mod schedule;
mod settings;
mod system;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use echo_proto::stamp::{Name, Seen};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::Transport;
use book::{Book, Receipt};
use message::Form;
use running::Prober;

pub use event::{Event, Outcome, Reply};
pub use message::MIN_BYTES;
pub use path::Loss;
pub use report::{Answerer, Directions, OneWay, Report, Spread, Times};
pub use settings::{MAX_DATAGRAM, MAX_FLOWS, MAX_JITTER, MIN_INTERVAL, Settings, Unfit};

/// What sockets may tell before it is taken.
const NOTES: usize = 1_024;

/// What a flow's socket tells.
#[derive(Debug)]
enum Note {
    /// A connection was made, in this time.
    Connected(Duration),
    /// A connection took this probe.
    Started { sequence: u64, at: Instant, wall: u64 },
    /// The kernel sent this probe then.
    Left { sequence: u64, at: u64 },
    /// An answer.
    Answer { receipt: Receipt, at: Instant },
    /// What is no answer.
    Wrong,
    /// A probe can't be answered; which, where that is known.
    Refused { sequence: Option<u64>, cause: String },
    /// Nor any of those that the connection took.
    Broken { cause: String },
}

/// A flow's notes go here, with its index.
type Notes = mpsc::Sender<(usize, Note)>;

/// One flow's socket.
#[derive(Debug)]
enum Line {
    Udp(udp::Line),
    Tcp(tcp::Line),
}

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    session: u64,
    book: Book,
}

impl Run {
    /// The session of its stamps.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// What it came to.
    pub fn report(&self) -> Report {
        self.book.report()
    }

    /// Takes what the node of a flow told of it after the end. `whole`: it remembers all since before the first probe.
    pub fn learn(&mut self, flow: usize, node: &str, seen: Seen, whole: bool) {
        // As its stamps have it.
        self.book.learn(flow, Name::new(node).as_str(), seen, whole);
    }
}

/// The address of each flow of a run: all addresses in turn, then each again from its next source port.
pub fn flows(addresses: &[SocketAddr], source_ports: usize) -> Vec<SocketAddr> {
    addresses.iter().copied().cycle().take(addresses.len() * source_ports).collect()
}

/// Probes each of the addresses in turn, until as many as wanted had their time. At a first `stop` no more are sent, and
/// at a second one those that are out are waited for no longer.
///
/// # Errors
/// The settings make no sense, or the sockets can't be made.
pub async fn run(
    settings: &Settings,
    addresses: &[SocketAddr],
    mut stop: mpsc::Receiver<()>,
    mut tell: impl FnMut(Event),
) -> Result<Run, Unfit> {
    let flows = flows(addresses, settings.source_ports);
    let mistakes = settings.mistakes(flows.len());
    if !mistakes.is_empty() {
        return Err(Unfit::Settings(mistakes));
    }
    let form = Form { session: fastrand::u64(..), size: settings.size, stamped: settings.stamped };
    let (sender, mut notes) = mpsc::channel(NOTES);
    let mut tasks = JoinSet::new();
    let mut lines = Vec::with_capacity(flows.len());
    for (index, address) in flows.iter().enumerate() {
        lines.push(match settings.transport {
            Transport::Udp => Line::Udp(udp::Line::open(index, *address, form, settings, sender.clone(), &mut tasks)?),
            Transport::Tcp => Line::Tcp(tcp::Line::open(index, *address, form, settings, sender.clone(), &mut tasks)),
        });
    }
    if settings.transport == Transport::Udp {
        kernel::warm().await;
    }
    let prober = Prober::new(settings, form, flows, lines);
    Ok(Run { session: form.session, book: prober.run(&mut notes, &mut stop, &mut tell).await })
}

/// Unix nanoseconds.
fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
