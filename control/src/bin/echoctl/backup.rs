//! `echoctl backup` and `restore`: all pools as one file, and back.
//!
//! Called by `main`. A backup holds what pool files hold, so that `apply` and `diff` read it too; revisions, events and
//! nodes are not in it. Restoring never deletes, nor takes nodes away.

use std::path::Path;
use std::time::SystemTime;

use echo_proto::{codec, v1};

use crate::apply::{How, outcome, send};
use crate::args::Global;
use crate::chosen::{line, one_of_several};
use crate::connect::{Control, io_cause};
use crate::documents::{as_file, parse_pools, read_pools};
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::files::write_whole;
use crate::object::Object as _;
use crate::object::source::{Filter, List, list, whole_list};
use crate::output::{print, tell, warn};
use echo_control::words::count;

/// Shown at the end of `backup --help`.
const BACKUP_EXAMPLES: &str = "\
Examples:
  echoctl backup -o pools.yaml
  echoctl backup | gzip > pools.yaml.gz

Nothing is written where a pool can't be read, so that the last whole backup stays; see --partial.";

/// Shown at the end of `restore --help`.
const RESTORE_EXAMPLES: &str = "\
Every pool is checked before the first is stored.
Pools of the cluster that the file does not hold are named and left alone.
No node is taken away: a pool that has more of them than the file says keeps those, and
that is said; `scale` takes them away.

Examples:
  echoctl restore -f pools.yaml --dry-run=server
  echoctl restore -f pools.yaml";

/// Unreadable keys that one message names.
const MAX_NAMED: usize = 16;

/// Why pools change, in their history.
const MESSAGE: &str = "restored from a backup";

/// Flags of `backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = BACKUP_EXAMPLES)]
pub(crate) struct BackupArgs {
    /// File to write, whole or not at all; standard output unless given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Write what there is also where a pool can't be read, or could not be restored.
    #[arg(long)]
    partial: bool,
}

/// Flags of `restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// A file of pools, as `backup` writes it; `-` is standard input. May be given several times.
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

/// Writes all pools, once it is sure that they can be restored.
///
/// # Errors
/// Control is away, a pool is missing or could not be restored, or the file can't be written.
pub(crate) async fn backup(global: &Global, args: BackupArgs) -> Result<(), Failure> {
    let mut control = Control::connect(global).await?;
    let info = control.cluster.get_info(v1::GetInfoRequest {}).await.map_err(|s| control.explain(s))?.into_inner();
    let List { items: pools, unreadable, .. } = whole_list::<v1::Pool>(&mut control, &Filter::default()).await?;
    let text = document(&info.cluster, &pools, SystemTime::now());
    match whole(&text, &unreadable) {
        _ if pools.is_empty() && unreadable.is_empty() => {
            return Err(Failure::Backup(format!("cluster {:?} has no pool", info.cluster)));
        }
        Err(lack) if args.partial => tell(&format!("warning: {lack}")),
        Err(lack) => return Err(Failure::Backup(lack)),
        Ok(()) => {}
    }
    let Some(file) = args.output.filter(|file| file != "-") else { return print(&text) };
    write_whole(Path::new(&file), &text)
        .map_err(|e| Failure::Unwritable { name: file.clone(), cause: io_cause(&e) })?;
    tell(&format!("{} of cluster {:?} written to {file}", count(pools.len(), "pool"), info.cluster));
    Ok(())
}

/// Whether a backup of that text holds every pool, and could be restored.
fn whole(text: &str, unreadable: &[String]) -> Result<(), String> {
    if unreadable.is_empty() {
        let read = parse_pools("the backup", text);
        return read.map(drop).map_err(|failure| format!("this backup could not be restored: {failure}"));
    }
    let keys: Vec<_> = unreadable.iter().take(MAX_NAMED).map(String::as_str).collect();
    let (count, keys) = (count(unreadable.len(), "pool"), keys.join(", "));
    let more = if unreadable.len() > MAX_NAMED { ", ..." } else { "" };
    Err(format!(
        "{count} can't be read: {keys}{more}; `echoctl doctor` tells why and what to do, --partial leaves out what can't \
         be read"
    ))
}

