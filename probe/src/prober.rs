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

mod book;
mod event;
mod kernel;
mod message;
mod path;
mod report;
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
use tokio::time::{Instant, sleep_until};

use crate::load::Transport;
use book::{Book, Receipt};
use message::Form;
use schedule::Schedule;

pub use event::{Event, Outcome, Reply};
pub use message::MIN_BYTES;
pub use path::Loss;
pub use report::{Answerer, Directions, OneWay, Report, Spread, Times};
pub use settings::{MAX_DATAGRAM, MAX_FLOWS, MAX_JITTER, MIN_INTERVAL, Settings, Unfit};

/// What sockets may tell before it is taken.
const NOTES: usize = 1_024;
/// A probe that is sent so much and an interval late was held up by ourselves.
const BEHIND: Duration = Duration::from_millis(10);

/// What a flow's socket tells.
#[derive(Debug)]
enum Note {
    /// A connection was made, in this time.
    Connected(Duration),
    /// A connection took this probe.
    Started { sequence: u64, at: Instant },
    /// The kernel sent this probe then.
    Left { sequence: u64, at: u64 },
    /// An answer.
    Answer { receipt: Receipt, at: Instant },
    /// What is no answer.
    Wrong,
    /// A probe can't be answered; which, where that is known.
    Refused { sequence: Option<u64>, cause: String },
    /// Nor any of those that wait.
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
    let mut prober = Prober {
        settings,
        form,
        start: Instant::now(),
        book: Book::new(flows.iter().copied(), settings.timeout, !settings.reconnect),
        schedule: Schedule::new(settings.interval, settings.jitter, fastrand::u64(..)),
        number: 0,
        stopped: false,
        flows,
        lines,
        message: Vec::new(),
    };
    prober.book.set_clock_error(settings.clock_error.or_else(system::clock_error));
    let mut due = prober.next_due();
    loop {
        let end = prober.book.next_end().map(|end| prober.start + end);
        if due.is_none() && end.is_none() {
            break;
        }
        tokio::select! {
            biased;
            Some(()) = stop.recv() => {
                if prober.stopped {
                    break;
                }
                (prober.stopped, due) = (true, None);
            }
            Some((flow, note)) = notes.recv() => prober.take(flow, note, &mut tell),
            () = at(due) => {
                prober.send(due, &mut tell);
                due = prober.next_due();
            }
            () = at(end) => prober.expire(&mut tell),
        }
    }
    for (flow, line) in prober.lines.iter().enumerate() {
        if let Line::Udp(line) = line {
            prober.book.overflow(flow, line.overflow());
        }
    }
    Ok(Run { session: form.session, book: prober.book })
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Unix nanoseconds.
fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// A run that goes on.
struct Prober<'a> {
    settings: &'a Settings,
    form: Form,
    start: Instant,
    book: Book,
    schedule: Schedule,
    /// Probes so far.
    number: u64,
    stopped: bool,
    flows: Vec<SocketAddr>,
    lines: Vec<Line>,
    message: Vec<u8>,
}

impl Prober<'_> {
    /// When the next probe is to be sent, if there is one.
    fn next_due(&mut self) -> Option<Instant> {
        let more = self.settings.count.is_none_or(|count| self.number < count);
        more.then(|| self.start + self.schedule.next())
    }

    fn send(&mut self, due: Option<Instant>, tell: &mut impl FnMut(Event)) {
        let flows = self.lines.len().max(1);
        let flow = usize::try_from(self.number % flows as u64).unwrap_or_default();
        self.number += 1;
        let now = Instant::now();
        if due.is_some_and(|due| now > due + self.settings.interval.max(BEHIND)) {
            self.book.behind();
            self.schedule.skip(now - self.start);
        }
        let (sequence, wall) = (self.book.next(flow), wall_clock());
        let sent = match self.lines.get(flow) {
            Some(Line::Udp(line)) => {
                self.form.write(line.flow(), sequence, wall, &mut self.message);
                line.send(&self.message, sequence)
            }
            Some(Line::Tcp(line)) => line.send(sequence, wall),
            None => return,
        };
        match sent {
            Ok(()) => self.book.sent(flow, self.number, now - self.start, wall),
            Err(cause) => {
                self.book.unsent();
                tell(self.event(flow, Some(self.number), Outcome::Unsent(cause)));
            }
        }
    }

    fn expire(&mut self, tell: &mut impl FnMut(Event)) {
        while let Some((flow, number)) = self.book.expire(self.start.elapsed()) {
            tell(self.event(flow, Some(number), Outcome::Silent));
        }
    }

    fn take(&mut self, flow: usize, note: Note, tell: &mut impl FnMut(Event)) {
        let since = |at: Instant| at - self.start;
        match note {
            Note::Connected(time) => self.book.connected(time),
            Note::Started { sequence, at } => self.book.started(flow, sequence, since(at)),
            Note::Left { sequence, at } => self.book.left(flow, sequence, at),
            Note::Answer { receipt, at } => {
                let (number, outcome) = self.book.answered(flow, &Receipt { at: since(at), ..receipt });
                tell(self.event(flow, number, outcome));
            }
            Note::Wrong => {
                self.book.wrong();
                tell(self.event(flow, None, Outcome::Wrong));
            }
            Note::Refused { sequence, cause } => {
                let Some(sequence) = sequence.or_else(|| self.book.oldest(flow)) else { return };
                let Some(number) = self.book.refused(flow, sequence) else { return };
                tell(self.event(flow, Some(number), Outcome::Refused(cause)));
            }
            Note::Broken { cause } => {
                while let Some(number) = self.book.oldest(flow).and_then(|oldest| self.book.refused(flow, oldest)) {
                    tell(self.event(flow, Some(number), Outcome::Refused(cause.clone())));
                }
            }
        }
    }

    fn event(&self, flow: usize, number: Option<u64>, outcome: Outcome) -> Event {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        Event { number, flow, address: self.flows.get(flow).copied().unwrap_or(nobody), outcome }
    }
}
