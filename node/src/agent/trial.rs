//! A revision on trial: noted in the state directory before it is applied, until it has served for a while.
//!
//! Written and read by the applier; [`crate::app`] adds at the end of the process how it came. A process that finds the
//! note of the one before it knows what that one died with, so that one bad revision can't kill a node for ever. It must
//! never keep a node from serving: a note that can't be written is none.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use echo_proto::codec::{self, Strictness};
use echo_proto::v1;

use super::assignment::cut;
use super::state_dir::{StateDir, StateDirError, TRIAL};

/// Largest note that is read, in bytes: a cause, and the names around it.
const MAX_BYTES: u64 = 8192;
/// What a node says of a revision that its process died with.
pub const CRASHED: &str = "Crashed";

/// What is known of a revision that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// How many processes died with it, one after the other.
    pub deaths: u32,
    /// As it will be told. Until the trial has failed it has no reason, and the cause is what the dying process said.
    pub rejection: v1::Rejection,
}

impl Trial {
    /// Begins now. `before` is the trial before it: of the same revision, deaths add up.
    pub fn begin(revision: v1::RevisionRef, rollout: u32, before: Option<&Self>) -> Self {
        let again = before.filter(|before| before.is_of(&revision));
        let time = Some(SystemTime::now().into());
        let rejection = v1::Rejection { revision: Some(revision), rollout, time, ..Default::default() };
        Self { deaths: again.map_or(0, |again| again.deaths), rejection }
    }

    /// Whether it goes on: nobody knows yet how it ends.
    pub fn is_open(&self) -> bool {
        self.rejection.reason.is_empty()
    }

    /// Whether it is this revision that was tried.
    pub fn is_of(&self, revision: &v1::RevisionRef) -> bool {
        self.rejection.revision.as_ref() == Some(revision)
    }

    /// The process died with it, which the next one finds out `now`; it would have passed `after` so long.
    pub fn failed(mut self, after: Duration, now: SystemTime) -> Self {
        self.deaths = self.deaths.saturating_add(1);
        let began = self.rejection.time.and_then(|time| SystemTime::try_from(time).ok()).unwrap_or(now);
        // Whole seconds: nobody knows when within them it died.
        let ago = now.duration_since(began).unwrap_or_default().as_secs();
        let mut cause =
            format!("the node died within {after:?} of applying it, which began {ago}s before its new start");
        if self.deaths > 1 {
            cause.push_str(&format!("; {} times in a row", self.deaths));
        }
        if !self.rejection.cause.is_empty() {
            cause.push_str(&format!("; its last words: {}", self.rejection.cause));
        }
        (self.rejection.cause, self.rejection.reason) = (cut(cause), CRASHED.to_owned());
        self
    }

    fn read(text: &str) -> Option<Self> {
        let (deaths, rejection) = text.split_once('\n')?;
        let rejection: v1::Rejection = codec::from_json(rejection.as_bytes(), Strictness::Lenient).ok()?;
        let deaths = deaths.strip_prefix("deaths ")?.parse().ok()?;
        rejection.revision.is_some().then_some(Self { deaths, rejection })
    }

    fn written(&self) -> String {
        format!("deaths {}\n{}\n", self.deaths, codec::to_json(&self.rejection))
    }
}

/// The note of one node.
#[derive(Debug, Clone)]
pub struct Trials {
    dir: Arc<StateDir>,
}

impl Trials {
    /// The note in `dir`.
    pub fn new(dir: Arc<StateDir>) -> Self {
        Self { dir }
    }

    /// What was noted; a damaged note is none.
    pub async fn load(&self) -> Option<Trial> {
        let read = |dir: &StateDir| dir.read(TRIAL, MAX_BYTES);
        Trial::read(&StateDir::wait(Arc::clone(&self.dir), read).await.ok()??)
    }

    /// Notes `trial`: on the disk when this returns.
    ///
    /// # Errors
    /// The file system refuses or is slow.
    pub async fn store(&self, trial: &Trial) -> Result<(), StateDirError> {
        let text = trial.written();
        StateDir::wait(Arc::clone(&self.dir), move |dir| dir.replace(TRIAL, &text)).await?
    }

