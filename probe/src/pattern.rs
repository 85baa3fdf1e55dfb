//! Payloads that show when a part is lost, doubled, moved or another's, as far as there is room to tell.
//!
//! Used by [`crate::load`], the prober and the traffic of the tests in tests/. A message of 8 bytes is its number, by
//! which a datagram is known, and does not tell who sent it; each byte more tells that with more certainty. A shorter
//! one differs from those that its sender sends soon before or after: of one byte from 255 either way, of two from
//! 65,535, and so on.

/// What keeps senders apart in messages too short for both. It is odd, so that none of their bits is lost.
const APART: u64 = 0x9e37_79b9_7f4a_7c15;

/// Writes message `number` of `sender` into `message`: the number first, then bytes that depend on both, and on their
/// place. Where the number does not fit, what of it differs from one message to the next.
pub fn fill(message: &mut [u8], sender: u64, number: u64) {
    let (first, mut words) = (first(message.len(), sender, number), Words::new(sender, number));
    let (begin, message) = message.split_at_mut(message.len().min(first.len()));
    begin.iter_mut().zip(first).for_each(|(byte, value)| *byte = value);
    let (whole, rest) = message.as_chunks_mut::<8>();
    whole.iter_mut().zip(&mut words).for_each(|(chunk, word)| *chunk = word.to_le_bytes());
    rest.iter_mut().zip(words.last_bytes()).for_each(|(byte, value)| *byte = value);
}

/// Whether `message` is what [`fill`] writes there, for which it needs no second one.
pub fn matches(message: &[u8], sender: u64, number: u64) -> bool {
    let (first, mut words) = (first(message.len(), sender, number), Words::new(sender, number));
    let (begin, message) = message.split_at(message.len().min(first.len()));
    let (whole, rest) = message.as_chunks::<8>();
    // All of it, whatever is found: a loop that may end early is made one word at a time.
    let differing =
        whole.iter().zip(&mut words).fold(0, |all, (chunk, word)| all | (u64::from_le_bytes(*chunk) ^ word));
    first.starts_with(begin) && differing == 0 && words.last_bytes().starts_with(rest)
}

/// What a message of so many bytes begins with, or is cut from.
fn first(len: usize, sender: u64, number: u64) -> [u8; 8] {
    if len < 8 {
        // The lowest bytes first: the highest are the same in all messages.
        return number.wrapping_add(sender.wrapping_mul(APART)).to_le_bytes();
    }
    number.to_be_bytes()
}

/// What follows the number of one message. Each word is of little work, so that the processor makes many at a time: a
/// load makes every byte twice.
struct Words(u64);

impl Words {
    fn new(sender: u64, number: u64) -> Self {
        Self((sender << 32 ^ number).wrapping_mul(APART))
    }

    /// Of the word that only begins.
    fn last_bytes(&mut self) -> [u8; 8] {
        self.next().unwrap_or_default().to_le_bytes()
    }
}

impl Iterator for Words {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let Self(word) = self;
        *word = word.wrapping_add(0xd134_2543_de82_ef95);
        Some(*word ^ *word >> 29)
    }
}

/// The number of a message, if it is long enough to hold one, which is 8 bytes.
pub fn number(message: &[u8]) -> Option<u64> {
    message.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn messages_differ_by_sender_and_number() {
        let message = |sender, number| {
            let mut bytes = [0; 61];
            fill(&mut bytes, sender, number);
            bytes
        };
        assert_eq!(number(&message(3, 77)), Some(77));
        assert_eq!(message(3, 77), message(3, 77));
        assert_ne!(message(3, 77), message(4, 77));
        assert_ne!(message(3, 77), message(3, 78));
        assert_eq!(number(&[1, 2, 3]), None);
    }

    #[test]
    fn messages_of_every_length_differ_as_far_as_so_many_bytes_can() {
        for len in 1..=9 {
            let message = |sender, number| {
                let mut bytes = [0; 9];
                fill(&mut bytes[..len], sender, number);
                bytes
            };
            let count = if len == 1 { 1 << 8 } else { 1 << 16 };
            for sender in [0, 7] {
                let messages: std::collections::HashSet<_> = (0..count).map(|number| message(sender, number)).collect();
                assert_eq!(messages.len() as u64, count, "{len} bytes");
            }
            for number in 0..count {
                assert!(!matches(&message(7, number)[..len], 7, number + 1), "{number} in {len} bytes");
            }
            // Of 8 bytes, the number takes all.
            let told = (1..8).all(|sender| message(sender, 77) != message(0, 77));
            assert_eq!(told, len != 8, "{len} bytes");
        }
    }

    #[test]
    fn every_changed_bit_and_every_length_shows() {
        for len in 0..40 {
            let mut bytes = vec![0; len];
            fill(&mut bytes, 5, 0x0102_0304_0506_0708);
            assert!(matches(&bytes, 5, 0x0102_0304_0506_0708));
            assert!(len == 0 || !matches(&bytes, 5, u64::MAX));
            for bit in 0..len * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(!matches(&bytes, 5, 0x0102_0304_0506_0708), "bit {bit} of {len} bytes");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn no_two_words_of_a_few_messages_are_the_same() {
        let mut words = std::collections::HashSet::new();
        for (sender, number) in (0..8).flat_map(|sender| (0..8).map(move |number| (sender, number))) {
            let mut bytes = [0; 8_000];
            fill(&mut bytes, sender, number);
            words.extend(bytes.chunks(8).skip(1).map(<[u8]>::to_vec));
        }
        assert_eq!(words.len(), 64 * 999);
    }
}
