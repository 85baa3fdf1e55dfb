//! A run while it goes on: it sends each probe when it is due, takes what the sockets tell, and looks whose time is over.
//!
//! Used by [`super::run`]. However much comes in, it sends and ends in time; and it calls nothing silent of which the
//! answer may be here.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::book::{Book, Receipt};
use super::event::{Event, Outcome};
use super::message::Form;
use super::schedule::Schedule;
use super::settings::Settings;
use super::{Line, NOTES, Note, system, wall_clock};

/// A probe that is sent so much and an interval late was held up by ourselves.
const BEHIND: Duration = Duration::from_millis(10);
/// Longest that a reader is waited for, which may have the answer to a probe whose time is over.
const PATIENCE: Duration = Duration::from_millis(100);
/// Between two looks whether it has told.
const AGAIN: Duration = Duration::from_millis(1);

type Told = mpsc::Receiver<(usize, Note)>;

/// A run that goes on.
pub(super) struct Prober<'a> {
    settings: &'a Settings,
    form: Form,
    start: Instant,
    book: Book,
    schedule: Schedule,
    /// Probes so far.
    number: u64,
    stopped: bool,
    /// A reader is waited for since the first of these, until the second one.
    waits: Option<(Instant, Instant)>,
    flows: Vec<SocketAddr>,
    lines: Vec<Line>,
    message: Vec<u8>,
}

impl<'a> Prober<'a> {
    /// One that begins now, with a line for each of the flows.
    pub(super) fn new(settings: &'a Settings, form: Form, flows: Vec<SocketAddr>, lines: Vec<Line>) -> Self {
        Self {
            settings,
            form,
            start: Instant::now(),
            book: Book::new(flows.iter().copied(), settings.timeout, !settings.reconnect),
            schedule: Schedule::new(settings.interval, settings.jitter, fastrand::u64(..)),
            number: 0,
            stopped: false,
            waits: None,
            flows,
            lines,
            message: Vec::new(),
        }
    }

    /// Goes on to the end.
    pub(super) async fn run(
        mut self,
        notes: &mut Told,
        stop: &mut mpsc::Receiver<()>,
        tell: &mut impl FnMut(Event),
    ) -> Book {
        let mut due = self.next_due();
        loop {
            let end = self.book.next_end().map(|(end, _)| self.start + end);
            if due.is_none() && end.is_none() {
                break;
            }
            let look = end.map(|end| self.waits.map_or(end, |(_, until)| until));
            tokio::select! {
                // What is due by the clock comes first: notes may come without an end.
                biased;
                Some(()) = stop.recv() => {
                    if self.stopped {
                        break;
                    }
                    (self.stopped, due) = (true, None);
                }
                () = at(due) => {
                    self.send(due, tell);
                    due = self.next_due();
                }
                () = at(look) => self.expire(notes, tell),
                Some((flow, note)) = notes.recv() => self.take(flow, note, tell),
            }
        }
        for (flow, line) in self.lines.iter().enumerate() {
            if let Line::Udp(line) = line {
                self.book.overflow(flow, line.overflow());
            }
        }
        self.book
    }

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
        let sequence = self.book.next(flow);
        let sent = match self.lines.get(flow) {
            Some(Line::Udp(line)) => {
                let wall = wall_clock();
                self.form.write(line.flow(), sequence, wall, &mut self.message);
                line.send(&self.message, sequence).map(|()| Some(wall))
            }
            Some(Line::Tcp(line)) => line.send(sequence, now).map(|()| None),
            None => return,
        };
        match sent {
            Ok(wall) => self.book.sent(flow, self.number, now - self.start, wall),
            Err(cause) => {
                self.book.unsent();
                tell(self.event(flow, Some(self.number), Outcome::Unsent(cause)));
            }
        }
    }

    /// Tells whose time is over, once all is known that had come by then: after a while in which we were held up, the
    /// answers may be here.
    fn expire(&mut self, notes: &mut Told, tell: &mut impl FnMut(Event)) {
        while let Some((end, flow)) = self.book.next_end() {
            let now = Instant::now();
            if self.start + end > now {
                break;
            }
            let unread = self.has_unread(flow);
            // No more than there is room for at the same time: they may come without an end.
            for (flow, note) in std::iter::from_fn(|| notes.try_recv().ok()).take(NOTES) {
                self.take(flow, note, tell);
            }
            let since = self.waits.map_or(now, |(since, _)| since);
            if unread && now < since + PATIENCE {
                self.waits = Some((since, now + AGAIN));
                return;
            }
            if let Some((flow, number, outcome)) = self.book.expire(now - self.start) {
                tell(self.event(flow, Some(number), outcome));
            }
        }
        self.waits = None;
    }

    /// Whether the flow's socket may hold an answer. The answers of a connection have no time but the one at which they
    /// are read.
    fn has_unread(&self, flow: usize) -> bool {
        matches!(self.lines.get(flow), Some(Line::Udp(line)) if line.has_unread())
    }

    fn take(&mut self, flow: usize, note: Note, tell: &mut impl FnMut(Event)) {
        let since = |at: Instant| at - self.start;
        match note {
            Note::Connected(time) => self.book.connected(time),
            Note::Started { sequence, at, wall } => self.book.started(flow, sequence, since(at), wall),
            Note::Left { sequence, at } => self.book.left(flow, sequence, at),
            Note::Answer { receipt, at } => {
                // Each time: the estimate grows, and the daemon that keeps the clock may end.
                let clock_error = self.settings.clock_error.or_else(system::clock_error);
                let (number, outcome) = self.book.answered(flow, &Receipt { at: since(at), clock_error, ..receipt });
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
                for number in self.book.broken(flow) {
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

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
