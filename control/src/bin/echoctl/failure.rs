//! Why a command failed, in one line with the next step, and what the shell is told.
//!
//! Made by the verbs, reported once by `main`. It must never print to stdout, which belongs to results.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use echo_proto::codec::{FieldError, FieldErrors};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::connect::io_cause;
use crate::output;
use echo_control::words::count;

/// Exit code of wrong usage; clap's own too.
const EXIT_USAGE: u8 = 2;
/// Exit code where what was asked about has not ended: neither done nor failed.
const EXIT_UNFINISHED: u8 = 3;
/// Exit code of a `diff` that can't tell.
const EXIT_NO_DIFF: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line makes no sense, in a way that clap cannot see.
    #[error("{0}")]
    Usage(String),
    /// A file can't be read.
    #[error("cannot read {name}: {cause}")]
    File { name: String, cause: String },
    /// A file can't be written.
    #[error("cannot write {name}: {cause}")]
    Unwritable { name: String, cause: String },
    /// The config file is wrong, or does not hold what was asked for.
    #[error("{0}")]
    Config(String),
    /// What `diff` looked for; it was printed.
    #[error("the file and the cluster differ")]
    Differs,
    /// `diff` can't tell.
    #[error("{0}")]
    NoDiff(Box<Failure>),
    /// Documents with mistakes; nothing was sent.
    #[error("{0}")]
    Mistakes(Mistakes),
    /// Nobody answers.
    #[error("no control at {server} ({cause}); start one with `echoctl up`, or name another with --server")]
    NoControl { server: String, cause: String },
    /// The connection broke.
    #[error("lost control at {server} ({cause}); try again, or see with `echoctl version` whether it is back")]
    Lost { server: String, cause: String },
    /// No answer in time.
    #[error("no answer from control at {server} within {timeout:?}; give it longer with --timeout")]
    Late { server: String, timeout: Duration },
    /// No answer to a change, which may have been made all the same.
    #[error(
        "{cause}; the change may or may not have been made: look with `echoctl get {list}` before you ask for it again"
    )]
    Unknown { cause: String, list: &'static str },
    /// Control is older than this command, or something else listens there.
    #[error(
        "what answers at {server} does not know this call: it is no control, but perhaps a node or a port for metrics, \
         or a control of another version, which `echoctl version` tells"
    )]
    Unimplemented { server: String },
    /// Control said no.
    #[error("{}", Refusal(.0))]
    Refused(Box<Status>),
    /// The object isn't there.
    #[error("{what} not found; `echoctl get {list}` lists what there is")]
    NotFound { what: String, list: &'static str },
    /// The object isn't there, but one of nearly the same name is.
    #[error("{missing}; did you mean {near}?")]
    Misspelt { missing: Box<Failure>, near: String },
    /// A revision isn't there.
    #[error("revision {n} of pool/{pool} not found; it has {kept}")]
    NoRevision { pool: String, n: u32, kept: String },
    /// A selector finds nothing.
    #[error("no {what} has labels that match {selector:?}; `echoctl get {list} -o yaml` shows the labels there are")]
    NoMatch { what: &'static str, selector: String, list: &'static str },
    /// A backup would not be whole; or there is nothing to back up.
    #[error("{0}; nothing was written")]
    Backup(String),
    /// A rollout ended badly.
    #[error("{0}")]
    Rollout(String),
    /// A rollout has not ended.
    #[error("{0}")]
    Unfinished(String),
    /// A drain ended badly, or is no longer waited for.
    #[error("{0}")]
    Drain(String),
    /// Nobody can be probed, or what the probes showed is not good enough.
    #[error("{0}")]
    Probe(String),
    /// A load can't be put on anybody, or what it showed is not good enough.
    #[error("{0}")]
    Bench(String),
    /// `up` can't start a cluster, or not keep it.
    #[error("{0}")]
    Up(String),
    /// Stdout can't be written.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// Some of several things failed; each was reported when it did.
    #[error("not everything was done")]
    Partly,
}

impl Failure {
    /// All mistakes of a command line, if there are any.
    pub(crate) fn usage(mistakes: &[String]) -> Result<(), Self> {
        match mistakes {
            [] => Ok(()),
            [one] => Err(Self::Usage(one.clone())),
            several => {
                let told: String = several.iter().map(|mistake| format!("\n  {mistake}")).collect();
                Err(Self::Usage(format!("{}; nothing was sent{told}", count(several.len(), "mistake"))))
            }
        }
    }

