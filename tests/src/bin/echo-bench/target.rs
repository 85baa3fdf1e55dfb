//! The project's numbers: what is asked, what was measured, and whether that is enough.

use std::fmt;

use crate::stats::Middle;

/// What is asked of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// One number of the project.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is about.
    pub(crate) work: String,
    /// What was measured there.
    pub(crate) figure: &'static str,
    pub(crate) measured: Middle,
    pub(crate) wanted: Bound,
}

impl Bound {
    fn holds(self, measured: f64) -> bool {
        match self {
            Self::AtMost(most) => measured <= most,
            Self::AtLeast(least) => measured >= least,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

impl Target {
    /// Whether the median is within the bound.
    pub(crate) fn is_met(&self) -> bool {
        self.wanted.holds(self.measured.median)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { work, figure, measured: Middle { median, low, high }, wanted } = self;
        let interval = if low < high { format!("[{low:.3}, {high:.3}]") } else { String::new() };
        let verdict = if self.is_met() { "MET" } else { "MISSED" };
        // Whole numbers are counts.
        let median = if median.fract() == 0.0 { format!("{median}") } else { format!("{median:.3}") };
        write!(f, "{verdict:<6}  {work}\n        {figure}: {median} {interval}, wanted {wanted}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_alone_decides_and_a_number_that_is_none_is_missed() {
        let target = |median, wanted| Target {
            work: "work".to_owned(),
            figure: "ratio",
            measured: Middle { median, low: 0.0, high: 9.0 },
            wanted,
        };
        assert!(target(1.05, Bound::AtMost(1.05)).is_met() && !target(1.06, Bound::AtMost(1.05)).is_met());
        assert!(target(0.95, Bound::AtLeast(0.95)).is_met() && !target(0.94, Bound::AtLeast(0.95)).is_met());
        assert!(!target(f64::NAN, Bound::AtMost(1.0)).is_met() && !target(f64::NAN, Bound::AtLeast(1.0)).is_met());
        let told = target(1.06, Bound::AtMost(1.05)).to_string();
        assert_eq!(told, "MISSED  work\n        ratio: 1.060 [0.000, 9.000], wanted at most 1.05");
    }
}
