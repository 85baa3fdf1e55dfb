//! The bytes of `assignments/<pool>` -> what this node is offered.
//!
//! Called by the applier for every new value. The wrapper is read leniently, so that a newer control can add to it; the
//! config is read strictly: a node must not ack what it did not understand. Pure; garbage is an error, never a panic.

use std::sync::Arc;

use echo_proto::codec::{self, FieldError, FieldErrors, Strictness};
use echo_proto::ids::{Digest, NodeId, Place};
use echo_proto::spec::{self, Plan};
use echo_proto::v1;

/// Longest cause that is put into the node's record, in bytes: etcd carries it to every watcher.
const MAX_CAUSE_BYTES: usize = 1024;

/// What the leader assigned, as far as it concerns one node.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Rollout that wrote it.
    pub rollout: u32,
    /// What every node falls back to.
    pub stable: Offer,
    /// What this node is asked to run instead, by the rollout or because it is pinned; `None` when it is not, though
    /// others may be.
    pub next: Option<Offer>,
    /// Whether it is pinned, whatever to: that outlives rollouts.
    pub pinned: bool,
    /// The change that wrote it.
    pub trace: Option<v1::TraceContext>,
}

/// One revision, ready to be applied, or the reason why it can't be.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Which.
    pub revision: v1::RevisionRef,
    /// As it was assigned.
    pub config: v1::PoolTemplate,
    /// The valid plan, or what is wrong with the config.
    pub plan: Result<Arc<Plan>, String>,
}

impl Assignment {
    /// Reads the value of the key, for `node`, which read another one `before`: a config that stood there as well is not
    /// checked again, as most changes are for other nodes.
    ///
    /// # Errors
    /// It is no assignment at all. A config that is wrong is not an error here: its [`Offer`] says so.
    pub fn read(json: &[u8], node: &NodeId, before: Option<&Self>) -> Result<Self, FieldErrors> {
        let decoded = codec::decode_json::<v1::Assignment>(json, Strictness::Apart);
        let assignment = decoded.message;
        let (mut strict, mut errors): (Vec<_>, Vec<_>) = decoded.errors.into_iter().partition(|e| in_config(&e.path));
        strict.extend(decoded.unknown);
        // An absent field is a mistake of its own only where nothing else is wrong.
        if errors.is_empty() {
            let required = [("uid", assignment.uid.is_empty()), ("stable", assignment.stable.is_none())];
            errors.extend(required.iter().filter(|(_, absent)| *absent).map(|(f, _)| FieldError::new(*f, "required")));
        }
        let (Some(stable), true) = (assignment.stable.clone(), errors.is_empty()) else {
            return Err(FieldErrors(errors));
        };
        let offer =
            |name: &str, assigned: v1::AssignedRevision| offer(name, &assignment.uid, assigned, &strict, before);
        let place = Place::of(&assignment, node);
        let next = match place {
            Place::Stable => None,
            Place::Next => place.revision(&assignment).cloned().map(|assigned| offer("next", assigned)),
            Place::Pinned(index) => {
                place.revision(&assignment).cloned().map(|assigned| offer(&format!("pinned[{index}]"), assigned))
            }
            Place::Missing(n) => Some(missing(&assignment.uid, n)),
        };
        let pinned = assignment.pins.iter().any(|pin| pin.node == node.as_str());
        let stable = offer("stable", stable);
        Ok(Self { rollout: assignment.rollout, stable, next, pinned, trace: assignment.trace })
    }
}

/// Whether a mistake lies in one of the configs.
fn in_config(path: &str) -> bool {
    let pinned = || path.strip_prefix("pinned[").and_then(|rest| rest.split_once(']'));
    let pinned = || pinned().is_some_and(|(_, rest)| config_path("", rest).is_some());
    ["stable", "next"].iter().any(|name| config_path(name, path).is_some()) || pinned()
}

/// A pin to what the assignment does not hold.
fn missing(uid: &str, n: u32) -> Offer {
    let revision = v1::RevisionRef { uid: uid.to_owned(), n, ..Default::default() };
    let cause = "the node is pinned to this revision, but the assignment does not hold it; pin it again".to_owned();
    Offer { revision, config: v1::PoolTemplate::default(), plan: Err(cause) }
}

