//! The pool files of `--pools-from`: the leader applies them when it begins to lead, and when they change.
//!
//! Run by the app, in every control: who follows the folder before it leads knows what of it is new. The folder is looked at again and again, and not watched: a mounted ConfigMap is switched by links in
//! a folder that may itself be replaced, and network file systems tell nobody of a change; a look costs a few reads.
//! It must apply nothing that is half written: a change counts once two looks in a row found the same. Nor may it bring
//! back what the leader before it has seen replaced: what may be of yesterday is held, and looked at again later. And a
//! folder that is empty for a while is no wish.

mod complaints;
mod folder;
mod looker;
mod looks;
mod sight;
mod wanted;

use std::path::PathBuf;
use std::time::Duration;

use echo_proto::backoff::Backoff;
use echo_proto::v1;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

use self::complaints::Told;
use self::folder::Folder;
use self::looker::Looker;
use self::looks::Looks;
use self::sight::Sight;
use self::wanted::Wanted;
use crate::api::{Api, ApiError, Complaint, FileApplied};
use crate::event;
use crate::plan::owned::Source;
use crate::settings::PoolsFrom;
use crate::stop::Stop;
use crate::store::election::Leadership;
use crate::words;

/// Waits while etcd is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Of the folder, which can't be read.
const UNREADABLE: &str = "PoolFilesUnreadable";
/// Of a file.
const HELD: &str = " is not what was applied last, and this folder may be behind that: it waits until it changes";

/// What a look found.
type Found = Result<Folder, String>;

/// The task.
pub(crate) struct PoolFiles {
    api: Api,
    folder: PathBuf,
    /// `files:/etc/echo/pools`
    owner: String,
    leadership: Receiver<Option<Leadership>>,
    looker: Looker,
    looks: Looks,
    sight: Sight,
    /// This control's term, as far as the files know of it.
    term: Option<Leadership>,
    /// In this term.
    told: Told,
}

impl PoolFiles {
    /// The task for a folder, by its absolute path.
    pub(crate) fn new(api: Api, from: PoolsFrom, leadership: Receiver<Option<Leadership>>) -> Self {
        let PoolsFrom { folder, behind } = from;
        Self {
            api,
            owner: format!("files:{}", folder.display()),
            folder,
            leadership,
            looker: Looker::default(),
            looks: Looks::default(),
            sight: Sight::new(behind),
            term: None,
            told: Told::default(),
        }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, mut stop: Stop) {
        tokio::select! {
            () = self.follow() => {}
            () = stop.wait() => {}
        }
    }

    /// Follows the folder, whoever leads.
    async fn follow(&mut self) {
        let mut leadership = self.leadership.clone();
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            let found = self.looker.look(&self.folder, folder::read).await;
            let leads = *leadership.borrow_and_update();
            let wait = match self.take(leads, &found).await {
                Ok(()) => {
                    backoff.reset();
                    self.looks.rest()
                }
                Err(error) => {
                    // Before it took over, it waits for the view.
                    if leads.is_some() && leads == self.term {
                        tracing::warn!(%error, "the pool files are not all applied yet");
                    }
                    backoff.next_wait()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = elected(&mut leadership) => {}
            }
        }
    }

    /// Takes in what a look found, and carries it out where this control leads; an error is worth another try.
    async fn take(&mut self, leads: Option<Leadership>, found: &Found) -> Result<(), ApiError> {
        self.take_over(leads, Instant::now())?;
        if !self.looks.take(found, Instant::now()) {
            return Ok(());
        }
        let again = match leads {
            Some(term) => {
                let span = info_span!("pool files", echo.folder = %self.folder.display());
                self.carry_out(term, found).instrument(span).await?
            }
            None => {
                if let Ok(found) = found {
                    self.see(&Wanted::of(&found.texts));
                }
                None
            }
        };
        self.looks.acted(again);
        Ok(())
    }

    /// Takes in what was applied, and whether this control leads.
    fn take_over(&mut self, leads: Option<Leadership>, now: Instant) -> Result<(), ApiError> {
        let applied = self.api.files_applied(leads)?;
        if leads == self.term {
            self.sight.applied(applied, now);
            return Ok(());
        }
        // What others applied counts before the new term does.
        self.sight.follow(now);
        self.sight.applied(applied, now);
        if leads.is_some() {
            self.sight.lead(now);
            self.looks.anew();
            self.told = Told::default();
            self.api.complain_of_files(Vec::new());
        }
        self.term = leads;
        Ok(())
    }

    fn see(&mut self, wanted: &Wanted) {
        self.sight.see(wanted, Instant::now());
        tracing::info!(pools = wanted.pools.len(), leads = self.term.is_some(), "the pool files are read");
    }

