//! Payloads that show when a part is lost, doubled, moved or another's.
//!
//! Used by [`crate::load`] and by the traffic of the tests in tests/.

/// Writes message `number` of `sender` into `message`: the number first, in as many of its bytes as fit, then bytes
/// that depend on both.
pub fn fill(message: &mut [u8], sender: u64, number: u64) {
    // xorshift64*, which never leaves zero: so it must not start there.
    let mut state = (sender << 32 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut words = std::iter::once(number).chain(std::iter::from_fn(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        Some(state.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }));
    for (chunk, word) in message.chunks_mut(8).zip(words.by_ref()) {
        for (byte, value) in chunk.iter_mut().zip(word.to_be_bytes()) {
            *byte = value;
        }
    }
}

/// The number of a message, if it is long enough to hold one.
pub fn number(message: &[u8]) -> Option<u64> {
    message.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
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
}
