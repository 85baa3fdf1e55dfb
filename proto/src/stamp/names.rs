//! Who answers: the part of an answer that is the same for all of a listener's.
//!
//! Made once for each revision that a node serves; read by probes.

use std::fmt;

/// Bytes of a name in a stamp.
const NAME_BYTES: usize = 64;

/// A text of at most 64 bytes; longer ones are cut, and known to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; NAME_BYTES],
    cut: bool,
}

impl Name {
    /// As much of `text` as fits.
    pub fn new(text: &str) -> Self {
        let len = text.floor_char_boundary(NAME_BYTES);
        let mut bytes = [0; NAME_BYTES];
        for (to, from) in bytes.iter_mut().zip(text.as_bytes().iter().take(len)) {
            *to = *from;
        }
        Self { bytes, cut: len < text.len() }
    }

    /// As it stands in a stamp.
    pub(super) fn from_wire(bytes: [u8; NAME_BYTES], cut: bool) -> Self {
        Self { bytes, cut }
    }

    pub(super) fn wire(&self) -> [u8; NAME_BYTES] {
        self.bytes
    }

    /// The text up to the first zero, and to the first byte that is no UTF-8.
    pub fn as_str(&self) -> &str {
        let text = self.bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        text.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }

    /// Whether it was longer.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
}

impl Default for Name {
    fn default() -> Self {
        Self { bytes: [0; NAME_BYTES], cut: false }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.as_str(), if self.cut { ".." } else { "" })
    }
}

/// Who answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Id of the node.
    pub node: Name,
    /// Its zone; empty: none.
    pub zone: Name,
    /// Number of the revision that it runs; 0: none.
    pub revision: u32,
    /// First bytes of that revision's digest.
    pub digest: [u8; 4],
    /// How far off its clock may be, in microseconds, if that is known.
    pub clock_error: Option<u32>,
}
