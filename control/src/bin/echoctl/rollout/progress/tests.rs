//! What is told of a rollout, and how it ends.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn message(phase: RolloutPhase, acked: u32, pending: bool) -> v1::WatchRolloutResponse {
    let to = Some(v1::RevisionRef { n: 4, ..Default::default() });
    let from = Some(v1::RevisionRef { n: 3, ..Default::default() });
    let mut rollout = v1::Rollout { acked, nodes: 3, to, from, ..Default::default() };
    rollout.set_phase(phase);
    v1::WatchRolloutResponse { rollout: Some(rollout), pending, newest: None }
}

fn node(name: &str, sync: SyncState) -> v1::Node {
    v1::Node {
        metadata: Some(v1::ObjectMeta { name: name.into(), ..Default::default() }),
        status: Some(v1::NodeStatus { sync: sync.into(), ..Default::default() }),
        ..Default::default()
    }
}

fn progress() -> Progress {
    Progress::new(&"edge".parse().unwrap(), None)
}

#[test]
fn an_older_rollouts_end_is_not_the_end() {
    let mut progress = progress();
    let (line, end) = progress.take(message(RolloutPhase::Completed, 3, true));
    assert_eq!((line.unwrap().line.as_str(), end), ("waiting for the rollout of pool/edge to begin", None));
    let (line, end) = progress.take(message(RolloutPhase::Progressing, 2, false));
    let expected = News { line: "2 of 3 nodes run revision 4".into(), share: Some((2, 3)) };
    assert_eq!((line, end), (Some(expected), None));
    assert_eq!(progress.take(message(RolloutPhase::Progressing, 2, false)), (None, None), "no news");
    let end = progress.take(message(RolloutPhase::Completed, 3, false)).1.unwrap();
    assert_eq!(end, End::Completed);
}

#[test]
fn a_pool_that_goes_away_is_an_end() {
    let mut progress = progress();
    progress.take(message(RolloutPhase::Progressing, 2, false));
    let fresh = v1::WatchRolloutResponse { pending: true, ..Default::default() };
    assert_eq!(progress.take(fresh).1, None, "a new pool, before its first rollout is stored");
    assert_eq!(progress.take(v1::WatchRolloutResponse::default()), (None, Some(End::Gone)));
}

#[test]
fn a_failure_names_node_listener_and_cause() {
    let mut failed = message(RolloutPhase::Reverted, 2, false);
    let rollout = failed.rollout.as_mut().unwrap();
    rollout.reason = "1 node rejected it".into();
    rollout.problems = vec![v1::RolloutProblem {
        node: "node-2".into(),
        listener: "greet".into(),
        cause: "bind 127.0.0.2:7008: address in use".into(),
    }];
    let expected = "revision 4 of pool/edge failed; all nodes went back to revision 3: 1 node rejected it\n  \
                    node-2: listener greet: bind 127.0.0.2:7008: address in use";
    assert_eq!(progress().take(failed).1, Some(End::Failed(expected.into())));
}

#[test]
fn the_line_names_the_step_its_canaries_and_their_health() {
    let mut message = message(RolloutPhase::Progressing, 1, false);
    let rollout = message.rollout.as_mut().unwrap();
    (rollout.steps, rollout.canaries) = (3, vec!["node-1".into(), "node-4".into()]);
    rollout.health = "not judged: 12 messages of 1000".into();
    let line = |message: &v1::WatchRolloutResponse| progress().take(message.clone()).0.unwrap().line;
    let first = "1 of 3 nodes run revision 4; step 1 of 3: canaries node-1, node-4; not judged: 12 messages of 1000";
    assert_eq!(line(&message), first);
    let rollout = message.rollout.as_mut().unwrap();
    (rollout.step, rollout.health, rollout.reason) = (1, String::new(), "paused by ann".into());
    rollout.set_phase(RolloutPhase::Paused);
    let paused = "paused: 1 of 3 nodes run revision 4; step 2 of 3; paused by ann; it waits for `echoctl rollout ";
    assert_eq!(line(&message), format!("{paused}resume pool/edge`"));
    let problem = v1::RolloutProblem { node: "node-2".into(), ..Default::default() };
    message.rollout.as_mut().unwrap().problems = vec![problem];
    assert_eq!(line(&message), format!("{paused}abort pool/edge`"), "what a node refused, it does not try again");
}

