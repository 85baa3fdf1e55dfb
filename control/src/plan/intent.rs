//! What a wish for one node becomes: stored, not needed, or refused.
//!
//! Called by the API with the intent that is stored. There is one intent a node: a stronger one replaces a weaker one,
//! and a weaker one never takes the place of a stronger one unasked. Pure.

use echo_proto::v1::{Intent, IntentKind};

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

/// What holds again once `stored` is taken back: the cordon of before a drain.
pub fn beneath(stored: &Intent) -> Option<Intent> {
    let author = Some(&stored.cordoned_by).filter(|author| !author.is_empty())?.clone();
    Some(Intent { kind: IntentKind::Cordon.into(), author, create_time: stored.create_time, ..Default::default() })
}

/// Whether there is something to take back.
///
/// # Errors
/// Something else holds.
pub fn clear(node: &str, stored: Option<&Intent>, asked: IntentKind) -> Result<bool, String> {
    let Some(stored) = stored else { return Ok(false) };
    let author = &stored.author;
    match stored.kind() {
        held if held == asked => Ok(true),
        IntentKind::Cordon => Err(format!(
            "node/{node} is not drained but cordoned by {author}; `echoctl uncordon {node}` takes that back"
        )),
        IntentKind::Drain => Err(format!(
            "node/{node} is not just cordoned but drained by {author}; `echoctl undrain {node}` takes that back"
        )),
        IntentKind::Retire => Err(format!("node/{node} is retired by {author}; that can't be taken back")),
        // A kind of a newer version: none of ours holds.
        IntentKind::Unspecified => Ok(false),
    }
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
        IntentKind::Unspecified => 0,
        IntentKind::Cordon => 1,
        IntentKind::Drain => 2,
        IntentKind::Retire => 3,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use IntentKind::{Cordon, Drain, Retire};

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
        assert_eq!(clear("n", None, Drain), Ok(false));
        assert_eq!(clear("n", Some(&intent(Drain)), Drain), Ok(true));
        assert!(clear("n", Some(&intent(Drain)), Cordon).unwrap_err().contains("echoctl undrain n"));
        assert!(clear("n", Some(&intent(Cordon)), Drain).unwrap_err().contains("echoctl uncordon n"));
        assert!(clear("n", Some(&intent(Retire)), Drain).is_err());
    }
}
