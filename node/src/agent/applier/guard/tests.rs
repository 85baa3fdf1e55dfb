//! What a start knows of the process before it: the same directory, one applier after the other.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::super::tests::{applied, applier, revision, rolling, stable, taken, value};
use super::*;
use crate::agent::report::Report;
use crate::agent::saved::SavedConfig;
use crate::agent::state_dir::StateDir;
use crate::agent::state_dir::tests::{Scratch, owner};

/// A state directory, over several lives of its node.
struct Home {
    saved: SavedConfig,
    _scratch: Scratch,
}

impl Home {
    fn new() -> Self {
        let scratch = Scratch::new();
        let dir = Arc::new(StateDir::open(&scratch.0, owner("node-1")).unwrap());
        Self { saved: SavedConfig::new(dir), _scratch: scratch }
    }

    /// One life, up to where it follows its cells.
    async fn start(&self) -> (Applier, tokio::sync::watch::Receiver<Report>) {
        let (mut applier, report) = applier(Some(self.saved.clone()));
        applier.recall_trial().await;
        (applier, report)
    }

    /// A life in which revision 1 was found to be good.
    async fn good() -> Self {
        let home = Self::new();
        let (mut first, _) = home.start().await;
        first.take(value(&stable(1, 0))).await;
        first.keep().await;
        first.end_trial().await;
        first.end().await;
        assert_eq!(home.saved.trials().load().await, None);
        home
    }

    async fn noted(&self) -> Option<u32> {
        self.saved.trials().load().await.and_then(|trial| trial.rejection.revision).map(|revision| revision.n)
    }
}

#[tokio::test]
async fn what_the_process_died_with_is_refused_in_that_rollout_and_no_longer() {
    let home = Home::good().await;
    let rollout = rolling(2, revision(1, 0), revision(2, 0));
    let (mut dies, report) = home.start().await;
    dies.take(value(&rollout)).await;
    assert!(applied(2)(&report.borrow()));
    assert_eq!(home.noted().await, Some(2));
    dies.end().await;

    for life in ["next", "the one after"] {
        let (mut back, report) = home.start().await;
        let rejection = report.borrow().rejection.clone().unwrap();
        assert_eq!((rejection.reason.as_str(), rejection.rollout), ("Crashed", 2), "the {life} life tells it at once");
        assert!(rejection.cause.starts_with("the node died within 10s of applying it"), "{}", rejection.cause);
        back.take(value(&rollout)).await;
        assert!(applied(1)(&report.borrow()) && report.borrow().rejection.is_some());
        back.end_trial().await;
        assert_eq!(home.noted().await, Some(2), "it failed, whatever serves since");
        back.end().await;
    }
    let (mut again, report) = home.start().await;
    again.take(value(&rolling(3, revision(1, 0), revision(2, 0)))).await;
    assert!(applied(2)(&report.borrow()) && report.borrow().rejection.is_none(), "a new rollout is a new try");
    again.end().await;
}

#[tokio::test]
async fn a_stable_that_killed_the_node_waits_and_what_was_good_serves() {
    let home = Home::good().await;
    let (mut dies, _) = home.start().await;
    dies.take(value(&stable(2, 0))).await;
    dies.end().await;

    let (mut back, report) = home.start().await;
    back.take(value(&stable(2, 0))).await;
    assert!(applied(1)(&report.borrow()), "{:?}", report.borrow());
    assert_eq!(report.borrow().rejection.as_ref().unwrap().reason, "Crashed");
    let until = back.retry.unwrap();
    assert!(until > Instant::now() && until <= Instant::now() + RETRY.0);
    tokio::time::sleep_until(until).await;
    back.settle(false).await;
    assert!(applied(2)(&report.borrow()) && report.borrow().rejection.is_none(), "{:?}", report.borrow());
    back.end().await;

    let (last, report) = home.start().await;
    assert!(report.borrow().rejection.as_ref().unwrap().cause.contains("2 times in a row"));
    last.end().await;
}

#[tokio::test]
async fn a_node_with_nothing_good_tries_again_at_once_and_then_more_and_more_rarely() {
    let home = Home::new();
    for death in ["the first", "the second"] {
        let (mut dies, report) = home.start().await;
        dies.take(value(&stable(1, 0))).await;
        assert!(applied(1)(&report.borrow()), "before {death} death");
        dies.end().await;
    }
    let (mut back, report) = home.start().await;
    back.take(value(&stable(1, 0))).await;
    assert_eq!(report.borrow().phase, NodePhase::Rejected);
    assert!(report.borrow().not_ready().unwrap().contains("died within"));
    back.end().await;
}

#[tokio::test]
async fn only_what_is_applied_and_not_known_to_be_good_is_on_trial() {
    let home = Home::good().await;
    let (mut node, report) = home.start().await;
    node.take(value(&stable(1, 0))).await;
    assert_eq!(home.noted().await, None, "it is good");
    let (_holder, port) = taken();
    node.take(value(&rolling(2, revision(1, 0), revision(2, port)))).await;
    assert!(report.borrow().rejection.is_some());
    assert_eq!(home.noted().await, None, "refused");
    node.take(value(&rolling(3, revision(1, 0), revision(3, 0)))).await;
    assert_eq!(home.noted().await, Some(3));
    node.take(value(&rolling(4, revision(1, 0), revision(4, port)))).await;
    assert_eq!(home.noted().await, None, "back on stable, which is good");
    node.take(value(&rolling(5, revision(1, 0), revision(5, 0)))).await;
    node.take(value(&rolling(6, revision(5, 0), revision(6, port)))).await;
    assert_eq!(home.noted().await, Some(5), "refused beside what is still on trial");
    node.end_trial().await;
    assert_eq!(home.noted().await, None, "told to leave");
    node.end().await;
}

#[test]
fn each_death_makes_the_wait_longer() {
    for (deaths, longest) in [(0, 0), (1, 1), (2, 2), (3, 4), (6, 30), (u32::MAX, 30)] {
        let (longest, waits) = (Duration::from_secs(longest), rest(deaths));
        assert!(waits <= longest && waits >= longest / 2, "{deaths}: {waits:?}");
    }
}
