//! Bounds of labels: the same for pools and nodes, since selectors match both.
//!
//! Part of the validity rule; nodes check their `--label` against the same bounds, and selectors are bounded by them.

use super::Check;
use crate::v1;

/// Most labels of a pool or node.
pub const MAX_LABELS: usize = 32;
/// Longest key or value of a label, in bytes.
pub const MAX_LABEL_BYTES: usize = 253;
/// Characters of a key that a mistake shows.
const SHOWN: usize = 40;

/// Whether a label is within bounds.
pub fn is_label(key: &str, value: &str) -> bool {
    !key.is_empty() && key.len().max(value.len()) <= MAX_LABEL_BYTES
}

impl Check {
    pub(super) fn labels(&mut self, pool: &v1::Pool) {
        let Some(metadata) = &pool.metadata else { return };
        let count = metadata.labels.len();
        if count > MAX_LABELS {
            self.fail("metadata.labels", format!("{count} labels; at most {MAX_LABELS}"));
        }
        if let Some((key, _)) = metadata.labels.iter().find(|(key, value)| !is_label(key, value)) {
            let key: String = key.chars().take(SHOWN).collect();
            let cause = format!("{key:?}: a key has 1 to {MAX_LABEL_BYTES} bytes, a value at most {MAX_LABEL_BYTES}");
            self.fail("metadata.labels", cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        let found = |labels: &[(String, String)]| {
            let metadata = v1::ObjectMeta { labels: labels.iter().cloned().collect(), ..Default::default() };
            let mut check = Check::default();
            check.labels(&v1::Pool { metadata: Some(metadata), ..Default::default() });
            check.errors.len()
        };
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(found(&[label("team", "net"), label("canary", "")]), 0);
        assert_eq!(found(&[label("", "x")]), 1);
        assert_eq!(found(&[label("k", &"v".repeat(MAX_LABEL_BYTES + 1))]), 1);
        let many: Vec<_> = (0..=MAX_LABELS).map(|n| label(&n.to_string(), "")).collect();
        assert_eq!(found(&many), 1);
    }
}
