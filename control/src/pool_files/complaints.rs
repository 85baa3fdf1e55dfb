//! What is wrong with the pool files, in words, and what of it is news.
//!
//! Used by the pool files' task. A broken file is told of once, once more when it is broken in another way, and when that
//! is over: each change of any file brings all complaints anew, and who reads events must not drown in them. Pure.

use std::path::Path;

use super::wanted::{MAX_MISTAKES, Wanted};
use crate::api::Complaint;
use crate::event;

/// What was told in this term.
#[derive(Debug, Default)]
pub(super) struct Told(Vec<Complaint>);

impl Told {
    /// Those of `now` that were not told.
    pub(super) fn news(&self, now: &[Complaint]) -> Vec<Complaint> {
        now.iter().filter(|complaint| !self.0.iter().any(|told| is(told, complaint))).cloned().collect()
    }

    /// Those that were told, and are over; but for those whose end is told by what it brings.
    pub(super) fn over(&self, now: &[Complaint]) -> Vec<Complaint> {
        let goes_on = |told: &&Complaint| now.iter().any(|complaint| subject(complaint) == subject(told));
        self.0.iter().filter(|told| told.until.is_none() && !goes_on(told)).cloned().collect()
    }

    /// It was told.
    pub(super) fn tell(&mut self, complaint: Complaint) {
        self.0.retain(|told| subject(told) != subject(&complaint));
        self.0.push(complaint);
    }

    /// Nothing but these goes on.
    pub(super) fn keep(&mut self, now: &[Complaint]) {
        self.0.retain(|told| now.iter().any(|complaint| is(complaint, told)));
    }

    /// All of it.
    pub(super) fn all(&self) -> &[Complaint] {
        &self.0
    }
}

/// What it is about; one of each goes on.
fn subject(complaint: &Complaint) -> (&str, &str, &str) {
    (complaint.reason, &complaint.object, &complaint.about)
}

/// Whether the two are the same, however long still.
fn is(one: &Complaint, other: &Complaint) -> bool {
    subject(one) == subject(other) && one.text == other.text
}

/// What of the files in `folder` can't be applied; mistakes are about `object`.
pub(super) fn of(wanted: &Wanted, folder: &Path, object: &str) -> Vec<Complaint> {
    let clashes = wanted.clashes.iter().map(|(name, places)| {
        Complaint::new("PoolFilesClash", event::of_pool(name), String::new(), clash(folder, places))
    });
    let mistakes = wanted.mistakes.iter().map(|(file, mistakes)| {
        let text = format!(": {mistakes}; a pool with a mistake is not applied");
        Complaint::new("PoolFileInvalid", object.to_owned(), folder.join(file).display().to_string(), text)
    });
    clashes.chain(mistakes).collect()
}

/// Where a pool stands; not all of it, where that is in many places.
fn clash(folder: &Path, places: &[String]) -> String {
    let named = places.iter().take(MAX_MISTAKES).map(|place| folder.join(place).display().to_string());
    let named = named.collect::<Vec<_>>().join(" and in ");
    let more = match places.len().saturating_sub(MAX_MISTAKES) {
        0 => String::new(),
        more => format!(", and in {more} more places"),
    };
    format!("stands in {named}{more}; none of them is applied: give it once")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn invalid(file: &str, text: &str) -> Complaint {
        Complaint::new("PoolFileInvalid", "cluster/a".to_owned(), file.to_owned(), text.to_owned())
    }

    fn named(complaints: &[Complaint]) -> Vec<(&str, &str)> {
        complaints.iter().map(|complaint| (complaint.about.as_str(), complaint.text.as_str())).collect()
    }

    /// Tells all that is news; what that was, and what is over.
    fn tell(told: &mut Told, now: &[Complaint]) -> (Vec<Complaint>, Vec<Complaint>) {
        let (news, over) = (told.news(now), told.over(now));
        told.keep(now);
        news.iter().cloned().for_each(|complaint| told.tell(complaint));
        (news, over)
    }

    #[test]
    fn each_broken_state_is_told_once_and_that_it_is_over() {
        let mut told = Told::default();
        let (a, b) = (invalid("a.yaml", "has 1 mistake"), invalid("b.yaml", "has 2 mistakes"));
        let (news, over) = tell(&mut told, &[a.clone(), b.clone()]);
        assert_eq!((named(&news), over.len()), (vec![("a.yaml", "has 1 mistake"), ("b.yaml", "has 2 mistakes")], 0));
        let (news, over) = tell(&mut told, &[a.clone(), b.clone()]);
        assert!(news.is_empty() && over.is_empty(), "{news:?} {over:?}");
        let (news, over) = tell(&mut told, &[a, invalid("b.yaml", "has 1 mistake")]);
        assert_eq!((named(&news), over.len()), (vec![("b.yaml", "has 1 mistake")], 0), "another cause");
        let (news, over) = tell(&mut told, &[invalid("b.yaml", "has 1 mistake")]);
        assert_eq!((news.len(), named(&over)), (0, vec![("a.yaml", "has 1 mistake")]));
        let (news, over) = tell(&mut told, std::slice::from_ref(&b));
        assert_eq!((named(&news), over.len()), (vec![("b.yaml", "has 2 mistakes")], 0), "as it was before once");
        assert_eq!(tell(&mut told, &[]).1.len(), 1);
        assert_eq!(tell(&mut told, &[b]).0.len(), 1, "broken again");
    }

    #[test]
    fn what_waits_is_told_once_however_long_still() {
        let (mut told, now) = (Told::default(), Instant::now());
        let held = |until| Complaint { until: Some(now + Duration::from_secs(until)), ..invalid("a.yaml", "waits") };
        assert_eq!(tell(&mut told, &[held(180)]).0.len(), 1);
        assert_eq!(tell(&mut told, &[held(200)]).0.len(), 0);
        assert_eq!(tell(&mut told, &[]).1.len(), 0, "that it is applied is told then");
    }

    #[test]
    fn a_pool_that_stands_in_many_places_is_told_of_in_few_words() {
        let told = |count: usize| {
            let places: Vec<String> = (0..count).map(|n| format!("a.yaml document {n}")).collect();
            clash(Path::new("/pools"), &places)
        };
        assert_eq!(
            told(2),
            "stands in /pools/a.yaml document 0 and in /pools/a.yaml document 1; none of them is applied: give it once"
        );
        assert!(told(100_000).len() < 2_000 && told(100_000).contains("document 31, and in 99968 more places; none"));
    }
}