    /// Takes the note away.
    ///
    /// # Errors
    /// The file system refuses or is slow.
    pub async fn remove(&self) -> Result<(), StateDirError> {
        StateDir::wait(Arc::clone(&self.dir), |dir| dir.remove(TRIAL)).await?
    }

    /// The process ends: a trial that goes on has failed for these reasons, or was called off, if there are none.
    ///
    /// # Errors
    /// The file system refuses or is slow.
    pub async fn end(&self, last_words: Option<String>) -> Result<(), StateDirError> {
        match (self.load().await.filter(Trial::is_open), last_words) {
            (None, _) => Ok(()),
            (Some(_), None) => self.remove().await,
            (Some(mut trial), Some(words)) => {
                trial.rejection.cause = cut(words);
                self.store(&trial).await
            }
        }
    }

    /// The same without reasons, for one that can't wait. A note of a trial that has failed stays.
    pub fn call_off(&self) {
        if self.dir.read(TRIAL, MAX_BYTES).and_then(|text| Trial::read(&text)).is_some_and(|trial| trial.is_open()) {
            // Nobody is left to be told.
            let _ = self.dir.remove(TRIAL);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::state_dir::tests::{Scratch, owner};
    use super::*;

    fn revision(n: u32) -> v1::RevisionRef {
        v1::RevisionRef { uid: "u".into(), n, digest: format!("digest-{n}") }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn begun(before: Option<&Trial>) -> Trial {
        let mut trial = Trial::begin(revision(2), 7, before);
        trial.rejection.time = Some(at(100).into());
        trial
    }

    #[test]
    fn a_trial_that_failed_says_what_is_known() {
        let first = begun(None).failed(Duration::from_secs(10), at(103));
        let told = "the node died within 10s of applying it, which began 3s before its new start";
        assert_eq!((first.rejection.cause.as_str(), first.rejection.reason.as_str(), first.deaths), (told, CRASHED, 1));
        let mut second = begun(Some(&first));
        assert!(second.is_open() && second.is_of(&revision(2)));
        second.rejection.cause = "shard 0 ended".into();
        let second = second.failed(Duration::from_secs(10), at(50));
        let told = "the node died within 10s of applying it, which began 0s before its new start; 2 times in a row; its last \
                    words: shard 0 ended";
        assert_eq!(second.rejection.cause, told, "a clock that was set back");
        assert_eq!(Trial::begin(revision(3), 8, Some(&second)).deaths, 0, "another revision");
    }

    #[tokio::test]
    async fn the_note_survives_and_its_end_is_told() {
        let scratch = Scratch::new();
        let dir = Arc::new(StateDir::open(&scratch.0, owner("n")).unwrap());
        let trials = Trials::new(Arc::clone(&dir));
        assert_eq!(trials.load().await, None);
        trials.store(&begun(None)).await.unwrap();
        assert_eq!(trials.load().await, Some(begun(None)));
        trials.end(Some("shard 0 ended".into())).await.unwrap();
        let failed = trials.load().await.unwrap().failed(Duration::from_secs(10), at(101));
        assert!(failed.rejection.cause.ends_with("; its last words: shard 0 ended"), "{}", failed.rejection.cause);
        trials.store(&failed).await.unwrap();
        trials.end(None).await.unwrap();
        trials.call_off();
        assert_eq!(trials.load().await, Some(failed), "it has failed, whatever becomes of those after it");
        for end in [true, false] {
            trials.store(&begun(None)).await.unwrap();
            if end {
                trials.end(None).await.unwrap()
            } else {
                trials.call_off()
            }
            assert_eq!(trials.load().await, None, "called off");
        }
        for garbage in ["", "deaths 1", "deaths x\n{}", "deaths 1\n{}", "deaths 1\n[]"] {
            dir.replace(TRIAL, garbage).unwrap();
            assert_eq!(trials.load().await, None, "{garbage:?}");
        }
    }
}
