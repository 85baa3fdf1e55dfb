//! Which look at the folder is acted on, and how soon the next one follows.
//!
//! Used by the pool files' task. Nothing that is half written may be acted on: what is new counts once two looks in a row
//! found the same. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::Found;

/// Between two looks at the folder.
const LOOK: Duration = Duration::from_secs(1);
/// Between a look that found a change and the next one: longer than a file takes to be written.
const SETTLE: Duration = Duration::from_millis(500);

/// All looks of this control.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// What the last look found.
    last: Option<Found>,
    /// What was acted on.
    done: Option<Found>,
    /// When that is acted on once more, though it stays.
    again: Option<Instant>,
}

impl Looks {
    /// Takes in what a look found; whether it is to be acted on.
    pub(super) fn take(&mut self, found: &Found, now: Instant) -> bool {
        let twice = self.last.as_ref() == Some(found);
        if !twice {
            self.last = Some(found.clone());
        }
        let new = self.done.as_ref() != Some(found) || self.again.is_some_and(|again| now >= again);
        twice && new
    }

    /// It was acted on; once more `again`, if it is the same then.
    pub(super) fn acted(&mut self, again: Option<Instant>) {
        self.done.clone_from(&self.last);
        self.again = again;
    }

    /// What was found is to be acted on anew.
    pub(super) fn anew(&mut self) {
        self.done = None;
    }

    /// How long until the next look.
    pub(super) fn rest(&self) -> Duration {
        if self.last == self.done { LOOK } else { SETTLE }
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::{Folder, Texts};
    use super::*;

    fn found(text: &str) -> Found {
        let texts = Texts::from([("edge.yaml".to_owned(), Ok(text.to_owned()))]);
        Ok(Folder { identity: String::new(), texts })
    }

    #[test]
    fn what_two_looks_in_a_row_found_is_acted_on_once() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        let mut take = |text: &str| {
            let act = looks.take(&found(text), now);
            if act {
                looks.acted(None);
            }
            (act, looks.rest())
        };
        assert_eq!([take("one"), take("half"), take("whole")], [(false, SETTLE); 3]);
        assert_eq!([take("whole"), take("whole")], [(true, LOOK), (false, LOOK)]);
        assert_eq!([take("half"), take("whole"), take("whole")], [(false, SETTLE), (false, LOOK), (false, LOOK)]);
    }

    #[test]
    fn what_failed_is_tried_again_and_what_is_held_when_it_is_time() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        assert!(!looks.take(&found("one"), now));
        assert!(looks.take(&found("one"), now) && looks.take(&found("one"), now), "as long as it did not succeed");
        let time = now + Duration::from_secs(180);
        looks.acted(Some(time));
        assert!(!looks.take(&found("one"), now) && looks.take(&found("one"), time));
        looks.acted(None);
        assert!(!looks.take(&found("one"), time));
        looks.anew();
        assert!(looks.take(&found("one"), time), "this control leads from now on");
    }
}
