//! `echoctl describe`: all that is known of an object, in sections, with what happened to it last.
//!
//! Called by `main`. Asks control for the object and for what belongs to it; the text itself is made by pure functions,
//! one file a type.

mod event;
mod node;
mod pool;
mod recent;
mod revision;
mod served;
mod sheet;

use std::time::SystemTime;

use echo_proto::v1;
use tonic::Code;

use crate::args::Global;
use crate::chosen::chosen;
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::source::{Filter, Selection, Source, list};
use crate::output::human::moment;
use crate::output::print;
use crate::target::{self, Target, Type};
use recent::{Recent, events_of};
use sheet::Sheet;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl describe node/node-1
  echoctl describe pool edge
  echoctl describe nodes -l zone=a
  echoctl describe revision/edge-4";

/// Flags of `describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to describe: a node, pool, revision or event; without names all of the type.
    #[arg(required = true, value_name = "TYPE[/NAME]")]
    target: Vec<String>,
    #[command(flatten)]
    selection: Selection,
}

/// A type that can be described.
trait Described: Source {
    /// Events are about objects of this type.
    const HAS_EVENTS: bool;
    /// What else its description needs.
    type More;

    /// Asks control for it.
    async fn more(&self, control: &mut Control) -> Result<Self::More, Failure>;

    /// The description, but for its events.
    fn sheet(&self, more: &Self::More, now: SystemTime) -> Sheet;
}

/// Describes objects.
///
/// # Errors
/// Control is away, or an object isn't there.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let Target { of, names } = target::parse(&args.target)?;
    let filter = args.selection.filter(of, &names)?;
    let mut control = Control::connect(global).await?;
    match of {
        Type::Node => describe::<v1::Node>(&mut control, &names, &filter).await,
        Type::Pool => describe::<v1::Pool>(&mut control, &names, &filter).await,
        Type::Revision => describe::<v1::Revision>(&mut control, &names, &filter).await,
        Type::Event => describe::<v1::Event>(&mut control, &names, &filter).await,
    }
}

async fn describe<T: Described>(control: &mut Control, names: &[String], filter: &Filter) -> Result<(), Failure> {
    let objects = if names.is_empty() && filter.selector.is_empty() {
        list::<T>(control, filter).await?.0
    } else {
        chosen::<T>(control, names, filter).await?
    };
    let mut recent = Recent::default();
    if T::HAS_EVENTS {
        recent = events_of(control, objects.iter().map(crate::object::Object::path).collect()).await?;
    }
    for (index, object) in objects.iter().enumerate() {
        let more = object.more(control).await?;
        let mut sheet = object.sheet(&more, SystemTime::now());
        if T::HAS_EVENTS {
            let (events, more) = recent.take(&object.path());
            event::table(&mut sheet, &events, more.then(|| object.path()), SystemTime::now());
        }
        let gap = if index > 0 { "\n" } else { "" };
        print(&format!("{gap}{}", sheet.text()))?;
    }
    Ok(())
}

/// ` at 2026-11-22T21:30:05Z (3m12s ago)`.
fn since(time: Option<prost_types::Timestamp>, now: SystemTime) -> String {
    time.map(|time| format!(" at {}", moment(Some(time), now))).unwrap_or_default()
}

/// What is not there is no failure of a description.
fn optional<T>(control: &Control, answer: Result<T, tonic::Status>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(control.explain(status)),
    }
}

#[cfg(test)]
mod tests;
