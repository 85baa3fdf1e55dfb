//! Which control a command talks to: flags beat the environment, that beats the config file, and that the default.
//!
//! Used by the connection, `version` and `doctor`. The config file is read only where nothing before it decides.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::args::Global;
use crate::config::Config;
use crate::failure::Failure;
use crate::server::{Server, Servers};

/// Where `echoctl up` serves.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7400";

/// Longest wait for an answer where nobody names one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A control plane, and how it came to be chosen.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) servers: Servers,
    /// Longest wait for an answer, where one was chosen.
    pub(crate) timeout: Option<Duration>,
    pub(crate) origin: Origin,
}

/// Who chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--server`.
    Flag,
    /// `ECHO_SERVER`.
    Environment,
    /// A context of the config file.
    File { context: String, file: PathBuf },
    /// Nothing else did.
    Default,
}

impl Context {
    /// The context of this command.
    ///
    /// # Errors
    /// The config file is broken, or has no context of that name.
    pub(crate) fn resolve(global: &Global) -> Result<Self, Failure> {
        let given = global.given;
        if given.server && given.context {
            return Err(Failure::Usage("give --server or --context, not both".to_owned()));
        }
        let timeout = global.timeout;
        match &global.server {
            // A context that was typed beats a server of the environment.
            Some(servers) if given.server || !given.context => {
                let origin = if given.server { Origin::Flag } else { Origin::Environment };
                Ok(Self { servers: servers.clone(), timeout, origin })
            }
            _ => {
                let config = Config::read(global.config.as_deref())?;
                let chosen = config.context(global.context.as_deref())?;
                Ok(chosen.map_or_else(
                    || Self { timeout, ..Self::default() },
                    |c| Self { timeout: timeout.or(c.timeout), ..c },
                ))
            }
        }
    }
}

impl Context {
    /// Longest wait for one answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(ANSWER_TIMEOUT)
    }
}

impl Default for Context {
    fn default() -> Self {
        Self { servers: default_server().into(), timeout: None, origin: Origin::Default }
    }
}

#[allow(clippy::expect_used)] // A constant; the test below reads it.
fn default_server() -> Server {
    DEFAULT_SERVER.parse().expect("the default server is an address")
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--server"),
            Self::Environment => f.write_str("ECHO_SERVER"),
            Self::File { context, file } => write!(f, "context {context} of {}", file.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::args::Given;

    const FILE: &str = "apiVersion: echo/v1\nkind: Config\ncurrentContext: lab\ncontexts:\n\
                        - {name: lab, server: 'lab:1', timeout: 20s}\n- {name: prod, server: 'a:1,b:1'}\n";

    fn resolve(server: Option<&str>, context: Option<&str>, given: Given) -> Result<(String, Origin), String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yaml");
        std::fs::write(&file, FILE).unwrap();
        let server: Option<Servers> = server.map(|text| text.parse().unwrap());
        let global = Global { server, context: context.map(str::to_owned), config: Some(file), timeout: None, given };
        let context = Context::resolve(&global).map_err(|e| e.to_string())?;
        Ok((context.servers.to_string(), context.origin))
    }

    #[test]
    fn flags_beat_the_environment_beats_the_file_beats_the_default() {
        let none = Given::default();
        let (server, context) = (Given { server: true, ..none }, Given { context: true, ..none });
        assert_eq!(resolve(Some("f:1"), Some("prod"), server).unwrap(), ("http://f:1".into(), Origin::Flag));
        let (servers, origin) = resolve(Some("e:1"), Some("prod"), context).unwrap();
        assert_eq!(servers, "http://a:1,http://b:1");
        assert!(origin.to_string().starts_with("context prod of "), "{origin}");
        assert_eq!(resolve(Some("e:1"), Some("prod"), none).unwrap(), ("http://e:1".into(), Origin::Environment));
        assert_eq!(resolve(None, Some("prod"), none).unwrap().0, "http://a:1,http://b:1");
        assert_eq!(resolve(None, None, none).unwrap().0, "http://lab:1");
        let both = resolve(Some("f:1"), Some("lab"), Given { server: true, context: true, ..none });
        assert!(both.unwrap_err().contains("not both"));
        let global = Global { config: Some("/nonexistent/config.yaml".into()), ..Global::default() };
        assert_eq!(Context::resolve(&global).unwrap().origin, Origin::Default);
    }

    #[test]
    fn a_context_brings_its_timeout_and_a_flag_beats_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yaml");
        std::fs::write(&file, FILE).unwrap();
        let timeout = |flag| {
            let global = Global { config: Some(file.clone()), timeout: flag, ..Global::default() };
            Context::resolve(&global).unwrap().timeout
        };
        assert_eq!(timeout(None), Some(Duration::from_secs(20)));
        assert_eq!(timeout(Some(Duration::from_secs(1))), Some(Duration::from_secs(1)));
    }
}
