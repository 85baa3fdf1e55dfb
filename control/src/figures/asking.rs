//! The task that asks: rounds over what is wanted, a bounded number of Agents at a time.
//!
//! Run by the app. The rounds take turns with each Agent that they ask, so that one over ten thousand nodes does not
//! keep one over three waiting. It must never ask for whom nobody wishes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use echo_proto::ids::{NodeId, PoolName};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Duration, Instant, sleep_until};

use super::{Figures, Heard, KEEP_FOR, Known, Sample, User, Whom};
use crate::agents::{Agents, IN_FLIGHT, MAX_CHANNELS};
use crate::fleet::Node;
use crate::stop::Stop;
use crate::view::View;

/// From one question to the next of a round over more nodes than connections are kept: 200 a second, each with a
/// connection of its own, take about a tenth of a core. Such a round takes as long as it takes, 50 s over 10,000.
const PACE: Duration = Duration::from_millis(5);

/// One look at all nodes of a wish.
pub(super) struct Round {
    /// The wish.
    id: u64,
    pool: PoolName,
    user: User,
    began: Instant,
    /// Those that were not asked yet, with the addresses of their Agents.
    left: VecDeque<(NodeId, String)>,
    /// Those that have not answered yet.
    out: BTreeSet<Id>,
    /// Those that were waited for in vain.
    silent: usize,
    /// Nobody who was late is waited for again soon: a few are asked each time, as somebody waits for just these.
    many: bool,
    /// When its next question may be asked; `None`: at any time.
    paced: Option<Instant>,
}

/// Whom to ask.
struct Question {
    /// The wish.
    id: u64,
    pool: PoolName,
    node: NodeId,
    address: String,
    many: bool,
}

/// A node has answered, or was waited for long enough.
struct Answer {
    pool: PoolName,
    node: NodeId,
    at: Instant,
    /// Whether many were asked.
    many: bool,
    sample: Option<Sample>,
}

impl Figures {
    /// Asks until `stop`.
    pub async fn run(self, view: View, mut stop: Stop) {
        // Not those of the API: neither must keep the other waiting.
        let (agents, mut rounds, mut asked) = (Agents::default(), VecDeque::new(), JoinSet::new());
        loop {
            rounds.retain(|round| self.is_wanted(round));
            rounds.extend(self.begin(&view, Instant::now()));
            while asked.len() < IN_FLIGHT
                && let Some(question) = next(&mut rounds, Instant::now())
            {
                let id = question.id;
                let task = asked.spawn(ask(agents.clone(), question)).id();
                rounds.iter_mut().filter(|round| round.id == id).for_each(|round| round.out.extend([task]));
            }
            rounds.retain(|round| !round.is_over() || self.end(round));
            // Who waits for a place is woken by it.
            let waits = rounds.iter().filter(|_| asked.len() < IN_FLIGHT).filter_map(Round::waits);
            let due = self.due().into_iter().chain(waits).min();
            tokio::select! {
                Some(ended) = asked.join_next_with_id() => ended_in(&mut rounds, ended).into_iter().for_each(|a| self.put(a)),
                () = self.shared.changed.notified() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = stop.wait() => return,
            }
        }
    }

    /// Those rounds that are due.
    pub(super) fn begin(&self, view: &View, now: Instant) -> Vec<Round> {
        let mut known = self.known();
        let Known { wishes, heard, .. } = &mut *known;
        let due = wishes.iter_mut().filter(|(_, wish)| wish.due.is_some_and(|due| due <= now));
        let begun = due.map(|((pool, user), wish)| {
            wish.due = None;
            let mut left: VecDeque<_> = view.read(|state| {
                let fleet = state.pools.get(pool).map(|pool| &pool.fleet);
                match &wish.whom {
                    Whom::Pool => fleet.into_iter().flat_map(|fleet| fleet.live()).map(address).collect(),
                    Whom::Nodes(nodes) => {
                        let live = |id| fleet?.get(id).filter(|node| !node.has_vanished());
                        nodes.iter().filter_map(live).map(address).collect()
                    }
                }
            });
            // Who was asked long ago comes first, or one wish after the other would ask the same nodes.
            left.make_contiguous().sort_by_key(|(node, _)| Some(heard.get(pool)?.get(node)?.asked));
            let (many, paced) = (wish.whom == Whom::Pool, (left.len() > MAX_CHANNELS).then_some(now));
            Round {
                id: wish.id,
                pool: pool.clone(),
                user: *user,
                began: now,
                left,
                out: BTreeSet::new(),
                silent: 0,
                many,
                paced,
            }
        });
        begun.collect()
    }

