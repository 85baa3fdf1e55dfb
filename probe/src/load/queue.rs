//! Bytes on their way in or out, in room that is used again and again.
//!
//! Used by [`super::tcp`]. It must not touch bytes again that have gone: a load makes and reads each once.

/// First in, first out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// Where those that wait begin and end.
    begin: usize,
    end: usize,
}

impl Queue {
    /// Those that wait, the oldest first.
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.begin..self.end).unwrap_or_default()
    }

    /// Room for `len` more behind them. What it holds means nothing.
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        if self.begin > 0 {
            self.bytes.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        let end = self.end + len;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.end..end).unwrap_or_default()
    }

    /// The first `len` bytes of that room wait now as well.
    pub(super) fn add(&mut self, len: usize) {
        self.end = (self.end + len).min(self.bytes.len());
    }

    /// The oldest `len` wait no more.
    pub(super) fn take(&mut self, len: usize) {
        self.begin = (self.begin + len).min(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_as_they_came() {
        let (mut queue, mut came, mut left) = (Queue::default(), 0..=u8::MAX, Vec::<u8>::new());
        for take in [0, 3, 1, 0, 7, 5, 2, 0] {
            queue.room(9).iter_mut().zip(came.by_ref().take(4)).for_each(|(room, byte)| *room = byte);
            queue.add(4);
            left.extend(queue.waiting().iter().take(take));
            queue.take(take);
        }
        left.extend(queue.waiting());
        assert_eq!(left, Vec::from_iter(0..32));
        assert!(queue.bytes.len() < 32, "room is used again");
    }
}
