//! Which member of etcd a session talks to.
//!
//! Used by the session: it stays with one member and moves on after a loss. Balancing single calls over all members would
//! break every session as soon as one member is down.

use echo_proto::backoff::random_below;

use super::etcd::Refusal;

/// The members, in a circle; never empty.
#[derive(Debug, Clone)]
pub struct Endpoints {
    current: String,
    others: Vec<String>,
    /// How many were moved on from since the last turn of all.
    left: usize,
}

impl Endpoints {
    /// Starts at a random member, so that a fleet spreads over all. Without any, the one of etcd's own default.
    pub fn new(mut members: Vec<String>) -> Self {
        let first = random_below(members.len());
        members.rotate_left(first);
        let mut members = members.into_iter();
        let current = members.next().unwrap_or_else(|| "http://127.0.0.1:2379".to_owned());
        Self { current, others: members.collect(), left: 0 }
    }

    /// The member to talk to.
    pub fn current(&self) -> &str {
        &self.current
    }

    /// Moves on to the next one; whether every member has had its turn.
    pub fn advance(&mut self) -> bool {
        self.left = (self.left + 1) % (self.others.len() + 1);
        if let Some(first) = self.others.first_mut() {
            std::mem::swap(first, &mut self.current);
            self.others.rotate_left(1);
        }
        self.left == 0
    }

    /// What to try.
    pub fn hint(&self, refusal: Option<Refusal>) -> String {
        let all: Vec<_> = std::iter::once(&self.current).chain(&self.others).map(String::as_str).collect();
        let etcdctl = format!("etcdctl --endpoints {}", all.join(","));
        match refusal {
            None => format!("is it running? try `{etcdctl} endpoint health`"),
            Some(Refusal::NoSpace) => format!("compact and defragment it, then `{etcdctl} alarm disarm`"),
            Some(Refusal::Busy) => format!("it is overloaded; try `{etcdctl} endpoint status`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_its_turn() {
        let members: Vec<String> = ["http://a:1", "http://b:1", "http://c:1"].map(str::to_owned).into();
        let mut endpoints = Endpoints::new(members.clone());
        let mut seen: Vec<_> = (0..3)
            .map(|turn| {
                assert_eq!(endpoints.advance(), turn == 2, "the third was the last");
                endpoints.current().to_owned()
            })
            .collect();
        seen.sort();
        assert_eq!(seen, members);
        let mut alone = Endpoints::new(vec!["http://a:1".into()]);
        assert!(alone.advance());
        assert_eq!(alone.current(), "http://a:1");
        assert_eq!(alone.hint(None), "is it running? try `etcdctl --endpoints http://a:1 endpoint health`");
    }
}
