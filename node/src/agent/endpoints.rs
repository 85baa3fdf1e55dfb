//! Which member of etcd a session talks to.
//!
//! Used by the session: it stays with one member and moves on after a loss. Balancing single calls over all members would
//! break every session as soon as one member is down.

use echo_proto::backoff::random_below;

/// The members, in a circle; never empty.
#[derive(Debug, Clone)]
pub struct Endpoints {
    current: String,
    others: Vec<String>,
}

impl Endpoints {
    /// Starts at a random member, so that a fleet spreads over all. Without any, the one of etcd's own default.
    pub fn new(mut members: Vec<String>) -> Self {
        let first = random_below(members.len());
        members.rotate_left(first);
        let mut members = members.into_iter();
        let current = members.next().unwrap_or_else(|| "http://127.0.0.1:2379".to_owned());
        Self { current, others: members.collect() }
    }

    /// The member to talk to.
    pub fn current(&self) -> &str {
        &self.current
    }

    /// Moves on to the next one.
    pub fn advance(&mut self) {
        if let Some(first) = self.others.first_mut() {
            std::mem::swap(first, &mut self.current);
            self.others.rotate_left(1);
        }
    }

    /// The command that shows whether etcd is well.
    pub fn hint(&self) -> String {
        let all: Vec<_> = std::iter::once(&self.current).chain(&self.others).map(String::as_str).collect();
        format!("is it running? try `etcdctl --endpoints {} endpoint health`", all.join(","))
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
            .map(|_| {
                endpoints.advance();
                endpoints.current().to_owned()
            })
            .collect();
        seen.sort();
        assert_eq!(seen, members);
        let mut alone = Endpoints::new(vec!["http://a:1".into()]);
        alone.advance();
        assert_eq!(alone.current(), "http://a:1");
        assert_eq!(alone.hint(), "is it running? try `etcdctl --endpoints http://a:1 endpoint health`");
    }
}
