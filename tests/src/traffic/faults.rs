//! The log of what a test did to nodes: what may explain a failed echo, and what may not.
//!
//! Used by the tests that do harm. A fault of etcd or of control explains nothing: traffic needs neither.

use std::time::{Duration, Instant};

use super::Loss;

/// Between the test's clock and the kernel's: a signal is noted when it was sent.
const SLACK: Duration = Duration::from_millis(200);

/// Faults of nodes, with their times.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

#[derive(Debug)]
struct Fault {
    node: String,
    start: Instant,
    /// None: it lasts.
    end: Option<Instant>,
}

impl Faults {
    /// From now on this node may fail.
    pub fn begin(&mut self, node: &str) {
        self.0.push(Fault { node: node.to_owned(), start: Instant::now(), end: None });
    }

    /// It was seen to serve again: what fails from now on has no excuse.
    pub fn end(&mut self, node: &str) {
        let now = Some(Instant::now());
        self.0.iter_mut().filter(|fault| fault.node == node && fault.end.is_none()).for_each(|fault| fault.end = now);
    }

    /// Whether a fault of its node was at work while the echo was on its way.
    pub fn explain(&self, loss: &Loss) -> bool {
        let at_work = |fault: &&Fault| {
            let over = fault.end.is_some_and(|end| loss.sent > end + SLACK);
            fault.node == loss.node && !over && loss.known + SLACK >= fault.start
        };
        !loss.wrong && self.0.iter().any(|fault| at_work(&fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(node: &str, sent: Instant, wrong: bool) -> Loss {
        let (known, cause) = (sent + Duration::from_millis(1), String::new());
        Loss { node: node.to_owned(), kind: "udp", sent, known, cause, wrong }
    }

    #[test]
    fn only_a_fault_of_that_node_at_that_time_explains_a_loss() {
        let (mut faults, second) = (Faults::default(), Duration::from_secs(1));
        faults.begin("a");
        let start = faults.0[0].start;
        assert!(faults.explain(&loss("a", start + second, false)), "while it lasts");
        faults.0[0].end = Some(start + 2 * second);
        assert!(faults.explain(&loss("a", start + second, false)), "in its time");
        assert!(!faults.explain(&loss("b", start + second, false)), "another node");
        assert!(!faults.explain(&loss("a", start + 3 * second, false)), "afterwards");
        assert!(!faults.explain(&loss("a", start - second, false)), "before");
        assert!(!faults.explain(&loss("a", start + second, true)), "wrong bytes");
    }
}