/// The part of `path` below the config of the revision `name`.
fn config_path<'a>(name: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(name)?.strip_prefix(".config")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

fn offer(
    name: &str,
    uid: &str,
    assigned: v1::AssignedRevision,
    errors: &[FieldError],
    before: Option<&Assignment>,
) -> Offer {
    let v1::AssignedRevision { n, digest, config } = assigned;
    let found = errors.iter().filter_map(|e| Some(FieldError::new(config_path(name, &e.path)?, e.cause.clone())));
    let found: Vec<_> = found.collect();
    let config = config.unwrap_or_default();
    let offers = before.into_iter().flat_map(|before| [Some(&before.stable), before.next.as_ref()]).flatten();
    let same = offers.filter(|old| found.is_empty() && old.revision.digest == digest && old.config == config);
    let known = same.filter_map(|old| old.plan.as_ref().ok()).next();
    let plan = known.map_or_else(|| plan(found, &digest, &config), |known| Ok(Arc::clone(known)));
    Offer { revision: v1::RevisionRef { uid: uid.to_owned(), n, digest }, config, plan }
}

fn plan(mistakes: Vec<FieldError>, digest: &str, config: &v1::PoolTemplate) -> Result<Arc<Plan>, String> {
    if !mistakes.is_empty() {
        return Err(cause(&FieldErrors(mistakes)));
    }
    let found = Digest::of(config);
    if found.as_str() != digest {
        return Err(cause(&format!("digest: assigned {digest}, but the config has {found}")));
    }
    spec::check_template(config).map(Arc::new).map_err(|e| cause(&e))
}

fn cause(error: &impl ToString) -> String {
    cut(error.to_string())
}

