//! `echoctl get`: lists of objects, single ones, and what changes.
//!
//! Called by `main`.

mod known;
mod watch;

use echo_proto::v1;

use crate::args::Global;
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::View;
use crate::object::source::{Filter, Selection, Source, Watched, list};
use crate::output::{Format, OutputArgs, print_list, print_object, tell};
use crate::target::{self, Target, Type};

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Columns of nodes:
  PHASE  what it does; CORDONED: it serves, but is not ready
  SYNC   how it stands to what its pool asks of it
  CONNS  its open TCP connections
  RATE   TCP reads it answered plus UDP datagrams it took, a second

What -o yaml shows of a pool can be edited and applied, once: it names the version that it was.
`echoctl backup` writes pools without version and status, as files to keep.

Examples:
  echoctl get nodes --pool edge
  echoctl get nodes -l zone=a -o wide
  echoctl get pool/edge -o yaml
  echoctl get events --for pool/edge --watch";

/// Flags of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to show: nodes, pools, revisions or events; with names, only those.
    #[arg(required = true, value_name = "TYPE[/NAME]")]
    target: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// Only events of this object, as in pool/default.
    #[arg(long = "for", value_parser = crate::target::about, value_name = "TYPE/NAME")]
    about: Option<String>,
    /// Go on and show what changes, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Shows objects.
///
/// # Errors
/// Control is away, or an object isn't there.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let Target { of, names } = target::parse(&args.target)?;
    if args.about.is_some() && of != Type::Event {
        return Err(Failure::Usage(format!("--for is for events, not for {}", of.plural())));
    }
    let about = args.about.unwrap_or_default();
    let filter = Filter { about, ..args.selection.filter(of, &names)? };
    if args.watch && of == Type::Revision {
        return Err(Failure::Usage(
            "revisions never change, so there is nothing to watch; watch pools or events".to_owned(),
        ));
    }
    let mut control = Control::connect(global).await?;
    let mut get = Get { control: &mut control, names, filter, format: args.output.output };
    match (of, args.watch) {
        (Type::Node, false) => get.once::<v1::Node>().await,
        (Type::Pool, false) => get.once::<v1::Pool>().await,
        (Type::Revision, _) => get.once::<v1::Revision>().await,
        (Type::Event, false) => get.once::<v1::Event>().await,
        (Type::Node, true) => get.watch::<v1::Node>().await,
        (Type::Pool, true) => get.watch::<v1::Pool>().await,
        (Type::Event, true) => get.watch::<v1::Event>().await,
    }
}

/// One `get`.
struct Get<'a> {
    control: &'a mut Control,
    names: Vec<String>,
    filter: Filter,
    format: Format,
}

impl Get<'_> {
    async fn once<T: Source>(&mut self) -> Result<(), Failure> {
        let Self { control, names, filter, format } = self;
        if let [name] = names.as_slice() {
            let object = T::find(control, name, filter).await?;
            let view = self.view::<T>().await?;
            return print_object(&object, self.format, &view);
        }
        let (items, version, missing) = if names.is_empty() {
            let (items, version) = list::<T>(control, filter).await?;
            (items, version, Vec::new())
        } else {
            named::<T>(control, names, filter).await?
        };
        if items.is_empty() && names.is_empty() && !filter.pool.is_empty() {
            // An empty pool and none at all are not the same.
            v1::Pool::find(control, &filter.pool, &Filter::default()).await?;
        }
        let format = *format;
        if !items.is_empty() || !matches!(format, Format::Table | Format::Wide) {
            let view = self.view::<T>().await?;
            print_list(&items, &version, format, &view)?;
        } else if missing.is_empty() {
            // On stderr, so that a script that counts lines counts none.
            tell(&format!("no {} found", T::LIST));
        }
        missing.iter().for_each(Failure::tell);
        if missing.is_empty() { Ok(()) } else { Err(Failure::Partly) }
    }

    async fn watch<T: Watched>(&mut self) -> Result<(), Failure> {
        watch::run::<T>(self.control, &self.names, &self.filter, self.format).await
    }

    /// What the rows are seen with; pools are asked for only where a table needs them.
    async fn view<T: Source>(&mut self) -> Result<View, Failure> {
        let mut view = View::now(self.format == Format::Wide);
        if T::NEEDS_POOLS && matches!(self.format, Format::Table | Format::Wide) {
            (view.pools, _) = list::<v1::Pool>(self.control, &Filter::default()).await?;
        }
        Ok(view)
    }
}

/// The objects of these names, no resource version, and why the others are not among them.
async fn named<T: Source>(
    control: &mut Control,
    names: &[String],
    filter: &Filter,
) -> Result<(Vec<T>, String, Vec<Failure>), Failure> {
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match T::find(control, name, filter).await {
            Ok(object) => items.push(object),
            Err(failure @ Failure::NotFound { .. }) => missing.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    Ok((items, String::new(), missing))
}
