//! What a wish for one node becomes: stored, not needed, or refused.
//!
//! Called by the API with the intent that is stored. There is one intent a node: a stronger one replaces a weaker one,
//! and a weaker one never takes the place of a stronger one unasked. Pure.

use echo_proto::v1::{Intent, IntentKind, NodeStatus};

/// What to store in place of `stored`; `None`: it says so already.
///
/// # Errors
/// Why not, with what can be done instead.
pub fn set(node: &str, incarnation: &str, stored: Option<&Intent>, wanted: Intent) -> Result<Option<Intent>, String> {
    let wanted = Intent { cordoned_by: cordon_under(stored, &wanted), ..wanted };
    let Some(stored) = stored.filter(|stored| is_for(stored, incarnation)) else { return Ok(Some(wanted)) };
    let author = &stored.author;
    match (stored.kind(), wanted.kind()) {
        (held, asked) if rank(held) > rank(asked) => Err(match held {
            IntentKind::Retire => format!("node/{node} is retired by {author}: it drains, and its process ends"),
            _ => format!("node/{node} is drained by {author}; `echoctl undrain {node}` takes that back"),
        }),
        (held, asked) if held == asked && says_no_more(stored, &wanted) => Ok(None),
        _ => Ok(Some(wanted)),
    }
}

/// Who had cordoned a node that is now to be drained.
fn cordon_under(stored: Option<&Intent>, wanted: &Intent) -> String {
    let of_drain = stored.filter(|_| wanted.kind() == IntentKind::Drain);
    let author = of_drain.map(|stored| match stored.kind() {
        IntentKind::Cordon => stored.author.clone(),
        _ => stored.cordoned_by.clone(),
    });
    author.unwrap_or_default()
}

/// What takes a wish back.
#[derive(Debug, Clone, PartialEq)]
pub enum Clear {
    /// There is nothing to take back.
    Nothing,
    /// Its intent goes.
    Delete,
    /// Another intent takes its place.
    Put(Intent),
}

/// How the wish for `asked` is taken back, where `stored` is the intent and `status` what the node says.
///
/// # Errors
/// Something else holds.
pub fn clear(node: &str, stored: Option<&Intent>, status: &NodeStatus, asked: IntentKind) -> Result<Clear, String> {
    let author = stored.map_or("", |stored| stored.author.as_str());
    match stored.map_or(IntentKind::Unspecified, Intent::kind) {
        held if held == asked => Ok(stored.and_then(beneath).map_or(Clear::Delete, Clear::Put)),
        IntentKind::Cordon => Err(format!(
            "node/{node} is not drained but cordoned by {author}; `echoctl uncordon {node}` takes that back"
        )),
        IntentKind::Drain => Err(format!(
            "node/{node} is not just cordoned but drained by {author}; `echoctl undrain {node}` takes that back"
        )),
        IntentKind::Retire => Err(format!("node/{node} is retired by {author}; that can't be taken back")),
        IntentKind::Serve => Ok(Clear::Nothing),
        // What etcd has lost, the node may still carry out.
        IntentKind::Unspecified if stored.is_none() && carries_out(status, asked) => {
            Ok(Clear::Put(Intent { kind: IntentKind::Serve.into(), ..Intent::default() }))
        }
        // None, or of a newer version, which is not ours to overwrite.
        IntentKind::Unspecified => Ok(Clear::Nothing),
    }
}

/// Whether a node does what an intent of this kind asks, by its own record. A drain after which the process ends is no
/// operator's to take back.
pub fn carries_out(status: &NodeStatus, kind: IntentKind) -> bool {
    match kind {
        IntentKind::Cordon => !status.cordoned_by.is_empty(),
        IntentKind::Drain => status.drain.as_ref().is_some_and(|drain| !drain.exits),
        IntentKind::Retire | IntentKind::Serve | IntentKind::Unspecified => false,
    }
}

/// What holds again once `stored` is taken back: the cordon of before a drain.
fn beneath(stored: &Intent) -> Option<Intent> {
    let author = Some(&stored.cordoned_by).filter(|author| !author.is_empty())?.clone();
    Some(Intent { kind: IntentKind::Cordon.into(), author, create_time: stored.create_time, ..Default::default() })
}

/// A retirement is for one life of the node; that of an earlier life holds no more.
fn is_for(intent: &Intent, incarnation: &str) -> bool {
    intent.incarnation.is_empty() || intent.incarnation == incarnation
}

/// Whether a wish adds nothing to the one of its kind that holds: who asks again without figures keeps the earlier ones.
fn says_no_more(stored: &Intent, wanted: &Intent) -> bool {
    let same_deadline = wanted.deadline.is_none() || wanted.deadline == stored.deadline;
    stored.force || (same_deadline && !wanted.force)
}

