//! `echoctl diff`: what applying a file would change, or how two revisions of a pool differ.
//!
//! Called by `main`. Changes nothing: control tells what it would store, by a dry run. Both sides are shown as files,
//! without what belongs to the cluster alone, such as versions and status.

use echo_proto::{codec, v1};
use similar::TextDiff;
use tonic::Code;

use crate::apply::{How, send};
use crate::args::{Global, revision};
use crate::connect::Control;
use crate::documents::{as_file, read_pools};
use crate::failure::Failure;
use crate::object::{Object as _, revision as shown};
use crate::output::console::{Colour, Console};
use crate::output::print;
use crate::rollout::history;
use crate::target;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Exits with 0 when nothing differs, with 1 when something does, and with 2 when that can't be told.

Examples:
  echoctl diff -f edge.yaml
  echoctl get pool/edge -o yaml | sed s/7007/7008/ | echoctl diff -f -
  echoctl diff pool/edge --revision 3                  what changed since then
  echoctl diff pool/edge --revision 3 --to-revision 5";

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file of one or more pools, YAML or JSON; `-` is standard input. May be given several times.
    #[arg(short, long = "filename", required_unless_present = "target", value_name = "FILE")]
    files: Vec<String>,
    /// Compare revisions of this pool instead.
    #[arg(num_args = 0..=2, conflicts_with = "files", requires = "revision", value_name = "pool/NAME")]
    target: Vec<String>,
    /// Number of the one revision.
    #[arg(long, value_name = "N", requires = "target", allow_negative_numbers = true, value_parser = revision)]
    revision: Option<u32>,
    /// Number of the other one; the newest unless given.
    #[arg(long, value_name = "M", requires = "revision", allow_negative_numbers = true, value_parser = revision)]
    to_revision: Option<u32>,
}

/// Prints the differences.
///
/// # Errors
/// There are some; or, with another exit code, a file has mistakes, or control is away or refuses.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let differs = match args.revision {
        Some(revision) => revisions_differ(global, &args, revision).await,
        None => files_differ(global, &args.files).await,
    };
    match differs {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::Differs),
        Err(failure) => Err(Failure::NoDiff(Box::new(failure))),
    }
}

async fn files_differ(global: &Global, files: &[String]) -> Result<bool, Failure> {
    let pools = read_pools(files)?;
    let mut control = Control::connect(global).await?;
    let console = Console::new();
    let mut some = false;
    for pool in pools {
        let stored = match control.pools.get(v1::PoolsGetRequest { name: pool.name().to_owned() }).await {
            Ok(response) => response.into_inner().pool,
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => return Err(control.explain(status)),
        };
        let applied =
            send(&mut control, &pool, How { dry_run: true, now: false, message: "", keep_nodes: false }).await?.pool;
        let (path, stored) = (pool.path(), text(stored.as_ref()));
        let diff =
            unified((&format!("{path} (stored)"), &stored), (&format!("{path} (applied)"), &text(applied.as_ref())));
        some |= !diff.is_empty();
        print(&coloured(&diff, &console))?;
    }
    Ok(some)
}

/// Prints how the templates of two revisions differ.
async fn revisions_differ(global: &Global, args: &Args, from: u32) -> Result<bool, Failure> {
    let pool = target::pool(&args.target)?;
    let mut control = Control::connect(global).await?;
    let (revisions, _) = history::of_pool(&mut control, pool.as_str()).await?;
    let one = history::numbered(&revisions, pool.as_str(), from)?;
    let other = match args.to_revision {
        Some(to) => history::numbered(&revisions, pool.as_str(), to)?,
        None => revisions.last().unwrap_or(one),
    };
    let name = |revision: &v1::Revision| format!("pool/{pool} (revision {})", shown(revision.revision.as_ref()));
    let diff = unified((&name(one), &history::template(one)), (&name(other), &history::template(other)));
    print(&coloured(&diff, &Console::new()))?;
    Ok(!diff.is_empty())
}

/// The pool as a file; empty where there is none.
fn text(pool: Option<&v1::Pool>) -> String {
    pool.map(|pool| codec::yaml(&codec::to_human_value(&as_file(pool)))).unwrap_or_default()
}

/// The differences of two texts, each with its name, as `diff -u` tells them; empty where there is none.
fn unified(one: (&str, &str), other: (&str, &str)) -> String {
    let diff = TextDiff::from_lines(one.1, other.1);
    diff.unified_diff().context_radius(CONTEXT).header(one.0, other.0).to_string()
}

fn coloured(diff: &str, console: &Console) -> String {
    let line = |line: &str| {
        let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
        let colour = match text.chars().next() {
            Some('-') => Colour::Red,
            Some('+') => Colour::Green,
            Some('@') => Colour::Cyan,
            _ => return line.to_owned(),
        };
        console.coloured(colour, text) + end
    };
    diff.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_unified_diff_and_none_is_nothing() {
        let unified = |one, other| unified(("a", one), ("b", other));
        assert_eq!(unified("x: 1\n", "x: 1\n"), "");
        let expected = "--- a\n+++ b\n@@ -1,2 +1,2 @@\n x: 1\n-y: 2\n+y: 3\n";
        assert_eq!(unified("x: 1\ny: 2\n", "x: 1\ny: 3\n"), expected);
        let new = unified("", "x: 1\n");
        assert!(new.ends_with("+x: 1\n") && !new.contains("\n-x"), "{new}");
    }

    #[test]
    fn only_what_a_file_can_say_is_compared() {
        let meta = |generation, uid: &str| v1::ObjectMeta {
            name: "a".into(),
            generation,
            uid: uid.into(),
            resource_version: uid.into(),
            ..Default::default()
        };
        let pool = |meta, ready| v1::Pool {
            metadata: Some(meta),
            status: Some(v1::PoolStatus { ready, ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(text(Some(&pool(meta(1, "x"), 1))), text(Some(&pool(meta(2, "y"), 3))));
    }
}
