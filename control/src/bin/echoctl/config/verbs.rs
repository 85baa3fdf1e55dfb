//! `echoctl config`: looks at the contexts and changes them, with kubectl's words.
//!
//! Called by `main`. It asks no control anything.

use clap::Subcommand;
use echo_proto::v1;

use super::{Config, check_name};
use crate::args::Global;
use crate::failure::Failure;
use crate::output::{Format, TreeForm, document, print, table, tell};
use echo_proto::codec;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl config set-context lab --server http://10.0.0.5:7400,http://10.0.0.6:7400 --timeout 20s
  echoctl config use-context lab
  echoctl config get-contexts";

/// `config` and what it does.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the config file.
    View {
        /// Form of the result.
        #[arg(short, long, value_enum, default_value = "yaml", value_name = "FORM")]
        output: TreeForm,
    },
    /// List the contexts; a star marks the current one.
    GetContexts,
    /// Tell the name of the current context.
    CurrentContext,
    /// Choose the current context.
    UseContext {
        /// The context.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Make a context of --server and --timeout, or change one.
    SetContext {
        /// The context.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Remove a context.
    DeleteContext {
        /// The context.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Give a context another name.
    RenameContext {
        /// Its name now.
        #[arg(value_name = "OLD")]
        from: String,
        /// Its new name.
        #[arg(value_name = "NEW")]
        to: String,
    },
}

impl Action {
    fn changes(&self) -> bool {
        !matches!(self, Self::View { .. } | Self::GetContexts | Self::CurrentContext)
    }
}

impl Args {
    /// Name of the root span.
    pub(crate) fn span(&self) -> &'static str {
        match self.action {
            Action::View { .. } => "echoctl config view",
            Action::GetContexts => "echoctl config get-contexts",
            Action::CurrentContext => "echoctl config current-context",
            Action::UseContext { .. } => "echoctl config use-context",
            Action::SetContext { .. } => "echoctl config set-context",
            Action::DeleteContext { .. } => "echoctl config delete-context",
            Action::RenameContext { .. } => "echoctl config rename-context",
        }
    }
}

/// Does what is asked for.
///
/// # Errors
/// The file is broken or can't be written, or has no such context.
pub(crate) fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let file = global.config.as_deref();
    let (mut config, _lock) =
        if args.action.changes() { Config::read_locked(file)? } else { (Config::read(file)?, None) };
    match &args.action {
        Action::View { output: TreeForm::Yaml } => print(&config.yaml()),
        Action::View { output: TreeForm::Json } => print(&document(&codec::to_value(&config.content), Format::Json)),
        Action::GetContexts => list(&config),
        Action::CurrentContext => current(&config),
        Action::UseContext { name } => {
            config.find(name)?;
            config.content.current_context.clone_from(name);
            config.write()?;
            print(&format!("context/{name} is the current one\n"))
        }
        Action::SetContext { name } => set(global, &mut config, name),
        Action::DeleteContext { name } => delete(&mut config, name),
        Action::RenameContext { from, to } => rename(&mut config, from, to),
    }
}

fn list(config: &Config) -> Result<(), Failure> {
    let row = |context: &v1::ClientContext| {
        let current = if context.name == config.content.current_context { "*" } else { "" };
        let timeout = context.timeout.and_then(|time| std::time::Duration::try_from(time).ok());
        let timeout = timeout.map_or_else(|| "-".to_owned(), |time| format!("{time:?}"));
        [current.to_owned(), context.name.clone(), context.server.clone(), timeout]
    };
    let rows: Vec<_> = config.content.contexts.iter().map(row).collect();
    if rows.is_empty() {
        tell("no contexts found; `echoctl config set-context NAME --server URL` makes one");
        return Ok(());
    }
    print(&table::render(&["CURRENT", "NAME", "SERVER", "TIMEOUT"], &rows))
}

fn current(config: &Config) -> Result<(), Failure> {
    match config.content.current_context.as_str() {
        "" => {
            Err(Failure::Config("there is no current context; choose one with `echoctl config use-context`".to_owned()))
        }
        name => print(&format!("{name}\n")),
    }
}

/// Only what was typed counts: a variable of the environment is for other commands.
fn set(global: &Global, config: &mut Config, name: &str) -> Result<(), Failure> {
    check_name(name).map_err(Failure::Usage)?;
    let server = global.server.as_ref().filter(|_| global.given.server).map(ToString::to_string);
    let timeout = global.timeout.filter(|_| global.given.timeout).map(TryInto::try_into);
    let timeout = timeout.transpose().map_err(|_| Failure::Usage("--timeout: too long".to_owned()))?;
    let contexts = &mut config.content.contexts;
    let done = if let Some(context) = contexts.iter_mut().find(|context| context.name == name) {
        let before = context.clone();
        context.server = server.unwrap_or_else(|| context.server.clone());
        context.timeout = timeout.or(context.timeout);
        if *context == before { "unchanged" } else { "configured" }
    } else {
        let missing = || Failure::Usage(format!("context {name:?} is new; give its URL with --server"));
        let server = server.ok_or_else(missing)?;
        contexts.push(v1::ClientContext { name: name.to_owned(), server, timeout });
        "created"
    };
    config.write()?;
    print(&format!("context/{name} {done}\n"))?;
    if config.content.current_context.is_empty() {
        tell(&format!("`echoctl config use-context {name}` makes it the current one"));
    }
    Ok(())
}

fn delete(config: &mut Config, name: &str) -> Result<(), Failure> {
    config.find(name)?;
    config.content.contexts.retain(|context| context.name != name);
    let was_current = config.content.current_context == name;
    if was_current {
        config.content.current_context.clear();
    }
    config.write()?;
    print(&format!("context/{name} deleted\n"))?;
    if was_current {
        tell("it was the current one; choose another with `echoctl config use-context`");
    }
    Ok(())
}

fn rename(config: &mut Config, from: &str, to: &str) -> Result<(), Failure> {
    check_name(to).map_err(Failure::Usage)?;
    config.find(from)?;
    if config.find(to).is_ok() {
        return Err(Failure::Config(format!("there is a context {to:?} already; delete it first")));
    }
    for context in config.content.contexts.iter_mut().filter(|context| context.name == from) {
        to.clone_into(&mut context.name);
    }
    if config.content.current_context == from {
        to.clone_into(&mut config.content.current_context);
    }
    config.write()?;
    print(&format!("context/{from} renamed to {to}\n"))
}
