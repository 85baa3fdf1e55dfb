//! Tests of what is settled: what a term found and saw change, and what was seen before it.
#![allow(clippy::unwrap_used)]

use super::super::folder::Texts;
use super::*;

fn wanted(pools: &[(&str, u32)]) -> Wanted {
    let text = |(name, port): &(&str, u32)| {
        let text = format!(
            "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: {name}}}\nspec: {{template: {{listeners: \
             [{{name: a, protocol: TCP, port: {port}, service: {{echo: {{}}}}}}]}}}}\n"
        );
        (format!("{name}.yaml"), Ok(text))
    };
    let wanted = Wanted::of(&pools.iter().map(text).collect::<Texts>());
    assert_eq!(wanted.pools.len(), pools.len(), "{wanted:?}");
    wanted
}

/// These were applied, of others as well.
fn applied(pools: &[(&str, u32)]) -> FilesApplied {
    let owned = wanted(pools).pools.into_iter().map(|(name, pool)| (name, pool.digest)).collect();
    FilesApplied { any: true, owned }
}

const BEHIND: Duration = Duration::from_secs(60);

fn settled(sight: &Sight, name: &str, now: Instant) -> bool {
    sight.is_settled(&name.parse().unwrap(), now)
}

/// One that leads from the start of its process, a cluster that had files before.
fn leading(began: Instant) -> Sight {
    let mut sight = Sight::new(BEHIND);
    sight.applied(applied(&[]), began);
    sight.lead(began);
    sight
}

/// One that follows, and whose folder has what is applied.
fn following(pools: &[(&str, u32)], began: Instant) -> Sight {
    let mut sight = Sight::new(BEHIND);
    sight.applied(applied(pools), began);
    sight.see(&wanted(pools), began);
    sight
}

#[test]
fn what_a_term_found_at_first_settles_late_and_what_it_saw_change_at_once() {
    let began = Instant::now();
    let mut sight = leading(began);
    sight.see(&wanted(&[("stays", 1), ("changes", 1), ("goes", 1)]), began);
    let all = ["stays", "changes", "goes", "comes", "missing"];
    assert!(all.iter().all(|name| !settled(&sight, name, began)));
    sight.applied(applied(&[("goes", 9)]), began);
    sight.see(&wanted(&[("stays", 1), ("changes", 2), ("comes", 1)]), began);
    let now: Vec<&str> = all.into_iter().filter(|name| settled(&sight, name, began)).collect();
    assert_eq!(now, ["changes", "goes", "comes"]);
    // As it was at first again: that was seen as well.
    sight.see(&wanted(&[("stays", 1), ("changes", 1)]), began);
    assert!(settled(&sight, "changes", began) && !settled(&sight, "stays", began));
    assert_eq!(sight.settles(), Some(began + BEHIND));
    assert!(all.iter().all(|name| settled(&sight, name, began + BEHIND)));
}

#[test]
fn what_was_applied_last_and_the_first_files_of_a_cluster_are_settled() {
    let began = Instant::now();
    let mut sight = leading(began);
    sight.see(&wanted(&[("same", 1), ("other", 1)]), began);
    sight.confirm(&"same".parse().unwrap());
    assert!(settled(&sight, "same", began) && !settled(&sight, "other", began));

    let mut first = Sight::new(BEHIND);
    first.lead(began);
    first.see(&wanted(&[]), began);
    assert!(!settled(&first, "new", began));
    first.see(&wanted(&[("new", 1)]), began);
    first.applied(applied(&[]), began);
    first.see(&wanted(&[("new", 1)]), began);
    assert!(settled(&first, "new", began), "also when it is tried again and some of it was applied");
}

