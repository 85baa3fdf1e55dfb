//! The config file: contexts by name, and which of them is the current one.
//!
//! Read by [`crate::context`], changed by `echoctl config`. An absent file is an empty one; of a broken one every
//! mistake is told at once.

pub(crate) mod verbs;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use echo_proto::codec::{self, FieldError, FieldErrors, Strictness};
use echo_proto::{API_VERSION, v1};

use crate::connect::io_cause;
use crate::context::{Context, Origin};
use crate::failure::Failure;
use crate::files::write_whole;
use crate::server::Servers;

/// The `kind` of the file.
const KIND: &str = "Config";
/// Longest name of a context.
const MAX_NAME: usize = 63;
/// Longest wait for another command that changes the file.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Between two tries to lock it.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Most contexts that one message names.
const MAX_NAMED: usize = 16;

/// A valid config file, and where it is.
#[derive(Debug)]
pub(crate) struct Config {
    file: PathBuf,
    content: v1::ClientConfig,
}

impl Config {
    /// Reads `given`, else the file in its usual place.
    ///
    /// # Errors
    /// It can't be read, or every mistake in it.
    pub(crate) fn read(given: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = given.map(Path::to_owned).or_else(usual_place) else {
            // Nowhere to keep a file: that is as good as none, until one shall be written.
            return Ok(Self { file: PathBuf::new(), content: empty() });
        };
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let content = parse(&text).map_err(|errors| broken(&file, &errors))?;
                Ok(Self { file, content })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self { file, content: empty() }),
            Err(e) => Err(Failure::File { name: file.display().to_string(), cause: io_cause(&e) }),
        }
    }

    /// Reads it to change it: until the lock is dropped, no other `echoctl config` does.
    ///
    /// # Errors
    /// It can't be read or locked, or every mistake in it.
    pub(crate) fn read_locked(given: Option<&Path>) -> Result<(Self, Option<File>), Failure> {
        let Some(file) = given.map(Path::to_owned).or_else(usual_place) else { return Ok((Self::read(given)?, None)) };
        if file.metadata().is_ok_and(|found| !found.is_file()) {
            // It is refused when it shall be written.
            return Ok((Self::read(Some(&file))?, None));
        }
        let lock = lock(&file).map_err(|e| Failure::unwritable(&file, &e))?;
        Ok((Self::read(Some(&file))?, Some(lock)))
    }

    /// The context of that name, else the current one, if there is one.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) fn context(&self, name: Option<&str>) -> Result<Option<Context>, Failure> {
        let current = &self.content.current_context;
        let Some(name) = name.or((!current.is_empty()).then_some(current)) else { return Ok(None) };
        let context = self.find(name)?;
        let servers = context.server.parse::<Servers>().map_err(Failure::Config)?;
        let timeout = context.timeout.and_then(|timeout| timeout.try_into().ok());
        let origin = Origin::File { context: name.to_owned(), file: self.file.clone() };
        Ok(Some(Context { servers, timeout, origin }))
    }

    /// The context of that name.
    ///
    /// # Errors
    /// There is none; names those that there are.
    fn find(&self, name: &str) -> Result<&v1::ClientContext, Failure> {
        let found = self.content.contexts.iter().find(|context| context.name == name);
        found.ok_or_else(|| self.unknown(name))
    }

    /// The names of its contexts.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.content.contexts.iter().map(|context| context.name.as_str())
    }

    fn unknown(&self, name: &str) -> Failure {
        let file = self.file.display();
        let names: Vec<_> = self.names().take(MAX_NAMED).collect();
        let next = match names.as_slice() {
            [] => format!("`echoctl config set-context {name} --server URL` makes one"),
            names => format!("there are {}", names.join(", ")),
        };
        Failure::Config(format!("no context {name:?} in {file}; {next}"))
    }

    /// Stores it.
    ///
    /// # Errors
    /// It would not be valid, or can't be written.
    fn write(&self) -> Result<(), Failure> {
        if self.file.as_os_str().is_empty() {
            return Err(Failure::Config("there is no HOME to keep contexts in; name a file with --config".to_owned()));
        }
        check(&self.content).map_err(|errors| broken(&self.file, &errors))?;
        if self.file.metadata().is_ok_and(|found| !found.is_file()) {
            let file = self.file.display();
            return Err(Failure::Config(format!("{file} is no regular file; name another with --config")));
        }
        write_whole(&self.file, &self.yaml()).map_err(|e| Failure::unwritable(&self.file, &e))
    }

    /// Its text.
    fn yaml(&self) -> String {
        codec::yaml(&codec::to_human_value(&self.content))
    }
}

