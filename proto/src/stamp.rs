//! The wire format of stamped echo, version 1: an echo whose answer tells who answered and what was seen.
//!
//! Written and read by nodes and by probes alike. It does no I/O, takes no clock and allocates nothing: requests are
//! read from and answers written over the bytes that came. It must never panic, whatever the bytes are.
//!
//! A request is a message of an echo listener that begins with a stamp. Its answer is as long, with the second part of
//! the stamp written over; what lies beyond the stamp comes back as it was. Numbers are big-endian, times are
//! nanoseconds since 1970-01-01 UTC, IPv4 addresses stand as `::ffff:a.b.c.d`, texts are UTF-8 and filled up with zeros.
//!
//! | offset | bytes | field | |
//! |---|---|---|---|
//! | 0 | 16 | magic | `314fc6890ee9bac7f2ebdcf44f6ce2c8` |
//! | 16 | 1 | version | 1 |
//! | 17 | 1 | direction | bit 0: 0 a request, 1 an answer; other bits zero |
//! | 18 | 2 | known | answer: which of its fields hold something, see below |
//! | 20 | 4 | length | of the whole message, this stamp included: at most 65536 |
//! | 24 | 8 | session | random, chosen by the client |
//! | 32 | 4 | flow | which of the session's flows, such as source ports |
//! | 36 | 1 | trace_flags | of the W3C trace context |
//! | 37 | 3 | zero | |
//! | 40 | 8 | sequence | of this request in its flow, going up by one; it does not wrap |
//! | 48 | 8 | sent | when the client sent it, by its clock; 0: not told |
//! | 56 | 16 | trace_id | of the W3C trace context; zeros: none |
//! | 72 | 8 | parent_id | of the W3C trace context |
//! | 80 | 8 | received | when the node received the request |
//! | 88 | 8 | transmitted | when the node sent the answer |
//! | 96 | 16 | hit_address | address of the node that was hit |
//! | 112 | 16 | client_address | client's address as the node saw it |
//! | 128 | 2 | hit_port | port of the node that was hit |
//! | 130 | 2 | client_port | client's port as the node saw it |
//! | 132 | 1 | ttl | TTL or hop limit with which the request arrived |
//! | 133 | 1 | traffic_class | DSCP (upper 6 bits) and ECN with which the request arrived |
//! | 134 | 2 | memory | a number that the node draws when it begins to count this flow; another one: it began anew |
//! | 136 | 8 | count | requests of this flow that arrived, this one and those that were dropped included |
//! | 144 | 8 | duplicates | those of them whose sequence was in the window already |
//! | 152 | 8 | lowest | the lowest sequence that arrived: nothing is known of those before |
//! | 160 | 8 | highest | the highest sequence that arrived |
//! | 168 | 8 | window | bit n: sequence `highest - n` arrived |
//! | 176 | 8 | dropped | requests of this flow that the node itself dropped: no loss of the network's |
//! | 184 | 4 | revision | number of the revision that the node runs; 0: none |
//! | 188 | 4 | digest | first bytes of that revision's digest |
//! | 192 | 4 | clock_error | how far off the node's clock may be, in microseconds |
//! | 196 | 4 | overflowed | datagrams, of whoever, that the node's receive queue had no room for since this flow began |
//! | 200 | 64 | node | id of the node |
//! | 264 | 64 | zone | zone of the node; zeros: none |
//!
//! `overflowed` is at most 4294967295, and 0 over TCP. What did not arrive may be among these: so many gaps are no loss
//! of the network's.
//!
//! A flow is counted for each listener by itself, and for one source port, which leads to one shard of the node.
//!
//! Bits of `known`: 0 `received` is told, 1 and by the kernel (else by the node, later); 2 `transmitted` is told, 3 and
//! by the kernel (else by the node, earlier); 4 `ttl`; 5 `traffic_class`; 6 `clock_error`; 7 `node` was too long and was
//! cut, 8 `zone` was.
//!
//! Magic, version, direction and length stand at these places in every version. What has the magic and is marked as an
//! answer is never answered, in any version: two nodes that are told of each other's address stay silent. What has the
//! magic and is no request of this version (another version, shorter than a stamp, another length than it says) is
//! plain: it comes back as it was, so that a client sees that it was not understood.
//!
//! Over UDP a datagram is a message. Over TCP the first read alone decides: if it begins with the magic, the connection
//! carries messages for its life, each with its own stamp and length, back to back; if not, also if it is shorter than
//! the magic, it is plain for its life. So a client writes the first message's magic in one piece. A message that is an
//! answer, lacks the magic, or has a length below 24 or above 65536, ends such a connection. `received` is there the
//! time of the last byte that was read together with the request.

mod answer;
mod field;
mod names;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Arrival, Seen, Time, write as answer};
use field::Field;
pub use names::{Identity, Name};
pub use request::{Request, Trace};