/// Applies a backup.
///
/// # Errors
/// The file has mistakes, or control is away or refuses a pool; nothing was changed where it refused one beforehand.
pub(crate) async fn restore(global: &Global, args: RestoreArgs) -> Result<(), Failure> {
    let pools = read_pools(&args.files)?;
    if args.dry_run.client() {
        return pools.iter().try_for_each(|pool| print(&line(&pool.path(), "valid", &args.dry_run)));
    }
    let mut control = Control::connect(global).await?;
    let checked = apply_all(&mut control, &pools, true, &args.dry_run).await?;
    if !checked {
        tell("nothing was changed");
        return Err(Failure::Partly);
    }
    let whole = args.dry_run.any() || apply_all(&mut control, &pools, false, &args.dry_run).await?;
    let (stored, _) = list::<v1::Pool>(&mut control, &Filter::default()).await?;
    for pool in stored.iter().filter(|stored| pools.iter().all(|pool| pool.name() != stored.name())) {
        tell(&format!("{} is not in the backup, and was left as it is", pool.path()));
    }
    if whole { Ok(()) } else { Err(Failure::Partly) }
}

/// Applies the pools, or only asks whether they could be; whether none was refused.
async fn apply_all(
    control: &mut Control,
    pools: &[v1::Pool],
    check: bool,
    dry_run: &DryRunArgs,
) -> Result<bool, Failure> {
    let mut whole = true;
    for pool in pools {
        let answer = send(control, pool, How { dry_run: check, now: false, message: MESSAGE, keep_nodes: true }).await;
        match one_of_several(&pool.path(), answer)? {
            Some(response) if !check || dry_run.any() => {
                warn(&response.warnings);
                print(&line(&pool.path(), outcome(response.outcome()), dry_run))?;
            }
            Some(_) => {}
            None => whole = false,
        }
    }
    Ok(whole)
}

/// The pools as YAML documents.
fn document(cluster: &str, pools: &[v1::Pool], now: SystemTime) -> String {
    let time = prost_types::Timestamp::from(now);
    let head = format!("# {} of cluster {cluster:?}, {time}; for echoctl restore -f\n", count(pools.len(), "pool"));
    let yaml = |pool: &v1::Pool| format!("---\n{}", codec::yaml(&codec::to_human_value(&as_file(pool))));
    head + &pools.iter().map(yaml).collect::<String>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_is_not_whole_is_told() {
        let told = whole("", &["/echo/v1/lab/pools/edge".to_owned()]).unwrap_err();
        assert!(told.starts_with("1 pool can't be read: /echo/v1/lab/pools/edge; `echoctl doctor`"), "{told}");
        let told = whole("{apiVersion: echo/v1, kind: Pool, metadata: {name: A}}", &[]).unwrap_err();
        assert!(told.contains("could not be restored") && told.contains("metadata.name"), "{told}");
    }

    #[test]
    fn a_backup_is_read_as_what_was_stored() {
        let file = |name: &str| {
            format!(
                "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: {name}, labels: {{team: net}}}}\nspec: {{replicas: 2, \
                 template: {{listeners: [{{name: a, protocol: TCP, port: 0, service: {{greet: {{banner: \"n\"}}}}}}], \
                 drain: {{deadline: 5s}}}}}}\n"
            )
        };
        let pools = parse_pools("files", &format!("{}---\n{}", file("a"), file("b"))).unwrap();
        let mut stored = pools.clone();
        for pool in &mut stored {
            let meta = pool.metadata.get_or_insert_default();
            (meta.uid, meta.generation, meta.resource_version) = ("u".into(), 3, "77".into());
            pool.status = Some(v1::PoolStatus::default());
        }
        let text = document("lab", &stored, SystemTime::UNIX_EPOCH);
        assert!(text.starts_with("# 2 pools of cluster \"lab\", 1970-01-01T00:00:00Z;"), "{text}");
        assert_eq!(parse_pools("backup", &text).unwrap(), pools);
    }
}
