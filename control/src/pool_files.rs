//! The pool files of `--pools-from`: the leader applies them when it begins to lead, and when they change.
//!
//! Run by the app. The folder is looked at again and again, and not watched: a mounted ConfigMap is switched by links in
//! a folder that may itself be replaced, and network file systems tell nobody of a change; a look costs a few reads.
//! It must apply nothing that is half written: a change counts once two looks in a row found the same. Nor may it bring
//! back what the leader before it has seen replaced: what may be of yesterday is held, and looked at again later.

mod folder;
mod looker;
mod term;
mod wanted;

use std::path::{Path, PathBuf};
use std::time::Duration;

use echo_proto::backoff::Backoff;
use echo_proto::v1;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

use self::folder::Texts;
use self::looker::Looker;
use self::term::Term;
use self::wanted::{MAX_MISTAKES, Wanted};
use crate::api::{Api, ApiError, FileApplied};
use crate::event;
use crate::plan::owned::Source;
use crate::stop::Stop;
use crate::store::election::Leadership;

/// Between two looks at the folder.
const LOOK: Duration = Duration::from_secs(1);
/// Between a look that found a change and the next one: longer than a file takes to be written.
const SETTLE: Duration = Duration::from_millis(500);
/// Waits while etcd is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a look found.
type Found = Result<Texts, String>;

/// The task.
pub(crate) struct PoolFiles {
    api: Api,
    folder: PathBuf,
    /// `files:/etc/echo/pools`
    owner: String,
    leadership: Receiver<Option<Leadership>>,
}

impl PoolFiles {
    /// The task for an absolute path.
    pub(crate) fn new(api: Api, folder: PathBuf, leadership: Receiver<Option<Leadership>>) -> Self {
        Self { api, owner: format!("files:{}", folder.display()), folder, leadership }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, mut stop: Stop) {
        tokio::select! {
            () = self.lead() => {}
            () = stop.wait() => {}
        }
    }

    async fn lead(&mut self) {
        let mut leadership = self.leadership.clone();
        loop {
            let term = *leadership.borrow_and_update();
            let changed = async {
                if leadership.changed().await.is_err() {
                    // The election has ended, and so will the process.
                    std::future::pending::<()>().await;
                }
            };
            match term {
                None => changed.await,
                Some(term) => tokio::select! {
                    never = self.follow(term) => never,
                    () = changed => {}
                },
            }
        }
    }

    /// Follows the folder for one term.
    async fn follow(&self, term: Leadership) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let (mut last, mut done): (Option<Found>, Option<Found>) = (None, None);
        let (mut seen, mut held) = (Term::new(Instant::now()), false);
        let mut looker = Looker::default();
        loop {
            if held && Instant::now() >= seen.settles() {
                (done, held) = (None, false);
            }
            let found = looker.look(&self.folder, folder::read).await;
            let settled = last.as_ref() == Some(&found);
            let mut wait = LOOK;
            if done.as_ref() != Some(&found) {
                wait = SETTLE;
                if settled {
                    let span = info_span!("pool files", echo.folder = %self.folder.display());
                    match self.carry_out(term, &mut seen, &found).instrument(span).await {
                        Ok(some) => {
                            backoff.reset();
                            (done, held, wait) = (Some(found.clone()), some, LOOK);
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the pool files are not all applied yet");
                            wait = backoff.next_wait();
                        }
                    }
                }
            }
            last = Some(found);
            tokio::time::sleep(wait).await;
        }
    }

    /// Does what the files say, and tells whether some of it is held; an error is worth another try, anything else was
    /// told.
    async fn carry_out(&self, term: Leadership, seen: &mut Term, found: &Found) -> Result<bool, ApiError> {
        // Whom the files own is told by the view.
        self.api.current()?;
        let texts = match found {
            Ok(texts) => texts,
            Err(cause) => {
                let told = format!("{}: {cause}; the pools stay as they are", self.folder.display());
                self.warn(term, "PoolFilesUnreadable", self.api.object(), told).await?;
                return Ok(false);
            }
        };
        let wanted = Wanted::of(texts);
        seen.see(&wanted);
        let held = self.apply(term, seen, &wanted).await? | self.disown(term, seen, &wanted).await?;
        self.complain(term, &wanted).await?;
        Ok(held)
    }

    /// Applies the pools that the files want; tells whether one is held.
    async fn apply(&self, term: Leadership, seen: &Term, wanted: &Wanted) -> Result<bool, ApiError> {
        let mut held = false;
        for (name, pool) in &wanted.pools {
            let settled = seen.is_settled(name, Instant::now());
            let source = Source { owner: self.owner.clone(), digest: pool.digest.clone(), settled };
            match self.api.apply_file(term, name, &pool.pool, &source, &pool.place).await {
                Ok(FileApplied::Now) => tracing::info!(pool = %name, file = pool.place, "applied from its file"),
                Ok(FileApplied::Before) => {}
                Ok(FileApplied::Held) => {
                    held = true;
                    let told = format!(
                        "{} says what another text has replaced; this mount may be behind: it is applied if it stays so",
                        self.file(&pool.place)
                    );
                    self.warn(term, "PoolFileHeld", event::of_pool(name), told).await?;
                }
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => {
                    let told = format!("{} is not applied: {error}", self.file(&pool.place));
                    self.warn(term, "PoolFileRefused", event::of_pool(name), told).await?;
                }
            }
        }
        Ok(held)
    }

    /// Notes whose files are gone; tells whether one may only not be there yet.
    async fn disown(&self, term: Leadership, seen: &Term, wanted: &Wanted) -> Result<bool, ApiError> {
        let mut held = false;
        for name in self.api.owned_by(&self.owner).iter().filter(|name| !wanted.may_hold(name)) {
            if !seen.is_settled(name, Instant::now()) {
                held = true;
                tracing::info!(pool = %name, "its file is not there; this mount may be behind, so it is looked at later");
                continue;
            }
            tracing::info!(pool = %name, "its file is gone; the pool stays");
            self.api.disown(term, name, &self.owner).await?;
        }
        Ok(held)
    }

    /// Tells what of the files is not applied.
    async fn complain(&self, term: Leadership, wanted: &Wanted) -> Result<(), ApiError> {
        for (name, places) in &wanted.clashes {
            let told = clash(&self.folder, places);
            self.warn(term, "PoolFilesClash", event::of_pool(name), told).await?;
        }
        for (file, mistakes) in &wanted.mistakes {
            let told = format!("{}: {mistakes}; nothing wrong is applied", self.file(file));
            self.warn(term, "PoolFileInvalid", self.api.object(), told).await?;
        }
        Ok(())
    }

    /// A line in the log and an event.
    async fn warn(&self, term: Leadership, reason: &str, object: String, told: String) -> Result<(), ApiError> {
        tracing::warn!(object, "{told}");
        let event = event::warning(reason, object, told);
        self.api.tell(term, v1::Event { actor: self.owner.clone(), ..event }).await
    }

    fn file(&self, place: &str) -> String {
        self.folder.join(place).display().to_string()
    }
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
    use super::*;

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
