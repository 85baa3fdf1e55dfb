//! The roll call: asks the Agents of nodes that etcd does not vouch for whether they live.
//!
//! Run by the app as a task of every control, so that the view of any of them tells the same. It asks about those that
//! vanished and those whose record is older than etcd's last start, once soon and then again and again; it also has the
//! view forget them in time. It decides nothing: what it hears is put down in the view.

use std::time::Duration;

use echo_proto::ids::{NodeId, PoolName};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::agents::{Agents, IN_FLIGHT};
use crate::fleet::{Answer, Node, Presence};
use crate::stop::Stop;
use crate::view::{State, Verdict, View};

/// How often it looks whether somebody is to be asked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A record that went away is waited for so long: who was only started again has a new one by then.
const SETTLE: Duration = Duration::from_millis(800);
/// How often those are asked again that were asked already.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// Whom to ask, and about which record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    pool: PoolName,
    node: NodeId,
    mod_revision: i64,
    incarnation: String,
    address: String,
}

/// Calls until `stop`.
pub(crate) async fn run(view: View, mut stop: Stop) {
    // Not those of the API: neither must keep the other waiting.
    let agents = Agents::default();
    tokio::select! {
        () = view.until(|state| state.synced) => {}
        () = stop.wait() => return,
    }
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut everybody = Instant::now();
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.wait() => return,
        }
        let now = Instant::now();
        view.sweep(now);
        let again = now >= everybody;
        for questions in view.read(|state| questions(state, now, again)).chunks(IN_FLIGHT) {
            tokio::select! {
                verdicts = ask(&agents, questions) => view.judge(verdicts),
                () = stop.wait() => return,
            }
        }
        view.called();
        if again {
            everybody = Instant::now() + ASK_EVERY;
        }
    }
}

/// Those to ask at `now`; `again`: also those that were asked before.
fn questions(state: &State, now: Instant, again: bool) -> Vec<Question> {
    let due = |node: &Node| match node.presence {
        Presence::Doubtful { silent, .. } => again || !silent,
        Presence::Vanished { since, answers, .. } => {
            (again || answers.is_none()) && now.saturating_duration_since(since) >= SETTLE
        }
        Presence::Sure | Presence::Left => false,
    };
    let nodes = state.pools.iter().flat_map(|(pool, known)| known.fleet.iter().map(move |node| (pool, node)));
    let question = |(pool, node): (&PoolName, &std::sync::Arc<Node>)| Question {
        pool: pool.clone(),
        node: node.id.clone(),
        mod_revision: node.record.mod_revision,
        incarnation: node.status.incarnation.clone(),
        address: node.status.agent_address.clone(),
    };
    nodes.filter(|(_, node)| due(node)).map(question).collect()
}

/// Asks all of them at once.
async fn ask(agents: &Agents, questions: &[Question]) -> Vec<Verdict> {
    let mut asked = JoinSet::new();
    for question in questions.iter().cloned() {
        let agents = agents.clone();
        asked.spawn(async move {
            let told = agents.ask(&question.address).await.and_then(|answer| answer.node?.status);
            let answer = match told.filter(|status| status.incarnation == question.incarnation) {
                Some(status) => Answer::Alive(Box::new(echo_proto::v1::NodeStatus { live: None, ..status })),
                None => Answer::Silent,
            };
            let Question { pool, node, mod_revision, .. } = question;
            Verdict { pool, node, mod_revision, answer }
        });
    }
    let mut verdicts = Vec::new();
    while let Some(verdict) = asked.join_next().await {
        verdicts.extend(verdict);
    }
    verdicts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Delta, Entry, StoreError, Update};

    const KEY: &str = "/echo/v1/test/nodes/edge/node-1";

    fn view() -> View {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let value = br#"{"status":{"incarnation":"i","agentAddress":"127.0.0.1:1"}}"#.to_vec();
        let entry = Entry { key: KEY.into(), value, mod_revision: 3, create_revision: 3, version: 1 };
        view.apply(Update::Reset(Vec::new()), 2);
        view.apply(Update::Changes(vec![Delta::Put(entry)]), 3);
        view
    }

    fn asked(view: &View, after: Duration, again: bool) -> usize {
        view.read(|state| questions(state, Instant::now() + after, again).len())
    }

    #[tokio::test]
    async fn the_vanished_are_asked_once_soon_and_then_now_and_again() {
        let view = view();
        assert_eq!(asked(&view, SETTLE, true), 0, "its record tells all");
        view.apply(Update::Changes(vec![Delta::Gone(KEY.into())]), 4);
        assert_eq!(asked(&view, Duration::ZERO, true), 0, "it may only be starting again");
        assert_eq!(asked(&view, SETTLE, false), 1);
        let questions = view.read(|state| questions(state, Instant::now() + SETTLE, false));
        view.judge(ask(&Agents::default(), &questions).await);
        assert_eq!((asked(&view, SETTLE, false), asked(&view, SETTLE, true)), (0, 1));
    }

    #[tokio::test]
    async fn the_first_call_is_over_when_all_that_were_there_were_asked() {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let (trigger, stop) = crate::stop::stop();
        let call = tokio::spawn(run(view.clone(), stop));
        let value = br#"{"status":{"incarnation":"i","agentAddress":"127.0.0.1:1"}}"#.to_vec();
        let entry = Entry { key: KEY.into(), value, mod_revision: 3, create_revision: 3, version: 1 };
        assert!(!view.read(|state| state.called), "nothing is known yet");
        view.apply(Update::Reset(vec![entry]), 3);
        view.until(|state| state.called).await;
        let lost = |state: &State| {
            state
                .pools
                .values()
                .flat_map(|pool| pool.fleet.live())
                .all(|n| n.doubt() == Some(echo_proto::v1::SyncState::Lost))
        };
        assert!(view.read(lost), "it was asked before that");
        trigger.set();
        call.await.unwrap();
    }

    #[test]
    fn all_are_asked_when_etcd_comes_back() {
        let view = view();
        view.apply(Update::Away { error: StoreError::Compacted, since: Instant::now() }, 3);
        assert_eq!(asked(&view, Duration::ZERO, true), 0, "nothing is known yet");
        view.apply(Update::Changes(Vec::new()), 3);
        assert_eq!(asked(&view, Duration::ZERO, false), 1);
    }
}