    /// Stable name, for the command's span.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::File { .. } => "file",
            Self::Unwritable { .. } => "unwritable",
            Self::Config(_) => "config",
            Self::Differs => "differs",
            Self::NoDiff(failure) => failure.label(),
            Self::Mistakes(_) => "mistakes",
            Self::NoControl { .. } => "no_control",
            Self::Lost { .. } => "lost",
            Self::Late { .. } => "late",
            Self::Unknown { .. } => "unknown",
            Self::Unimplemented { .. } => "unimplemented",
            Self::Refused(_) => "refused",
            Self::NotFound { .. } => "not_found",
            Self::Misspelt { missing, .. } => missing.label(),
            Self::NoRevision { .. } => "no_revision",
            Self::NoMatch { .. } => "no_match",
            Self::Backup(_) => "backup",
            Self::Rollout(_) => "rollout",
            Self::Unfinished(_) => "unfinished",
            Self::Drain(_) => "drain",
            Self::Probe(_) => "probe",
            Self::Bench(_) => "bench",
            Self::Up(_) => "up",
            Self::Output(_) => "output",
            Self::Partly => "partly",
        }
    }

    /// Whether another control may answer, or the same one a little later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NoControl { .. } | Self::Lost { .. } | Self::Late { .. } => true,
            Self::Refused(status) => status.code() == Code::Unavailable,
            _ => false,
        }
    }

    /// What a write that failed means.
    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::Unwritable { name: path.display().to_string(), cause: io_cause(error) }
    }

    /// Tells the person on stderr.
    pub(crate) fn tell(&self) {
        output::tell(&format!("error: {self}"));
    }

    /// Tells the person, unless that was done or nobody listens, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            // The reader of our output has seen enough: `echoctl get nodes | head -1`.
            Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            // As diff(1) and kubectl: 1 means a difference, hence trouble is more.
            Self::NoDiff(failure) => {
                failure.report();
                return ExitCode::from(EXIT_NO_DIFF);
            }
            Self::Partly | Self::Differs => {}
            _ => self.tell(),
        }
        match self {
            Self::Usage(_) => ExitCode::from(EXIT_USAGE),
            Self::Unfinished(_) => ExitCode::from(EXIT_UNFINISHED),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Every mistake of every document, one a line.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<(String, Vec<FieldError>)>);

impl Mistakes {
    /// Adds those of the document called `name`.
    pub(crate) fn add(&mut self, name: &str, FieldErrors(errors): FieldErrors) {
        self.0.push((name.to_owned(), errors));
    }

    /// `Err` if there is any.
    pub(crate) fn check(self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { Err(Failure::Mistakes(self)) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mistakes: usize = self.0.iter().map(|(_, errors)| errors.len()).sum();
        write!(f, "{}; nothing was changed", count(mistakes, "mistake"))?;
        for (name, errors) in &self.0 {
            for error in errors {
                write!(f, "\n  {name}: {error}")?;
            }
        }
        Ok(())
    }
}

/// A status as a person reads it: its message, then those fields at fault that it does not name.
struct Refusal<'a>(&'a Status);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status) = self;
        if status.message().is_empty() {
            write!(f, "control answered {}", status.code().description())?;
        } else {
            f.write_str(status.message())?;
        }
        if status.code() != Code::InvalidArgument {
            return Ok(());
        }
        for violation in status.get_details_bad_request().iter().flat_map(|b| &b.field_violations) {
            let told = format!("{}: {}", violation.field, violation.description);
            if !status.message().contains(&told) {
                write!(f, "\n  {told}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn the_fields_that_control_refuses_are_told_like_our_own() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("spec.replicas", "100001 is too large; at most 100000");
        let status = Status::with_error_details(Code::InvalidArgument, "pool \"edge\" has 1 mistake", details);
        let told = Failure::Refused(Box::new(status)).to_string();
        assert_eq!(told, "pool \"edge\" has 1 mistake\n  spec.replicas: 100001 is too large; at most 100000");
    }

    #[test]
    fn a_mistake_is_told_once() {
        let told = "replicas: 7 is too large; at most 5";
        let details = ErrorDetails::with_bad_request_violation("replicas", "7 is too large; at most 5");
        let status = Status::with_error_details(Code::InvalidArgument, told, details);
        assert_eq!(Failure::Refused(Box::new(status)).to_string(), told);
    }

    #[test]
    fn a_refusal_without_words_names_its_code() {
        let told = Failure::Refused(Box::new(Status::new(Code::Internal, ""))).to_string();
        assert_eq!(told, "control answered Internal error");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(format!("{:?}", closed.report()), format!("{:?}", ExitCode::SUCCESS));
        let usage = Failure::Usage("x".to_owned());
        assert_eq!(format!("{:?}", usage.report()), format!("{:?}", ExitCode::from(EXIT_USAGE)));
    }
}
