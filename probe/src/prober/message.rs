//! What a probe sends, and whether what came back is an answer to it.
//!
//! Used by the sockets of the prober. Pure. Every byte of an answer is compared: with the node's part of a stamp
//! excepted, it must be what was sent.

use echo_proto::stamp::{Answer, Request, STAMP_BYTES};

use crate::pattern;

/// The shortest probe: its number must fit.
pub const MIN_BYTES: usize = 8;

/// How the probes of one run look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Random; tells this run from others.
    pub(super) session: u64,
    /// Bytes of a probe, at least [`MIN_BYTES`].
    pub(super) size: usize,
    /// With a stamp, where there is room for one.
    pub(super) stamped: bool,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// Of the probe that it answers.
    pub(super) sequence: u64,
    /// What the node wrote into it, if it knows stamps.
    pub(super) stamp: Option<Box<Answer>>,
}

/// It is no answer to a probe of this flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong;

impl Form {
    /// Whether probes carry a stamp.
    pub(super) fn is_stamped(&self) -> bool {
        self.stamped && self.size >= STAMP_BYTES
    }

    /// Writes a probe over `message`; `sent` is when, in Unix nanoseconds.
    pub(super) fn write(&self, flow: u32, sequence: u64, sent: u64, message: &mut Vec<u8>) {
        message.resize(self.size, 0);
        pattern::fill(message, self.sender(flow), sequence);
        if self.is_stamped() {
            Request { session: self.session, flow, sequence, sent, trace: None }.write(message);
        }
    }

    /// Reads an answer.
    pub(super) fn read(&self, flow: u32, message: &[u8]) -> Result<Told, Wrong> {
        let told = if self.is_stamped() { self.stamped(flow, message) } else { self.plain(message) };
        let told = told.filter(|_| message.len() == self.size).ok_or(Wrong)?;
        let mut expected = Vec::new();
        pattern_of(self, flow, told.sequence, &mut expected);
        let skipped = if self.is_stamped() { STAMP_BYTES } else { 0 };
        if message.get(skipped..) == expected.get(skipped..) { Ok(told) } else { Err(Wrong) }
    }

    /// The number of the probe that begins so, as far as its beginning tells: what ICMP quotes is cut.
    pub(super) fn quoted(&self, message: &[u8]) -> Option<u64> {
        if !self.is_stamped() {
            return pattern::number(message);
        }
        // As much as was quoted, filled up to a whole stamp.
        let mut whole = message.to_vec();
        whole.resize(self.size, 0);
        Request::read(&whole).filter(|request| request.session == self.session).map(|request| request.sequence)
    }

    fn plain(&self, message: &[u8]) -> Option<Told> {
        pattern::number(message).map(|sequence| Told { sequence, stamp: None })
    }

    fn stamped(&self, flow: u32, message: &[u8]) -> Option<Told> {
        let answer = Answer::read(message);
        // What came back as a request was echoed by somebody who knows no stamps.
        let request = answer.as_ref().map(|answer| answer.request).or_else(|| Request::read(message))?;
        let ours = Request { session: self.session, flow, trace: None, ..request };
        (request == ours).then(|| Told { sequence: request.sequence, stamp: answer.map(Box::new) })
    }

    fn sender(&self, flow: u32) -> u64 {
        self.session ^ u64::from(flow)
    }
}

fn pattern_of(form: &Form, flow: u32, sequence: u64, message: &mut Vec<u8>) {
    message.resize(form.size, 0);
    pattern::fill(message, form.sender(flow), sequence);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use echo_proto::stamp::{self, Arrival, Identity, Seen};
    use proptest::prelude::*;

    fn form(size: usize, stamped: bool) -> Form {
        Form { session: 0x1122_3344_5566_7788, size, stamped }
    }

    fn probe(form: &Form, flow: u32, sequence: u64) -> Vec<u8> {
        let mut message = Vec::new();
        form.write(flow, sequence, 5, &mut message);
        message
    }

    #[test]
    fn an_echo_of_a_probe_is_its_answer_and_nothing_else_is() {
        for form in [form(8, false), form(64, true), form(STAMP_BYTES, true), form(1400, true), form(1400, false)] {
            let message = probe(&form, 3, 77);
            assert_eq!(message.len(), form.size);
            assert_eq!(form.read(3, &message), Ok(Told { sequence: 77, stamp: None }));
            assert_eq!(form.read(3, &message[..form.size - 1]), Err(Wrong), "cut");
            assert_eq!(form.quoted(&message), Some(77));
            let mut changed = message.clone();
            *changed.last_mut().unwrap() ^= 1;
            if form.size > STAMP_BYTES || !form.is_stamped() && form.size > MIN_BYTES {
                assert_eq!(form.read(3, &changed), Err(Wrong), "a byte that changed");
                assert_eq!(form.read(4, &message), Err(Wrong), "another flow's");
            }
        }
    }

    #[test]
    fn a_stamped_answer_tells_what_the_node_wrote() {
        let form = form(400, true);
        let mut message = probe(&form, 2, 9);
        let any = "10.0.0.1:7".parse().unwrap();
        let arrival = Arrival { time: None, hit: any, client: any, ttl: Some(61), traffic_class: None };
        stamp::answer(&mut message, &Identity::default(), &arrival, &Seen { count: 4, ..Seen::default() }, None);
        let told = form.read(2, &message).unwrap();
        assert_eq!((told.sequence, told.stamp.unwrap().seen.count), (9, 4));
        assert_eq!(form.read(1, &message), Err(Wrong), "another flow's");
        *message.last_mut().unwrap() ^= 1;
        assert_eq!(form.read(2, &message), Err(Wrong), "beyond the stamp nothing may change");
    }

    proptest! {
        #[test]
        fn no_bytes_are_trouble(bytes: Vec<u8>, stamped: bool, size in MIN_BYTES..600) {
            let form = form(size, stamped);
            let _ = (form.read(1, &bytes), form.quoted(&bytes));
        }
    }
}