/// What a stamp begins with: random, so that nobody sends it by chance.
pub const MAGIC: [u8; 16] =
    [0x31, 0x4f, 0xc6, 0x89, 0x0e, 0xe9, 0xba, 0xc7, 0xf2, 0xeb, 0xdc, 0xf4, 0x4f, 0x6c, 0xe2, 0xc8];
/// The version that is written and answered.
pub const VERSION: u8 = 1;
/// Bytes of a stamp: the shortest request that is answered with one.
pub const STAMP_BYTES: usize = 328;
/// Bytes that all versions have in common: the shortest message on TCP.
pub const HEAD_BYTES: usize = 24;
/// The longest message on TCP.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Sequences that the window tells of.
pub const WINDOW: u64 = 64;

/// Bit of [`at::DIRECTION`].
const ANSWER: u8 = 1;

/// Where the fields stand; see the table above.
mod at {
    use super::Field;

    pub(super) const MAGIC: Field<16> = Field(0);
    pub(super) const VERSION: Field<1> = Field(16);
    pub(super) const DIRECTION: Field<1> = Field(17);
    pub(super) const KNOWN: Field<2> = Field(18);
    pub(super) const LENGTH: Field<4> = Field(20);
    pub(super) const SESSION: Field<8> = Field(24);
    pub(super) const FLOW: Field<4> = Field(32);
    pub(super) const TRACE_FLAGS: Field<1> = Field(36);
    pub(super) const SEQUENCE: Field<8> = Field(40);
    pub(super) const SENT: Field<8> = Field(48);
    pub(super) const TRACE_ID: Field<16> = Field(56);
    pub(super) const PARENT_ID: Field<8> = Field(72);
    pub(super) const RECEIVED: Field<8> = Field(80);
    pub(super) const TRANSMITTED: Field<8> = Field(88);
    pub(super) const HIT_ADDRESS: Field<16> = Field(96);
    pub(super) const CLIENT_ADDRESS: Field<16> = Field(112);
    pub(super) const HIT_PORT: Field<2> = Field(128);
    pub(super) const CLIENT_PORT: Field<2> = Field(130);
    pub(super) const TTL: Field<1> = Field(132);
    pub(super) const TRAFFIC_CLASS: Field<1> = Field(133);
    pub(super) const MEMORY: Field<2> = Field(134);
    pub(super) const COUNT: Field<8> = Field(136);
    pub(super) const DUPLICATES: Field<8> = Field(144);
    pub(super) const LOWEST: Field<8> = Field(152);
    pub(super) const HIGHEST: Field<8> = Field(160);
    pub(super) const WINDOW: Field<8> = Field(168);
    pub(super) const DROPPED: Field<8> = Field(176);
    pub(super) const REVISION: Field<4> = Field(184);
    pub(super) const DIGEST: Field<4> = Field(188);
    pub(super) const CLOCK_ERROR: Field<4> = Field(192);
    pub(super) const OVERFLOWED: Field<4> = Field(196);
    pub(super) const NODE: Field<64> = Field(200);
    pub(super) const ZONE: Field<64> = Field(264);
}

/// What a message is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To be echoed as it is.
    Plain,
    /// A request of [`VERSION`], long enough for its answer.
    Request,
    /// An answer, of any version: it is not answered.
    Answer,
}

/// What a whole message is. Costs one comparison where it is plain.
pub fn kind(message: &[u8]) -> Kind {
    if !is_marked(message) {
        return Kind::Plain;
    }
    if at::DIRECTION.byte(message) & ANSWER != 0 {
        return Kind::Answer;
    }
    let fits = message.len() >= STAMP_BYTES && u32::from_be_bytes(at::LENGTH.get(message)) as usize == message.len();
    if at::VERSION.byte(message) == VERSION && fits { Kind::Request } else { Kind::Plain }
}

/// Whether it begins with the magic: what decides on TCP.
pub fn is_marked(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// How long the message is that begins here, if at least its [`HEAD_BYTES`] are here.
///
/// # Errors
/// It is no message: the connection is out of step and must end.
pub fn message_len(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let known = bytes.len().min(MAGIC.len());
    if bytes.get(..known) != MAGIC.get(..known) {
        return Err(Broken::NoMagic);
    }
    if bytes.len() < HEAD_BYTES {
        return Ok(None);
    }
    let len = u32::from_be_bytes(at::LENGTH.get(bytes)) as usize;
    if (HEAD_BYTES..=MAX_MESSAGE).contains(&len) { Ok(Some(len)) } else { Err(Broken::Length(len)) }
}

/// Why bytes on a stamped connection are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It begins with something else.
    #[error("a message on a stamped connection does not begin with the magic")]
    NoMagic,
    /// It says that it is so long.
    #[error("a message of {0} bytes; {HEAD_BYTES} to {MAX_MESSAGE} are allowed")]
    Length(usize),
}
