//! How soon everything is looked at again after a look at everything.
//!
//! Used by the drive and the watches, which look at all nodes after any change: of thousands of answers in a second each
//! would be a look of its own, and looking all that there is to do. It must never hold up a look in a small cluster.

use std::time::Duration;

/// A look is followed by a rest of so many times its length ...
const TIMES: u32 = 3;
/// ... but never of more, however long it took: what happens meanwhile is acted on so late.
const LONGEST: Duration = Duration::from_millis(200);

/// The rest after a look that took so long, at least `least`: what comes meanwhile is looked at together.
pub(crate) fn rest(took: Duration, least: Duration) -> Duration {
    took.saturating_mul(TIMES).min(LONGEST).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_as_long_as_the_look_asks_for_within_bounds() {
        let millis = Duration::from_millis;
        assert_eq!(rest(millis(10), millis(5)), millis(30), "a quarter of the time is spent looking");
        assert_eq!(rest(millis(1), millis(5)), millis(5));
        assert_eq!(rest(Duration::MAX, millis(5)), LONGEST);
    }
}