    /// Does what the files say, and tells when what is held of it is looked at again; an error is worth another try,
    /// anything else was told.
    async fn carry_out(&mut self, term: Leadership, found: &Found) -> Result<Option<Instant>, ApiError> {
        let Folder { identity, texts } = match found {
            Ok(found) => found,
            Err(cause) => {
                let text = format!(": {cause}; the pools stay as they are");
                let unread = self.of_folder(UNREADABLE, text);
                // What was wrong with the files was not mended by that.
                let others = self.told.all().iter().filter(|told| told.reason != UNREADABLE);
                let complaints = others.cloned().chain([unread]).collect();
                self.complain(term, complaints).await?;
                return Ok(None);
            }
        };
        let wanted = Wanted::of(texts);
        self.see(&wanted);
        let mut complaints = self.apply(term, &wanted, identity).await?;
        let (late, missing) = self.disown(term, &wanted, identity).await?;
        let held = late || complaints.iter().any(|complaint| complaint.until.is_some());
        complaints.extend(missing);
        complaints.extend(complaints::of(&wanted, &self.folder, &self.api.object()));
        self.complain(term, complaints).await?;
        Ok(self.sight.settles().filter(|_| held))
    }

    /// Applies the pools that the files want; tells which are held or refused.
    async fn apply(&mut self, term: Leadership, wanted: &Wanted, from: &str) -> Result<Vec<Complaint>, ApiError> {
        let mut complaints = Vec::new();
        for (name, pool) in &wanted.pools {
            let settled = self.sight.is_settled(name, Instant::now());
            let (owner, digest, folder) = (self.owner.clone(), pool.digest.clone(), from.to_owned());
            let source = Source { owner, digest, folder, settled };
            let complaint = |reason, text| {
                let file = self.folder.join(&pool.place).display().to_string();
                Complaint::new(reason, event::of_pool(name), file, text)
            };
            match self.api.apply_file(term, name, &pool.pool, &source, &pool.place).await {
                Ok(FileApplied::Now) => {
                    self.sight.confirm(name);
                    tracing::info!(pool = %name, file = pool.place, "taken from its file");
                }
                Ok(FileApplied::Before) => self.sight.confirm(name),
                Ok(FileApplied::Held) => {
                    let held = complaint("PoolFileHeld", HELD.to_owned());
                    complaints.push(Complaint { until: self.sight.settles(), ..held });
                }
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => complaints.push(complaint("PoolFileRefused", format!(" is not applied: {error}"))),
            }
        }
        Ok(complaints)
    }

    /// Notes whose files are gone; tells whether one may only not be there yet, and that none is there.
    async fn disown(
        &self,
        term: Leadership,
        wanted: &Wanted,
        from: &str,
    ) -> Result<(bool, Option<Complaint>), ApiError> {
        let (mut gone, mut late) = (Vec::new(), Vec::new());
        for (name, here) in self.api.owned_by(&self.owner, from).into_iter().filter(|(name, _)| !wanted.may_hold(name))
        {
            let is_gone = self.sight.is_gone(&name, here, Instant::now());
            if is_gone { gone.push(name) } else { late.push(name) }
        }
        for name in gone {
            tracing::info!(pool = %name, "its file is gone; the pool stays");
            self.api.disown(term, &name, &self.owner, from).await?;
        }
        if wanted.is_empty() && !late.is_empty() {
            let (pools, left) = (words::count(late.len(), "pool"), sight::EMPTY.as_secs());
            let text = format!(
                " has no pool file any more, and owns {pools}: they stay as they are, and nobody's once it was empty for \
                 {left}s"
            );
            return Ok((true, Some(self.of_folder("PoolFilesMissing", text))));
        }
        for name in &late {
            tracing::info!(pool = %name, "its file is not there; this folder may be behind, so it is looked at later");
        }
        Ok((!late.is_empty(), None))
    }

    fn of_folder(&self, reason: &'static str, text: String) -> Complaint {
        Complaint::new(reason, self.api.object(), self.folder.display().to_string(), text)
    }

    /// Tells what is news of it, and keeps it all for a diagnosis.
    async fn complain(&mut self, term: Leadership, complaints: Vec<Complaint>) -> Result<(), ApiError> {
        self.api.complain_of_files(complaints.clone());
        for over in self.told.over(&complaints) {
            let about = if over.about.is_empty() { &over.object } else { &over.about };
            let told = format!("{about}: what was wrong is no longer so ({})", over.reason);
            tracing::info!(over.object, "{told}");
            self.tell(term, event::normal("PoolFileMended", over.object, told)).await?;
        }
        self.told.keep(&complaints);
        for complaint in self.told.news(&complaints) {
            let told = complaint.told(Instant::now());
            tracing::warn!(complaint.object, "{told}");
            self.tell(term, event::warning(complaint.reason, complaint.object.clone(), told)).await?;
            self.told.tell(complaint);
        }
        Ok(())
    }

    async fn tell(&self, term: Leadership, event: v1::Event) -> Result<(), ApiError> {
        self.api.tell(term, v1::Event { actor: self.owner.clone(), ..event }).await
    }
}

/// Ends when this control begins to lead, or ends to.
async fn elected(leadership: &mut Receiver<Option<Leadership>>) {
    if leadership.changed().await.is_err() {
        // The election has ended, and so will the process.
        std::future::pending::<()>().await;
    }
}
