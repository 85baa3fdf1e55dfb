//! The book of one run: which probes are out, what came back, and what that means.
//!
//! Used by [`super::run`]. Pure: times come from the caller, as nanoseconds since 1970 (the wall clock, which the kernel
//! stamps with) and as the time since the start (which no one sets). It keeps a bounded number of probes.

mod flow;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use echo_proto::stamp::Seen;

use super::event::{Outcome, Reply};
use super::path::Order;
use super::report::{OneWay, Report};
pub(super) use flow::Receipt;
use flow::{Flow, Probe, State, Taken, reply_to};

/// Most probes of all flows that are known one by one; what comes later of older ones is no more than late.
pub(super) const KEPT: usize = 65_536;

/// The book.
#[derive(Debug)]
pub(super) struct Book {
    timeout: Duration,
    flows: Vec<Flow>,
    /// Most probes of one flow that are known.
    kept: usize,
    /// Those that wait, in the order in which their time ends.
    waiting: VecDeque<(usize, u64)>,
    /// Whether the stamps of a flow can be put in order: not where a node may have spread it over its shards.
    followed: bool,
    report: Report,
}

impl Book {
    /// An empty one for flows to these addresses.
    pub(super) fn new(addresses: impl Iterator<Item = SocketAddr>, timeout: Duration, followed: bool) -> Self {
        let flows: Vec<_> = addresses.map(Flow::new).collect();
        // They take turns, so that none has more that wait than this; one more for the rounding, and one for jitter.
        let kept = KEPT / flows.len().max(1) + 2;
        Self { timeout, flows, kept, waiting: VecDeque::new(), followed, report: Report::default() }
    }

    /// Sequence of the flow's next probe.
    pub(super) fn next(&self, flow: usize) -> u64 {
        self.flows.get(flow).map_or(0, Flow::next)
    }

    /// The flow's next probe has left, with this time in its stamp, or waits for a connection to take it.
    pub(super) fn sent(&mut self, flow: usize, number: u64, at: Duration, wall: Option<u64>) {
        let sequence = self.next(flow);
        let Some(of) = self.flows.get_mut(flow) else { return };
        let taken = wall.map(|wall| Taken { at, wall });
        of.push(Probe { number, due: at, taken, left: None, state: State::Waiting }, self.kept);
        self.report.sent += 1;
        self.waiting.push_back((flow, sequence));
    }

    /// Our own host did not send one.
    pub(super) fn unsent(&mut self) {
        self.report.unsent += 1;
    }

    /// We were late to send one.
    pub(super) fn behind(&mut self) {
        self.report.behind += 1;
    }

    /// A connection took the probe only now. Its time does not begin anew: it is what whoever connects has to wait.
    pub(super) fn started(&mut self, flow: usize, sequence: u64, at: Duration, wall: u64) {
        let Some(of) = self.flows.get_mut(flow) else { return };
        let Some(probe) = of.probe(sequence).filter(|probe| probe.taken.is_none()) else { return };
        probe.taken = Some(Taken { at, wall });
        // It was told as one that is over when it was about to leave.
        if probe.state == State::Silent {
            of.unconnected -= 1;
        }
    }

    /// The time of a connection's beginning.
    pub(super) fn connected(&mut self, time: Duration) {
        self.report.connect.add(time);
    }

    /// The kernel tells when a probe left.
    pub(super) fn left(&mut self, flow: usize, sequence: u64, at: u64) {
        if let Some(probe) = self.probe(flow, sequence) {
            probe.left = Some(at);
        }
    }

    /// So many answers were dropped by our socket.
    pub(super) fn overflow(&mut self, flow: usize, dropped: u64) {
        if let Some(flow) = self.flows.get_mut(flow) {
            flow.overflow = dropped;
        }
    }

    /// Something came that is no answer.
    pub(super) fn wrong(&mut self) {
        self.report.wrong += 1;
    }