/// Cuts a text to what a record may hold, at a character's border.
pub fn cut(mut text: String) -> String {
    const MARK: &str = " ...";
    if text.len() > MAX_CAUSE_BYTES {
        let end = (0..=MAX_CAUSE_BYTES - MARK.len()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"listeners":[{"name":"a","protocol":"PROTOCOL_TCP","port":7007,"service":{"echo":{}}}]}"#;

    fn digest(config: &str) -> String {
        let template = codec::from_json::<v1::PoolTemplate>(config.as_bytes(), Strictness::Lenient).unwrap();
        Digest::of(&template).to_string()
    }

    fn read(json: &str) -> Result<Assignment, FieldErrors> {
        Assignment::read(json.as_bytes(), &"node-1".parse().unwrap(), None)
    }

    fn revision(n: u32, config: &str) -> String {
        format!(r#"{{"n":{n},"digest":"{}","config":{config}}}"#, digest(config))
    }

    #[test]
    fn next_is_offered_only_to_whom_it_is_meant_for() {
        let (one, two) = (revision(1, CONFIG), revision(2, CONFIG));
        let assignment = |rest: &str| format!(r#"{{"uid":"u","rollout":3,"stable":{one},"next":{two}{rest}}}"#);
        let mine = read(&assignment(r#","picked":["node-1"]"#)).unwrap();
        assert_eq!((mine.rollout, mine.stable.revision.n, mine.next.unwrap().revision.n), (3, 1, 2));
        assert_eq!(mine.stable.plan.unwrap().listeners[0].port, 7007);
        assert!(read(&assignment(r#","picked":["node-2"]"#)).unwrap().next.is_none());
        assert!(read(&assignment(r#","cut":"18446744073709551615""#)).unwrap().next.is_some());
    }

    #[test]
    fn what_stood_there_before_is_not_checked_again() {
        let (one, two) = (revision(1, CONFIG), revision(2, &CONFIG.replace("7007", "7008")));
        let node = "node-1".parse().unwrap();
        let then = |json: &str, before| Assignment::read(json.as_bytes(), &node, Some(before)).unwrap();
        let first = read(&format!(r#"{{"uid":"u","stable":{one}}}"#)).unwrap();
        let second = then(&format!(r#"{{"uid":"u","stable":{one},"next":{two},"picked":["node-1"]}}"#), &first);
        assert!(Arc::ptr_eq(first.stable.plan.as_ref().unwrap(), second.stable.plan.as_ref().unwrap()));
        let third = then(&format!(r#"{{"uid":"u","stable":{two}}}"#), &second);
        assert!(Arc::ptr_eq(second.next.as_ref().unwrap().plan.as_ref().unwrap(), third.stable.plan.as_ref().unwrap()));
        let other = format!(r#"{{"uid":"u","stable":{}}}"#, two.replace("7008", "7009"));
        let cause = then(&other, &third).stable.plan.unwrap_err();
        assert!(cause.starts_with("digest: assigned"), "the digest alone says nothing: {cause}");
        let unknown = format!(r#"{{"uid":"u","stable":{}}}"#, two.replace(r#""port":7008"#, r#""port":7008,"prot":1"#));
        assert!(then(&unknown, &third).stable.plan.is_err(), "what it does not understand, it does not take for known");
    }

    #[test]
    fn a_newer_wrapper_is_read_but_a_newer_config_is_refused() {
        let config = CONFIG.replace(r#""port":7007"#, r#""port":7007,"prot":1"#);
        let json = format!(
            r#"{{"uid":"u","later":1,"stable":{},"next":{},"picked":["node-1"]}}"#,
            revision(1, CONFIG),
            revision(2, &config)
        );
        let assignment = read(&json).unwrap();
        assert!(assignment.stable.plan.is_ok());
        let cause = assignment.next.unwrap().plan.unwrap_err();
        assert_eq!(cause, "listeners[0].prot: unknown field; did you mean port?");
    }

    #[test]
    fn a_config_must_be_valid_and_the_one_that_was_meant() {
        let invalid = CONFIG.replace("7007", "70000");
        let cause = |json: String| read(&json).unwrap().stable.plan.unwrap_err();
        let json = format!(r#"{{"uid":"u","stable":{}}}"#, revision(1, &invalid));
        assert!(cause(json).starts_with("listeners[0].port: 70000 is not a port"));
        let json = format!(r#"{{"uid":"u","stable":{{"n":1,"digest":"abc","config":{CONFIG}}}}}"#);
        assert!(cause(json).starts_with("digest: assigned abc, but the config has "));
        let json = r#"{"uid":"u","stable":{"n":1,"config":{"listeners":"none"}}}"#.to_owned();
        assert_eq!(cause(json), "listeners: expected a list, got \"none\"");
    }

    #[test]
    fn a_pin_is_what_is_offered_whatever_the_rollout_says() {
        let damaged = CONFIG.replace(r#""port":7007"#, r#""prot":1"#);
        let json = |pin: u32| {
            let (stable, next) = (revision(3, CONFIG), revision(4, CONFIG));
            let (one, two) = (revision(1, CONFIG), revision(2, &damaged));
            let pins = format!(r#""pins":[{{"node":"node-1","n":{pin}}}],"pinned":[{one},{two}]"#);
            format!(r#"{{"uid":"u","stable":{stable},"next":{next},"cut":"18446744073709551615",{pins}}}"#)
        };
        let offered = |pin| read(&json(pin)).unwrap().next.map(|offer| (offer.revision.n, offer.plan.is_ok()));
        assert_eq!(offered(1), Some((1, true)));
        assert_eq!(offered(2), Some((2, false)), "a damaged one concerns nobody else");
        assert_eq!(offered(3), None, "it is stable");
        assert_eq!(offered(4), Some((4, true)));
        assert_eq!(offered(9), Some((9, false)), "nobody knows what it is");
    }

    #[test]
    fn garbage_is_an_error() {
        for json in ["", "{", "[]", "7", r#"{"uid":7}"#, r#"{"uid":"u"}"#, r#"{"stable":{"n":1}}"#, "\u{1}\u{2}"] {
            assert!(read(json).is_err(), "{json:?}");
        }
    }

    #[test]
    fn causes_are_cut_at_a_character() {
        let text = cut("é".repeat(1000));
        assert!(text.len() <= MAX_CAUSE_BYTES && text.ends_with("é ..."), "{}", text.len());
        assert_eq!(cut("short".into()), "short");
    }
}