/// Locks a file's neighbour: the file itself is replaced at every change.
#[allow(clippy::disallowed_methods)] // What is waited for is the lock, which has no wait with a deadline.
fn lock(file: &Path) -> io::Result<File> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), std::fs::create_dir_all)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let path = file.with_file_name(name);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                let cause = format!("another echoctl holds {} for longer than {LOCK_WAIT:?}", path.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, cause));
            }
        }
    }
}

/// `$XDG_CONFIG_HOME/echo/config.yaml`, else `~/.config/echo/config.yaml`.
fn usual_place() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|home| home.join(".config")));
    base.map(|base| base.join("echo/config.yaml"))
}

fn empty() -> v1::ClientConfig {
    v1::ClientConfig { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), ..Default::default() }
}

/// Reads a file's text; one without a document is an empty file.
fn parse(text: &str) -> Result<v1::ClientConfig, FieldErrors> {
    let mut documents = codec::parse_yaml(text).map_err(|error| FieldErrors(vec![error]))?;
    documents.retain(|document| !document.is_null());
    let document = match (documents.pop(), documents.is_empty()) {
        (None, _) => return Ok(empty()),
        (Some(document), true) => document,
        _ => return Err(FieldErrors(vec![FieldError::new("", "holds several documents; one is a config")])),
    };
    let decoded = codec::decode::<v1::ClientConfig>(&document, Strictness::Strict);
    let mut errors = decoded.errors;
    if let Err(FieldErrors(found)) = check(&decoded.message) {
        let read = |e: &FieldError| !errors.iter().any(|known| known.path == e.path);
        let found: Vec<_> = found.into_iter().filter(read).collect();
        errors.extend(found);
    }
    if errors.is_empty() { Ok(decoded.message) } else { Err(FieldErrors(errors)) }
}

/// Every mistake of a config.
fn check(config: &v1::ClientConfig) -> Result<(), FieldErrors> {
    let mut errors = Vec::new();
    let mut fail = |path: String, cause: String| errors.push(FieldError::new(path, cause));
    if config.api_version != API_VERSION {
        fail("apiVersion".to_owned(), format!("expected {API_VERSION}, got {:?}", config.api_version));
    }
    if config.kind != KIND {
        fail("kind".to_owned(), format!("expected {KIND}, got {:?}", config.kind));
    }
    let mut names = BTreeSet::new();
    for (index, context) in config.contexts.iter().enumerate() {
        let at = |field: &str| format!("contexts[{index}].{field}");
        if let Err(cause) = check_name(&context.name) {
            fail(at("name"), cause);
        } else if !names.insert(context.name.as_str()) {
            fail(at("name"), format!("{:?} is the name of another context too", context.name));
        }
        if let Err(cause) = context.server.parse::<Servers>() {
            fail(at("server"), cause);
        }
        if context.timeout.is_some_and(|timeout| timeout.seconds == 0 && timeout.nanos == 0) {
            fail(at("timeout"), "must be longer than 0s".to_owned());
        }
    }
    let current = config.current_context.as_str();
    if !current.is_empty() && !names.contains(current) {
        fail("currentContext".to_owned(), format!("there is no context {current:?}"));
    }
    if errors.is_empty() { Ok(()) } else { Err(FieldErrors(errors)) }
}

/// Whether a context may have that name: one word, that a shell and a table take as it is.
fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(good) && !name.starts_with('-') {
        return Ok(());
    }
    Err(format!("{name:?} is no name of a context; use 1 to {MAX_NAME} of letters, digits and -_.@:"))
}

fn broken(file: &Path, FieldErrors(errors): &FieldErrors) -> Failure {
    let file = file.display();
    let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
    Failure::Config(format!("{file} is no valid config; mend it, or name another with --config{lines}"))
}

#[cfg(test)]
mod tests;