    /// A probe was refused; its number, if it still waited.
    pub(super) fn refused(&mut self, flow: usize, sequence: u64) -> Option<u64> {
        let probe = self.probe(flow, sequence).filter(|probe| probe.state == State::Waiting)?;
        probe.state = State::Refused;
        let number = probe.number;
        self.report.refused += 1;
        if let Some(flow) = self.flows.get_mut(flow) {
            flow.refused += 1;
        }
        Some(number)
    }

    /// The flow's connection ended: the numbers of the probes that it had taken, and that are refused by this.
    pub(super) fn broken(&mut self, flow: usize) -> Vec<u64> {
        let Some(of) = self.flows.get(flow) else { return Vec::new() };
        let taken = of.waiting().filter(|(_, probe)| probe.taken.is_some()).map(|(sequence, _)| sequence);
        taken.collect::<Vec<_>>().into_iter().filter_map(|sequence| self.refused(flow, sequence)).collect()
    }

    /// The oldest probe of the flow that waits.
    pub(super) fn oldest(&self, flow: usize) -> Option<u64> {
        self.flows.get(flow)?.waiting().next().map(|(sequence, _)| sequence)
    }

    /// An answer; the probe's number, and what it means.
    pub(super) fn answered(&mut self, flow: usize, receipt: &Receipt) -> (Option<u64>, Outcome) {
        let Some(of) = self.flows.get_mut(flow) else { return (None, Outcome::Wrong) };
        let (address, beyond) = (of.address, receipt.sequence >= of.next());
        let Some(probe) = of.probe(receipt.sequence) else {
            // Of one that is known no more, or was never sent.
            self.report.wrong += u64::from(beyond);
            return (None, if beyond { Outcome::Wrong } else { Outcome::Forgotten });
        };
        let sent = receipt.stamp.as_ref().map(|answer| answer.request.sent);
        let Some(taken) = probe.taken.filter(|taken| sent.is_none_or(|sent| sent == taken.wall)) else {
            self.report.wrong += 1;
            return (Some(probe.number), Outcome::Wrong);
        };
        let reply = reply_to(probe, taken, receipt, address);
        // As the kernel had it, where it tells: we may have been held up ourselves.
        let took = if reply.by_kernel { reply.rtt } else { receipt.at.saturating_sub(probe.due) };
        let in_time = took <= self.timeout;
        let count = receipt.stamp.as_ref().map(|answer| answer.seen.count);
        let (number, before) = (probe.number, probe.state);
        if let State::Answered(first) = before {
            self.report.duplicates.all += 1;
            // The node counts each that comes to it.
            self.report.duplicates.back += u64::from(first.is_some() && first == count);
            // Of its order nothing is told: the first answer had it.
            self.hear(flow, receipt);
            return (Some(number), Outcome::Duplicate(reply));
        }
        probe.state = State::Answered(count);
        of.answered += 1;
        if before == State::Refused {
            of.refused -= 1;
            self.report.refused -= 1;
        }
        self.note_order(flow, receipt);
        self.note_reply(&reply, receipt);
        let report = &mut self.report;
        *if in_time { &mut report.answered } else { &mut report.late } += 1;
        (Some(number), if in_time { Outcome::Answered(reply) } else { Outcome::Late(reply) })
    }

    /// When the next probe's time ends, and its flow.
    pub(super) fn next_end(&mut self) -> Option<(Duration, usize)> {
        while let Some((flow, sequence)) = self.waiting.front().copied() {
            let timeout = self.timeout;
            match self.probe(flow, sequence) {
                Some(probe) if probe.state == State::Waiting => return Some((probe.due + timeout, flow)),
                _ => self.waiting.pop_front(),
            };
        }
        None
    }