#[test]
fn a_folder_that_is_empty_for_a_while_has_lost_nothing() {
    let began = Instant::now();
    let late = began + BEHIND;
    let gone = |sight: &Sight, now| sight.is_gone(&"edge".parse().unwrap(), false, now);
    let mut sight = leading(began);
    sight.see(&wanted(&[("edge", 1)]), began);
    for _ in 0..2 {
        sight.see(&wanted(&[]), late);
    }
    let settles = sight.settles().unwrap();
    assert!(!gone(&sight, late) && settles == late + EMPTY && gone(&sight, settles));
    sight.see(&wanted(&[("edge", 1)]), late);
    assert_eq!(sight.settles(), Some(began + BEHIND));
    // Nor where it was empty before the term.
    let mut sight = following(&[("edge", 1)], began);
    sight.see(&wanted(&[]), began);
    sight.lead(late + EMPTY);
    sight.see(&wanted(&[]), late + EMPTY);
    assert!(!gone(&sight, late + EMPTY));
    // Not even where it had what was applied; of several files one is gone then.
    let edge = "edge".parse().unwrap();
    assert!(!sight.is_gone(&edge, true, late + EMPTY));
    sight.see(&wanted(&[("core", 1)]), late + EMPTY);
    assert!(sight.is_gone(&edge, true, late + EMPTY));
    // So it is when it is seen to go.
    let mut sight = following(&[("edge", 1), ("core", 1)], began);
    sight.see(&wanted(&[("core", 1)]), began);
    sight.lead(began);
    assert!(gone(&sight, began));
}

#[test]
fn what_a_follower_saw_change_is_settled_when_it_leads_and_nothing_else() {
    let began = Instant::now();
    let before = [("stays", 1), ("changes", 1), ("goes", 1), ("old", 1)];
    let mut sight = Sight::new(BEHIND);
    sight.applied(applied(&[("stays", 1), ("changes", 1), ("goes", 1), ("old", 2)]), began);
    sight.see(&wanted(&before), began);
    sight.see(&wanted(&[("stays", 1), ("changes", 2), ("old", 3), ("comes", 1)]), began);
    sight.lead(began);
    let all = ["changes", "goes", "comes", "old"];
    let now: Vec<&str> = all.into_iter().filter(|name| settled(&sight, name, began)).collect();
    assert_eq!(now, ["changes", "goes", "comes"], "it was behind before");
}

#[test]
fn what_another_applied_and_this_folder_has_not_is_newer() {
    let began = Instant::now();
    let mut sight = following(&[("edge", 1)], began);
    let lead = |sight: &mut Sight, now| {
        sight.lead(now);
        let settled = settled(sight, "edge", now);
        sight.follow(now);
        settled
    };
    sight.see(&wanted(&[("edge", 2)]), began);
    assert!(lead(&mut sight, began));
    // The one that leads has seen more, and this folder comes after it in steps.
    sight.applied(applied(&[("edge", 4)]), began);
    assert!(!lead(&mut sight, began));
    sight.see(&wanted(&[("edge", 3)]), began);
    assert!(!lead(&mut sight, began));
    sight.see(&wanted(&[("edge", 4)]), began);
    sight.see(&wanted(&[("edge", 5)]), began);
    assert!(lead(&mut sight, began));
    // What is the same by chance may be of before.
    sight.applied(applied(&[("edge", 6)]), began);
    sight.applied(applied(&[("edge", 5)]), began);
    sight.see(&wanted(&[("edge", 6)]), began);
    assert!(!lead(&mut sight, began));
    sight.lead(began);
    sight.see(&wanted(&[("edge", 7)]), began);
    assert!(!settled(&sight, "edge", began), "it came before the term, or at its very begin");
    sight.follow(began);
    // It can't be behind for ever; what it had all along waits in any case.
    assert!(!lead(&mut sight, began + BEHIND));
    sight.see(&wanted(&[("edge", 8)]), began + BEHIND);
    assert!(lead(&mut sight, began + BEHIND));
}

#[test]
fn a_pool_that_may_have_been_deleted_is_in_doubt() {
    let began = Instant::now();
    let mut sight = following(&[("edge", 1), ("core", 1)], began);
    sight.applied(applied(&[("core", 1)]), began);
    sight.lead(began);
    assert!(!settled(&sight, "edge", began) && settled(&sight, "core", began));
    // Also while this control led.
    sight.applied(applied(&[]), began);
    assert!(settled(&sight, "core", began));
    sight.follow(began);
    sight.lead(began);
    assert!(!settled(&sight, "core", began));
}

#[test]
fn the_first_files_of_a_cluster_are_in_no_doubt_for_those_that_follow() {
    let began = Instant::now();
    let mut sight = Sight::new(BEHIND);
    sight.see(&wanted(&[("edge", 1)]), began);
    sight.applied(applied(&[("edge", 1)]), began);
    sight.see(&wanted(&[("edge", 2)]), began);
    sight.lead(began);
    assert!(settled(&sight, "edge", began));
}