    /// Puts down that a round is over; always `false`, as it is kept no more.
    fn end(&self, round: &Round) -> bool {
        let (mut known, now) = (self.known(), Instant::now());
        let wish = known.wishes.get_mut(&(round.pool.clone(), round.user)).filter(|wish| wish.id == round.id);
        // What nobody wants any more ends without a word.
        let Some(wish) = wish else { return false };
        wish.asked = Some(round.began);
        wish.silent = round.silent;
        let lasted = now.saturating_duration_since(round.began);
        // One that was paced has paused all along.
        let pause = if round.paced.is_some() { Duration::ZERO } else { wish.whom.pause(lasted) };
        wish.due = Some((round.began + wish.whom.every()).max(now + pause));
        if let Some(heard) = known.heard.get_mut(&round.pool) {
            let keep = KEEP_FOR.max(lasted * 2);
            heard.retain(|_, heard| {
                heard.sample.take_if(|sample| now.saturating_duration_since(sample.at) >= keep);
                now.saturating_duration_since(heard.asked) < keep
            });
        }
        drop(known);
        self.shared.rounds.send_modify(|rounds| *rounds += 1);
        false
    }

    fn put(&self, answer: Answer) {
        let (mut known, Answer { pool, node, at, many, sample }) = (self.known(), answer);
        if known.wishes.keys().any(|(wanted, _)| *wanted == pool) {
            let nodes = known.heard.entry(pool).or_default();
            // Who asks many passes over those that were late just before.
            nodes.entry(node).or_insert_with(|| Heard::of(at)).note(at, sample, !many);
        }
    }

    /// Whether its wish still stands; what was asked for another one ends by itself.
    pub(super) fn is_wanted(&self, round: &Round) -> bool {
        let known = self.known();
        known.wishes.get(&(round.pool.clone(), round.user)).is_some_and(|wish| wish.id == round.id)
    }

    /// When the next round begins.
    fn due(&self) -> Option<Instant> {
        self.known().wishes.values().filter_map(|wish| wish.due).min()
    }
}

impl Round {
    fn is_over(&self) -> bool {
        self.left.is_empty() && self.out.is_empty()
    }

    /// Until when it asks nobody, though somebody is left.
    fn waits(&self) -> Option<Instant> {
        self.paced.filter(|_| !self.left.is_empty())
    }

    /// A task has ended, maybe one of another round.
    fn take(&mut self, task: Id, answered: bool) {
        if self.out.remove(&task) {
            self.silent += usize::from(!answered);
        }
    }
}

/// Counts a task as ended in its round, also one that panicked: the round would never be over.
fn ended_in(rounds: &mut VecDeque<Round>, ended: Result<(Id, Answer), JoinError>) -> Option<Answer> {
    let (task, answer) = match ended {
        Ok((task, answer)) => (task, Some(answer)),
        Err(error) => {
            tracing::error!(%error, "asking a node for its figures failed");
            (error.id(), None)
        }
    };
    let answered = answer.as_ref().is_some_and(|answer| answer.sample.is_some());
    rounds.iter_mut().for_each(|round| round.take(task, answered));
    answer
}

fn address(node: &Arc<Node>) -> (NodeId, String) {
    (node.id.clone(), node.status.agent_address.clone())
}

/// Whom to ask at `now`: the rounds take turns.
fn next(rounds: &mut VecDeque<Round>, now: Instant) -> Option<Question> {
    let may = |round: &Round| !round.left.is_empty() && round.paced.is_none_or(|due| due <= now);
    let place = rounds.iter().position(may)?;
    rounds.rotate_left(place);
    let round = rounds.front_mut()?;
    round.paced = round.paced.map(|_| now + PACE);
    let (node, address) = round.left.pop_front()?;
    let question = Question { id: round.id, pool: round.pool.clone(), node, address, many: round.many };
    rounds.rotate_left(1);
    Some(question)
}

async fn ask(agents: Agents, question: Question) -> Answer {
    let (at, Question { pool, node, address, many, .. }) = (Instant::now(), question);
    let answer = if many { agents.ask_again(address).await } else { agents.ask(&address).await };
    let status = answer.and_then(|answer| answer.node?.status);
    let sample = status.and_then(|status| Some(Sample { at, incarnation: status.incarnation, live: status.live? }));
    Answer { pool, node, at, many, sample }
}

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_round_ends_though_a_question_panics() {
        let mut asked: JoinSet<Answer> = JoinSet::new();
        let out = BTreeSet::from([asked.spawn(async { panic!("on purpose") }).id()]);
        let (pool, left, began) = ("edge".parse().unwrap(), VecDeque::new(), Instant::now());
        let round = Round { id: 1, pool, user: User::Autoscaler, began, left, out, silent: 0, many: true, paced: None };
        let mut rounds = VecDeque::from([round]);
        assert!(!rounds[0].is_over());
        assert!(ended_in(&mut rounds, asked.join_next_with_id().await.unwrap()).is_none());
        assert_eq!((rounds[0].is_over(), rounds[0].silent), (true, 1));
    }
}