    /// The next probe whose time is over: its flow, its number, and what that means.
    pub(super) fn expire(&mut self, now: Duration) -> Option<(usize, u64, Outcome)> {
        self.next_end().filter(|(end, _)| *end <= now)?;
        let (flow, sequence) = self.waiting.pop_front()?;
        let of = self.flows.get_mut(flow)?;
        let probe = of.probe(sequence)?;
        probe.state = State::Silent;
        let (number, taken) = (probe.number, probe.taken.is_some());
        of.unconnected += u64::from(!taken);
        Some((flow, number, if taken { Outcome::Silent } else { Outcome::Unconnected }))
    }

    /// Takes what a node told of a flow when it was asked at the end.
    pub(super) fn learn(&mut self, flow: usize, node: &str, seen: Seen, whole: bool) {
        if let Some(flow) = self.flows.get_mut(flow) {
            flow.path.learn(node, seen, whole);
        }
    }

    /// What the run came to, so far.
    pub(super) fn report(&self) -> Report {
        let mut report = self.report.clone();
        for flow in &self.flows {
            let waits = flow.waiting().count() as u64;
            report.cut_short += waits;
            report.sent -= waits;
            report.unconnected += flow.unconnected;
            let loss = flow.loss(waits);
            report.loss.there += loss.there;
            report.loss.back += loss.back;
            report.loss.unknown += loss.unknown;
            report.loss.by_node += loss.by_node;
            report.loss.by_queue += loss.by_queue;
            report.loss.by_us += loss.by_us;
            report.duplicates.there = report.duplicates.there.saturating_add(flow.path.duplicates());
        }
        report
    }

    fn probe(&mut self, flow: usize, sequence: u64) -> Option<&mut Probe> {
        self.flows.get_mut(flow)?.probe(sequence)
    }

    fn hear(&mut self, flow: usize, receipt: &Receipt) -> Order {
        let stamp = receipt.stamp.as_deref().filter(|_| self.followed);
        let (Some(flow), Some(answer)) = (self.flows.get_mut(flow), stamp) else { return Order::default() };
        let next = flow.next();
        flow.path.hear(answer.identity.node.as_str(), receipt.sequence, answer.seen, next)
    }

    fn note_order(&mut self, flow: usize, receipt: &Receipt) {
        let order = self.hear(flow, receipt);
        self.report.reordered.there += u64::from(order.overtaken_there);
        self.report.reordered.back += u64::from(order.overtaken_back);
        let Some(flow) = self.flows.get_mut(flow) else { return };
        self.report.reordered.all += u64::from(flow.highest.is_some_and(|highest| highest > receipt.sequence));
        flow.highest = flow.highest.max(Some(receipt.sequence));
    }

    fn note_reply(&mut self, reply: &Reply, receipt: &Receipt) {
        let report = &mut self.report;
        report.rtt.add(reply.rtt);
        report.rtt_by_kernel += u64::from(reply.by_kernel);
        let Some(answer) = receipt.stamp.as_deref() else {
            report.answerer(&reply.address.to_string()).answers += 1;
            return;
        };
        report.stamped += 1;
        let answerer = report.answerer(answer.identity.node.as_str());
        answerer.answers += 1;
        answerer.zone = answer.identity.zone.to_string();
        answerer.revision = answer.identity.revision;
        Report::note(&mut report.seen_as, answer.arrival.client.ip());
        if let Some(class) = answer.arrival.traffic_class {
            Report::note(&mut report.dscps, class >> 2);
        }
        if let Some(time) = reply.in_node {
            report.in_node.add(time);
        }
        let Some(ours) = receipt.clock_error else { return };
        let Some(theirs) = answer.identity.clock_error else { return };
        let error = ours + Duration::from_micros(theirs.into());
        let one_way = report.one_way.get_or_insert_with(OneWay::default);
        one_way.error = one_way.error.max(error);
        reply.there.into_iter().for_each(|there| one_way.there.add(there));
        reply.back.into_iter().for_each(|back| one_way.back.add(back));
    }
}

#[cfg(test)]
mod tests;
