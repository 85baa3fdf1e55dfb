//! Payloads that show when a part is lost, doubled, moved or another's.
//!
//! Used by [`crate::load`] and by the traffic of the tests in tests/.

/// Writes message `number` of `sender` into `message`: the number first, in as many of its bytes as fit, then bytes
/// that depend on both, and on their place.
pub fn fill(message: &mut [u8], sender: u64, number: u64) {
    // Each word by itself, so that the processor makes many at a time: a load makes every byte twice.
    let seed = (sender << 32 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = |place: u64| {
        let mixed = seed.wrapping_add(place.wrapping_mul(0xd134_2543_de82_ef95));
        if place == 0 { number } else { (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) }
    };
    let (whole, rest) = message.as_chunks_mut::<8>();
    let last = word(whole.len() as u64).to_be_bytes();
    for (place, chunk) in (0..).zip(whole) {
        *chunk = word(place).to_be_bytes();
    }
    for (byte, value) in rest.iter_mut().zip(last) {
        *byte = value;
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