fn rank(kind: IntentKind) -> u8 {
    match kind {
        IntentKind::Unspecified | IntentKind::Serve => 0,
        IntentKind::Cordon => 1,
        IntentKind::Drain => 2,
        IntentKind::Retire => 3,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use echo_proto::v1::DrainStatus;

    use IntentKind::{Cordon, Drain, Retire, Serve};

    fn intent(kind: IntentKind) -> Intent {
        let incarnation = if kind == Retire { "i" } else { "" };
        Intent { kind: kind.into(), author: "ann".into(), incarnation: incarnation.into(), ..Default::default() }
    }

    fn after(seconds: i64, force: bool) -> Intent {
        let deadline = Some(prost_types::Duration { seconds, nanos: 0 });
        Intent { deadline, force, ..intent(Drain) }
    }

    #[test]
    fn a_stronger_wish_replaces_a_weaker_one_and_never_the_reverse() {
        for wanted in [Cordon, Drain, Retire] {
            assert!(set("n", "i", None, intent(wanted)).unwrap().is_some());
            for held in [Cordon, Drain, Retire] {
                let found = set("n", "i", Some(&intent(held)), intent(wanted));
                match rank(held).cmp(&rank(wanted)) {
                    std::cmp::Ordering::Less => assert!(found.unwrap().is_some(), "{held:?} {wanted:?}"),
                    std::cmp::Ordering::Equal => assert_eq!(found, Ok(None)),
                    std::cmp::Ordering::Greater => {
                        assert!(found.unwrap_err().contains("by ann"), "{held:?} {wanted:?}")
                    }
                }
            }
        }
    }

    #[test]
    fn a_retirement_is_for_one_life() {
        assert!(set("n", "later", Some(&intent(Retire)), intent(Cordon)).unwrap().is_some());
    }

    #[test]
    fn a_drain_that_is_asked_for_again_keeps_its_deadline_unless_another_is_named() {
        let set = |stored: &Intent, wanted: Intent| set("n", "i", Some(stored), wanted).unwrap().is_some();
        assert!(!set(&after(30, false), intent(Drain)));
        assert!(!set(&after(30, false), after(30, false)));
        assert!(set(&after(30, false), after(5, false)));
        assert!(set(&after(30, false), Intent { force: true, ..intent(Drain) }));
        assert!(!set(&after(30, true), after(5, false)), "what was forced can't be slowed");
    }

    #[test]
    fn a_drain_taken_back_leaves_the_cordon_of_before() {
        let drained = set("n", "i", Some(&intent(Cordon)), intent(Drain)).unwrap().unwrap();
        let forced = set("n", "i", Some(&drained), Intent { force: true, ..intent(Drain) }).unwrap().unwrap();
        for drain in [drained, forced] {
            let left = beneath(&Intent { author: "bob".into(), ..drain }).unwrap();
            assert_eq!((left.kind(), left.author.as_str()), (Cordon, "ann"));
            assert_eq!(beneath(&left), None, "and then nothing");
        }
        assert_eq!(beneath(&set("n", "i", None, intent(Drain)).unwrap().unwrap()), None);
        assert!(set("n", "i", Some(&intent(Cordon)), intent(Retire)).unwrap().unwrap().cordoned_by.is_empty());
    }

    #[test]
    fn only_what_holds_is_taken_back() {
        let clear =
            |stored: Option<IntentKind>, asked| clear("n", stored.map(intent).as_ref(), &NodeStatus::default(), asked);
        assert_eq!(clear(None, Drain), Ok(Clear::Nothing));
        assert_eq!(clear(Some(Drain), Drain), Ok(Clear::Delete));
        assert!(clear(Some(Drain), Cordon).unwrap_err().contains("echoctl undrain n"));
        assert!(clear(Some(Cordon), Drain).unwrap_err().contains("echoctl uncordon n"));
        assert!(clear(Some(Retire), Drain).is_err());
    }

    #[test]
    fn what_etcd_has_lost_is_taken_back_where_the_node_still_carries_it_out() {
        let drained =
            |exits| NodeStatus { drain: Some(DrainStatus { exits, ..Default::default() }), ..Default::default() };
        let cordoned = NodeStatus { cordoned_by: "ann".into(), ..Default::default() };
        let clear = |status: &NodeStatus, asked| clear("n", None, status, asked).unwrap();
        let serve = Clear::Put(Intent { kind: Serve.into(), ..Default::default() });
        assert_eq!((clear(&drained(false), Drain), clear(&cordoned, Cordon)), (serve.clone(), serve));
        for (status, asked) in [(drained(true), Drain), (drained(false), Cordon), (cordoned, Drain)] {
            assert_eq!(clear(&status, asked), Clear::Nothing);
        }
        let told = super::clear("n", Some(&intent(Serve)), &drained(false), Drain);
        assert_eq!(told, Ok(Clear::Nothing), "it is on its way");
        assert!(set("n", "i", Some(&intent(Serve)), intent(Cordon)).unwrap().is_some());
    }
}
