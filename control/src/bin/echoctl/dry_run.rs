//! `--dry-run`: the flag of every verb that changes something.
//!
//! Used by those verbs. Pure.

/// Where a change is only checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DryRun {
    Client,
    Server,
}

/// The flag.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DryRunArgs {
    /// Check everything and change nothing: against the rules (client), or against what is stored too (server).
    #[arg(long, value_enum, value_name = "WHERE")]
    dry_run: Option<DryRun>,
}

impl DryRunArgs {
    /// Control must not even be asked.
    pub(crate) fn client(&self) -> bool {
        self.dry_run == Some(DryRun::Client)
    }

    /// Nothing may change.
    pub(crate) fn any(&self) -> bool {
        self.dry_run.is_some()
    }

    /// What follows a line that tells what would have been done.
    pub(crate) fn suffix(&self) -> &'static str {
        if self.any() { " (dry run)" } else { "" }
    }
}
