//! Which member of etcd a session talks to, and how long it waits before it tries the next one.
//!
//! Used by the session: it stays with one member and moves on after a loss. Balancing single calls over all members would
//! break every session as soon as one member is down. The fleet of a lost member must not fall upon the next one together:
//! no try is without a wait that is partly random, and each node goes on to a member of its own choice.

use std::sync::Arc;
use std::time::Duration;

use echo_proto::backoff::{Backoff, random_below};

use super::etcd::{Etcd, EtcdError, RETRY, Refusal};
use super::patience::Patience;

/// A session that was registered for so long was a good one: the next loss is tried from the first wait again.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// Longest wait before the next member is tried, which may well be there; half of it is random.
const FAIL_OVER: Duration = Duration::from_millis(500);

/// Where a session that ended may go better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nowhere else.
    Here,
    /// At another member: this one is lost.
    Elsewhere,
    /// At another member, or later: this one is overloaded, or does not answer.
    Later,
}

/// The members; never empty.
#[derive(Clone)]
pub struct Endpoints {
    current: String,
    /// Those whose turn is still to come.
    waiting: Vec<String>,
    /// Those that had their turn.
    left: Vec<String>,
    /// For when all had it, or no other member can help.
    backoff: Backoff,
    fail_over: Backoff,
    /// For when all had it, and are overloaded.
    crowd: Backoff,
    /// With all members.
    patience: Arc<Patience>,
    /// A connection that others use, too.
    shared: Option<Etcd>,
}

impl Endpoints {
    /// Starts at a random member, so that a fleet spreads over all. Without any, the one of etcd's own default.
    pub fn new(members: Vec<String>) -> Self {
        let mut waiting = members;
        let current = pick(&mut waiting).unwrap_or_else(|| "http://127.0.0.1:2379".to_owned());
        let (backoff, fail_over) = (Backoff::new(RETRY.0, RETRY.1), Backoff::new(FAIL_OVER, FAIL_OVER));
        Self {
            current,
            waiting,
            left: Vec::new(),
            backoff,
            fail_over,
            crowd: Patience::default().crowd(),
            patience: Arc::default(),
            shared: None,
        }
    }

    /// A single member, over a connection that the sessions of many nodes of one process share.
    pub fn shared(etcd: Etcd) -> Self {
        Self { shared: Some(etcd.clone()), ..Self::new(vec![etcd.endpoint().to_owned()]) }
    }

    /// The same, for a node of this patience.
    pub fn with(self, patience: Patience) -> Self {
        Self { crowd: patience.crowd(), patience: Arc::new(patience), ..self }
    }

    /// A connection to the current member: a new one, unless it is shared.
    ///
    /// # Errors
    /// The endpoint is no URL.
    pub async fn connect(&self) -> Result<Etcd, EtcdError> {
        let etcd = match &self.shared {
            Some(shared) => shared.clone(),
            None => Etcd::connect(&self.current).await?,
        };
        Ok(etcd.with(Arc::clone(&self.patience)))
    }

    /// Notes the end of a session that was registered for so long, and where it may go better; returns how long to wait
    /// before the next one.
    pub fn lost(&mut self, remedy: Remedy, registered: Duration) -> Duration {
        if registered >= GOOD_SESSION {
            self.backoff.reset();
            self.crowd.reset();
        }
        match remedy {
            Remedy::Elsewhere | Remedy::Later if !self.advance() => self.fail_over.next_wait(),
            Remedy::Later => {
                self.patience.came_apart();
                self.crowd.next_wait()
            }
            Remedy::Here | Remedy::Elsewhere => self.backoff.next_wait(),
        }
    }

    /// Moves on to another member; whether every member has had its turn.
    fn advance(&mut self) -> bool {
        let all = self.waiting.is_empty();
        if all {
            self.waiting = std::mem::take(&mut self.left);
        }
        if let Some(next) = pick(&mut self.waiting) {
            let before = std::mem::replace(&mut self.current, next);
            if all { self.waiting.push(before) } else { self.left.push(before) }
        }
        all
    }

    /// What to try.
    pub fn hint(&self, refusal: Option<Refusal>) -> String {
        let others = self.waiting.iter().chain(&self.left);
        let all: Vec<_> = std::iter::once(&self.current).chain(others).map(String::as_str).collect();
        let etcdctl = format!("etcdctl --endpoints {}", all.join(","));
        match refusal {
            None => format!("is it running? try `{etcdctl} endpoint health`"),
            Some(Refusal::NoSpace) => format!("compact and defragment it, then `{etcdctl} alarm disarm`"),
            Some(Refusal::Busy | Refusal::Slow) => format!("it is overloaded; try `{etcdctl} endpoint status`"),
        }
    }
}

/// Takes one of them, by chance.
fn pick(members: &mut Vec<String>) -> Option<String> {
    let chosen = random_below(members.len());
    (chosen < members.len()).then(|| members.swap_remove(chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<String> {
        ["http://a:1", "http://b:1", "http://c:1"].map(str::to_owned).into()
    }

    #[test]
    fn every_member_has_its_turn_and_then_all_have_it_again() {
        let mut endpoints = Endpoints::new(members());
        for _ in 0..5 {
            let mut seen: Vec<_> = (0..3)
                .map(|turn| {
                    let member = endpoints.current.clone();
                    assert_eq!(endpoints.advance(), turn == 2, "the third was the last");
                    assert_ne!(endpoints.current, member);
                    member
                })
                .collect();
            seen.sort();
            assert_eq!(seen, members());
        }
        let mut alone = Endpoints::new(vec!["http://a:1".into()]);
        assert!(alone.advance());
        assert_eq!(alone.current, "http://a:1");
        assert_eq!(alone.hint(None), "is it running? try `etcdctl --endpoints http://a:1 endpoint health`");
    }

    #[test]
    fn nodes_of_a_lost_member_go_to_others_each_after_a_wait_of_its_own() {
        let (mut next, mut waits) = (std::collections::HashSet::new(), std::collections::HashSet::new());
        for _ in 0..100 {
            let mut endpoints = Endpoints::new(members());
            while endpoints.current != "http://b:1" {
                endpoints.advance();
            }
            (endpoints.waiting, endpoints.left) = (vec!["http://a:1".into(), "http://c:1".into()], Vec::new());
            let wait = endpoints.lost(Remedy::Elsewhere, GOOD_SESSION);
            assert!(wait >= FAIL_OVER / 2 && wait <= FAIL_OVER, "{wait:?}");
            waits.insert(wait);
            next.insert(endpoints.current.clone());
        }
        assert_eq!(next.len(), 2, "{next:?}");
        assert!(waits.len() > 1);
    }

    #[test]
    fn what_no_other_member_can_mend_is_tried_again_at_this_one() {
        let mut endpoints = Endpoints::new(members());
        let member = endpoints.current.clone();
        assert!(endpoints.lost(Remedy::Here, Duration::ZERO) >= RETRY.0 / 2);
        assert!(endpoints.lost(Remedy::Here, Duration::ZERO) >= RETRY.0, "each wait is longer");
        assert!(endpoints.lost(Remedy::Here, GOOD_SESSION) <= RETRY.0, "until a session was a good one");
        assert_eq!(endpoints.current, member);
    }
}
