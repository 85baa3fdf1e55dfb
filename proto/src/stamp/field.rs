//! A field at a fixed place of a stamp.
//!
//! Used by [`super`] alone. Bytes that are not there read as zeros and are not written.

/// `N` bytes from this offset on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<const N: usize>(pub(super) usize);

impl<const N: usize> Field<N> {
    pub(super) fn get(self, stamp: &[u8]) -> [u8; N] {
        stamp.get(self.0..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    pub(super) fn put(self, stamp: &mut [u8], value: [u8; N]) {
        if let Some(place) = stamp.get_mut(self.0..).and_then(|rest| rest.first_chunk_mut()) {
            *place = value;
        }
    }
}

impl Field<1> {
    pub(super) fn byte(self, stamp: &[u8]) -> u8 {
        let [byte] = self.get(stamp);
        byte
    }
}

impl Field<8> {
    pub(super) fn number(self, stamp: &[u8]) -> u64 {
        u64::from_be_bytes(self.get(stamp))
    }

    pub(super) fn put_number(self, stamp: &mut [u8], value: u64) {
        self.put(stamp, value.to_be_bytes());
    }
}
