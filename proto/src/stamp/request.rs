//! The client's part of a stamp.

use super::{Kind, MAGIC, STAMP_BYTES, VERSION, at, kind};

/// What a client asks, and finds again in the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// Random, chosen by the client.
    pub session: u64,
    /// Which of the session's flows.
    pub flow: u32,
    /// Of this request in its flow.
    pub sequence: u64,
    /// When it was sent, in nanoseconds since 1970 by the client's clock; 0: not told.
    pub sent: u64,
    /// The trace that it belongs to.
    pub trace: Option<Trace>,
}

/// A W3C trace context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trace {
    /// Id of the trace; zeros mean that there is none.
    pub id: [u8; 16],
    /// Id of the span that the request belongs to.
    pub parent: [u8; 8],
    /// Its flags, such as that it is sampled.
    pub flags: u8,
}

impl Request {
    /// Reads a request of this version; what is none is plain, or an answer.
    pub fn read(message: &[u8]) -> Option<Self> {
        (kind(message) == Kind::Request).then(|| Self::fields(message))
    }

    /// Reads the client's part, of a request or of its answer.
    pub(super) fn fields(stamp: &[u8]) -> Self {
        let id = at::TRACE_ID.get(stamp);
        let (parent, flags) = (at::PARENT_ID.get(stamp), at::TRACE_FLAGS.byte(stamp));
        Self {
            session: at::SESSION.number(stamp),
            flow: u32::from_be_bytes(at::FLOW.get(stamp)),
            sequence: at::SEQUENCE.number(stamp),
            sent: at::SENT.number(stamp),
            trace: (id != [0; 16]).then_some(Trace { id, parent, flags }),
        }
    }

    /// Makes a request of all of `message`, which must have at least [`STAMP_BYTES`]: writes a whole stamp, with zeros
    /// where the answer will be. What is shorter stays as it is, and `false` says so.
    pub fn write(&self, message: &mut [u8]) -> bool {
        let Ok(len) = u32::try_from(message.len()) else { return false };
        let Some(stamp) = message.get_mut(..STAMP_BYTES) else { return false };
        stamp.fill(0);
        at::MAGIC.put(stamp, MAGIC);
        at::VERSION.put(stamp, [VERSION]);
        at::LENGTH.put(stamp, len.to_be_bytes());
        at::SESSION.put_number(stamp, self.session);
        at::FLOW.put(stamp, self.flow.to_be_bytes());
        at::SEQUENCE.put_number(stamp, self.sequence);
        at::SENT.put_number(stamp, self.sent);
        let trace = self.trace.unwrap_or_default();
        at::TRACE_FLAGS.put(stamp, [trace.flags]);
        at::TRACE_ID.put(stamp, trace.id);
        at::PARENT_ID.put(stamp, trace.parent);
        true
    }
}
