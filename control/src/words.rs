//! Numbers in sentences.
//!
//! Used by event texts, the diagnosis and echoctl.

use std::ops::Range;

/// `1 connection`, `2 connections`.
pub fn count(n: impl TryInto<u64>, what: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// ` (step 2 adds nobody)`, ` (steps 2 to 4 add nobody)`, of the steps of a rollout that were passed over, counted from 0;
/// empty where there are none.
pub fn add_nobody(passed: &Range<u32>) -> String {
    match (passed.start.saturating_add(1), passed.end) {
        (first, last) if first > last => String::new(),
        (first, last) if first == last => format!(" (step {first} adds nobody)"),
        (first, last) => format!(" (steps {first} to {last} add nobody)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let told = [0_u32, 1, 2].map(|n| count(n, "listener"));
        assert_eq!(told, ["0 listeners", "1 listener", "2 listeners"]);
    }

    #[test]
    fn steps_that_add_nobody_are_numbered_as_people_count() {
        let told = [1..1, 1..2, 1..4].map(|passed| add_nobody(&passed));
        assert_eq!(told, ["", " (step 2 adds nobody)", " (steps 2 to 4 add nobody)"]);
    }
}