#[test]
fn a_step_that_adds_nobody_is_told_with_the_next() {
    let at = |step| {
        let mut message = message(RolloutPhase::Progressing, step, false);
        let rollout = message.rollout.as_mut().unwrap();
        (rollout.id, rollout.steps, rollout.step) = (1, 5, step);
        message
    };
    let mut progress = progress();
    let mut line = |step| progress.take(at(step)).0.unwrap().line;
    assert_eq!(line(0), "0 of 3 nodes run revision 4; step 1 of 5");
    assert_eq!(line(2), "2 of 3 nodes run revision 4; step 3 of 5 (step 2 adds nobody)");
    assert_eq!(line(3), "3 of 3 nodes run revision 4; step 4 of 5");
}

#[test]
fn who_holds_it_up_is_told_once() {
    let nodes = [node("node-1", SyncState::Synced), node("node-2", SyncState::Pending)];
    let mut progress = progress();
    assert_eq!(progress.blockers(&nodes), ["  waiting for node-2: PENDING, runs revision -"]);
    assert!(progress.blockers(&nodes).is_empty());
}

#[test]
fn a_late_rollout_names_who_holds_it_up() {
    let mut progress = progress();
    progress.take(message(RolloutPhase::Progressing, 1, false));
    let nodes = [node("node-1", SyncState::Synced), node("node-2", SyncState::Pending)];
    let text = progress.blocked_by(&nodes);
    assert_eq!(text, "1 of 3 nodes run revision 4\n  node-2: PENDING, runs revision -");
}

#[test]
fn where_all_are_pinned_it_says_so_and_blames_none() {
    let mut message = message(RolloutPhase::Progressing, 0, false);
    let rollout = message.rollout.as_mut().unwrap();
    (rollout.nodes, rollout.pinned) = (0, 7);
    let told = progress().take(message).0.unwrap().line;
    assert_eq!(told, "no node tries revision 4: all that pool/edge has are pinned");
    let mut pinned = node("node-1", SyncState::Rejected);
    pinned.status.as_mut().unwrap().pinned_revision = 3;
    assert!(progress().blockers(&[pinned]).is_empty());
}

#[test]
fn a_change_that_another_one_replaced_has_not_come_through() {
    let newest = |n| Some(v1::RevisionRef { n, ..Default::default() });
    let mut progress = progress();
    let begun = v1::WatchRolloutResponse { newest: newest(4), ..message(RolloutPhase::Progressing, 1, false) };
    assert_eq!(progress.take(begun).1, None);
    let leaves = v1::WatchRolloutResponse { newest: newest(5), ..message(RolloutPhase::Reverting, 1, true) };
    let (line, end) = progress.take(leaves);
    assert_eq!((line.unwrap().line.as_str(), end), ("going back to revision 3", None));
    let mut next = v1::WatchRolloutResponse { newest: newest(5), ..message(RolloutPhase::Completed, 3, false) };
    let rollout = next.rollout.as_mut().unwrap();
    rollout.to = newest(5);
    let outcome = v1::RevisionOutcome { n: 4, ..Default::default() };
    rollout.outcomes = vec![v1::RevisionOutcome { end: v1::RevisionEnd::Superseded.into(), ..outcome }];
    let Some(End::Failed(told)) = progress.take(next).1 else { panic!("5 completed, and 4 did not") };
    assert!(told.starts_with("revision 4 of pool/edge was overtaken before every node ran it"), "{told}");
}
