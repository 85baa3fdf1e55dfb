//! The pool files of `--pools-from`: the leader applies them when it begins to lead, and when they change.
//!
//! Run by the app. The folder is looked at again and again, and not watched: a mounted ConfigMap is switched by links in
//! a folder that may itself be replaced, and network file systems tell nobody of a change; a look costs a few reads.
//! It must apply nothing that is half written: a change counts once two looks in a row found the same. Nor may it bring
//! back what the leader before it has seen replaced: what may be of yesterday is held, and looked at again later. And a
//! folder that is empty for a while is no wish.

mod folder;
mod looker;
mod looks;
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
use self::looks::Looks;
use self::term::Term;
use self::wanted::{MAX_MISTAKES, Wanted};
use crate::api::{Api, ApiError, FileApplied};
use crate::event;
use crate::plan::owned::Source;
use crate::settings::PoolsFrom;
use crate::stop::Stop;
use crate::store::election::Leadership;
use crate::words;

/// Waits while etcd is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a look found.
type Found = Result<Texts, String>;

/// What is wrong: a reason, what it is about, and words.
type Complaint = (&'static str, String, String);

/// The task.
pub(crate) struct PoolFiles {
    api: Api,
    folder: PathBuf,
    /// `files:/etc/echo/pools`
    owner: String,
    /// How far another control's folder may be behind this one, or this one behind it.
    behind: Duration,
    leadership: Receiver<Option<Leadership>>,
    /// Of all terms: one look that hangs is enough.
    looker: Looker,
}

impl PoolFiles {
    /// The task for a folder, by its absolute path.
    pub(crate) fn new(api: Api, from: PoolsFrom, leadership: Receiver<Option<Leadership>>) -> Self {
        let PoolsFrom { folder, behind } = from;
        let owner = format!("files:{}", folder.display());
        Self { api, owner, folder, behind, leadership, looker: Looker::default() }
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
    async fn follow(&mut self, term: Leadership) {
        self.api.leads(term).await;
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let (mut seen, mut looks) = (Term::new(Instant::now(), self.behind), Looks::default());
        loop {
            let found = self.looker.look(&self.folder, folder::read).await;
            let act = looks.take(&found, Instant::now());
            let mut wait = looks.rest();
            if act {
                let span = info_span!("pool files", echo.folder = %self.folder.display());
                match self.carry_out(term, &mut seen, &found).instrument(span).await {
                    Ok(again) => {
                        backoff.reset();
                        looks.acted(again);
                        wait = looks.rest();
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the pool files are not all applied yet");
                        wait = backoff.next_wait();
                    }
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Does what the files say, and tells when what is held of it is looked at again; an error is worth another try,
    /// anything else was told.
    async fn carry_out(&self, term: Leadership, seen: &mut Term, found: &Found) -> Result<Option<Instant>, ApiError> {
        // Whom the files own is told by the view.
        self.api.current()?;
        let texts = match found {
            Ok(texts) => texts,
            Err(cause) => {
                let told = format!("{}: {cause}; the pools stay as they are", self.folder.display());
                self.complain(term, vec![("PoolFilesUnreadable", self.api.object(), told)]).await?;
                return Ok(None);
            }
        };
        let wanted = Wanted::of(texts);
        seen.see(&wanted, self.api.knows_files(), Instant::now());
        let (held, mut complaints) = self.apply(term, seen, &wanted).await?;
        let held = held | self.disown(term, seen, &wanted).await?;
        complaints.extend(self.complaints(&wanted));
        self.complain(term, complaints).await?;
        Ok(held.then(|| seen.settles()))
    }

    /// Applies the pools that the files want; tells whether one is held, and what is refused.
    async fn apply(
        &self,
        term: Leadership,
        seen: &mut Term,
        wanted: &Wanted,
    ) -> Result<(bool, Vec<Complaint>), ApiError> {
        let (mut held, mut refused) = (false, Vec::new());
        for (name, pool) in &wanted.pools {
            let settled = seen.is_settled(name, Instant::now());
            let source = Source { owner: self.owner.clone(), digest: pool.digest.clone(), settled };
            match self.api.apply_file(term, name, &pool.pool, &source, &pool.place).await {
                Ok(FileApplied::Now) => {
                    seen.confirm(name);
                    tracing::info!(pool = %name, file = pool.place, "taken from its file");
                }
                Ok(FileApplied::Before) => seen.confirm(name),
                Ok(FileApplied::Held) => {
                    held = true;
                    let told = format!(
                        "{} is not what was applied last, and this folder may be behind that: it is applied when it \
                         changes, or stays so for {}s",
                        self.file(&pool.place),
                        self.behind.as_secs()
                    );
                    self.warn(term, "PoolFileHeld", event::of_pool(name), told).await?;
                }
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => {
                    let told = format!("{} is not applied: {error}", self.file(&pool.place));
                    refused.push(("PoolFileRefused", event::of_pool(name), told));
                }
            }
        }
        Ok((held, refused))
    }

    /// Notes whose files are gone; tells whether one may only not be there yet.
    async fn disown(&self, term: Leadership, seen: &Term, wanted: &Wanted) -> Result<bool, ApiError> {
        let missing = self.api.owned_by(&self.owner).into_iter().filter(|name| !wanted.may_hold(name));
        let (gone, late): (Vec<_>, Vec<_>) = missing.partition(|name| seen.is_gone(name, Instant::now()));
        for name in gone {
            tracing::info!(pool = %name, "its file is gone; the pool stays");
            self.api.disown(term, &name, &self.owner).await?;
        }
        if wanted.is_empty() && !late.is_empty() {
            let (pools, left) = (words::count(late.len(), "pool"), term::EMPTY.as_secs());
            let told = format!(
                "{} has no pool file any more, and owns {pools}: they stay as they are, and nobody's once it was empty \
                 for {left}s",
                self.folder.display()
            );
            self.warn(term, "PoolFilesMissing", self.api.object(), told).await?;
        } else {
            for name in &late {
                tracing::info!(pool = %name, "its file is not there; this folder may be behind, so it is looked at later");
            }
        }
        Ok(!late.is_empty())
    }

    /// What of the files is not applied.
    fn complaints(&self, wanted: &Wanted) -> Vec<Complaint> {
        let clashes = wanted.clashes.iter();
        let clashes =
            clashes.map(|(name, places)| ("PoolFilesClash", event::of_pool(name), clash(&self.folder, places)));
        let mistakes = wanted.mistakes.iter().map(|(file, mistakes)| {
            let told = format!("{}: {mistakes}; a pool with a mistake is not applied", self.file(file));
            ("PoolFileInvalid", self.api.object(), told)
        });
        clashes.chain(mistakes).collect()
    }

    /// Tells it, and keeps it for a diagnosis.
    async fn complain(&self, term: Leadership, complaints: Vec<Complaint>) -> Result<(), ApiError> {
        self.api.complain_of_files(&complaints);
        for (reason, object, told) in complaints {
            self.warn(term, reason, object, told).await?;
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
