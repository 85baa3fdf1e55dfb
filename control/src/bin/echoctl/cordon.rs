//! `echoctl cordon`, `uncordon` and `undrain`: what is asked of a node and done within moments.
//!
//! Called by `main`.

use echo_proto::v1::{self, IntentKind};

use crate::args::Global;
use crate::chosen::{NodeArgs, line, one_of_several};
use crate::connect::Control;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::intent::{self, DrainArgs};
use crate::object::Object as _;
use crate::output::print;

/// Shown at the end of `cordon --help`.
pub(crate) const CORDON_EXAMPLES: &str = "\
A cordoned node serves on, but its /readyz and grpc.health say that it is not ready.

Examples:
  echoctl cordon node-1
  echoctl cordon -l zone=a";

/// Shown at the end of `uncordon --help`.
pub(crate) const UNCORDON_EXAMPLES: &str = "\
Examples:
  echoctl uncordon node-1
  echoctl uncordon -l zone=a";

/// Shown at the end of `undrain --help`.
pub(crate) const UNDRAIN_EXAMPLES: &str = "\
It also ends a drain that goes on. Connections that were closed by it do not come back.

Examples:
  echoctl undrain node-1
  echoctl undrain node-1 node-2";

/// Flags of these verbs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

/// Which of them it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Cordon,
    Uncordon,
    Undrain,
}

impl Wish {
    fn done(self) -> &'static str {
        match self {
            Self::Cordon => "cordoned",
            Self::Uncordon => "uncordoned",
            Self::Undrain => "undrained",
        }
    }

    /// What is said of a node for which there was nothing to do.
    fn needless(self) -> &'static str {
        match self {
            Self::Cordon => "already cordoned",
            Self::Uncordon => "not cordoned",
            Self::Undrain => "not drained",
        }
    }

    /// Asks control; what is said of its answer.
    async fn ask(self, control: &mut Control, node: &v1::Node, dry_run: &DryRunArgs) -> Result<String, Failure> {
        let (unchanged, cordoned_by) = match self {
            Self::Cordon => {
                let set = intent::set(control, node, IntentKind::Cordon, DrainArgs::default(), dry_run).await?;
                (set.unchanged, String::new())
            }
            Self::Uncordon | Self::Undrain => {
                let kind = if self == Self::Undrain { IntentKind::Drain } else { IntentKind::Cordon };
                let cleared = intent::clear(control, node, kind, dry_run).await?;
                (cleared.unchanged, cleared.cordoned_by)
            }
        };
        Ok(match cordoned_by.as_str() {
            _ if unchanged => self.needless().to_owned(),
            "" => self.done().to_owned(),
            author => format!("{}, and cordoned by {author} as before", self.done()),
        })
    }
}

/// Asks it of every node.
///
/// # Errors
/// A node isn't there, or control is away or refused one.
pub(crate) async fn run(global: &Global, args: Args, wish: Wish) -> Result<(), Failure> {
    let nodes = args.nodes.read()?;
    if args.dry_run.client() {
        return nodes.unasked(wish.done(), &args.dry_run);
    }
    let mut control = Control::connect(global).await?;
    let mut refused = false;
    for node in nodes.find(&mut control).await? {
        let answer = wish.ask(&mut control, &node, &args.dry_run).await;
        match one_of_several(&node.path(), answer)? {
            Some(said) => print(&line(&node.path(), &said, &args.dry_run))?,
            None => refused = true,
        }
    }
    if refused { Err(Failure::Partly) } else { Ok(()) }
}
