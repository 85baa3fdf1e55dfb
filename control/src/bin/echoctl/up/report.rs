//! What `up` tells once the cluster stands: the nodes, an echo to each of them, and what to type next.
//!
//! Used by `up`.

use echo_proto::ids::Digest;
use echo_proto::v1;

use super::cluster::Cluster;
use super::nodes::{Serving, this_run};
use super::probes::{self, Probed};
use super::programs::own_name;
use super::start::{self, Standing};
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::source::{Filter, list};
use crate::object::{Object as _, View};
use crate::output::{table, table_of};

/// Tells how the cluster stands.
///
/// # Errors
/// Control gave no lists.
pub(super) async fn tell(cluster: &Cluster<'_>, standing: Standing) -> Result<(), Failure> {
    let Standing { mut control, serving, after } = standing;
    let console = cluster.console;
    let (mut nodes, pools) = lists(&mut control).await?;
    let run = this_run(cluster.began.wall);
    nodes.retain(|node| run.has(node));
    console.settle();
    console.line(&format!("\n{}", table_of(&nodes, &View::now(false))));
    let probed = probes::run(&nodes, &pools).await;
    if !probed.is_empty() {
        let rows: Vec<_> = probed.iter().map(Probed::cells).collect();
        console.line(&format!("\n{}", table::render(&Probed::TITLES, &rows)));
    }
    for failure in probed.iter().flat_map(Probed::failures) {
        console.line(&format!("no echo from {failure}"));
    }
    if serving == Serving::All {
        let ready = format!("ready in {:.2} s", after.as_secs_f64());
        console.line(&format!("\n{}; try", console.bold(&ready)));
    } else {
        let apply = format!("{} apply -f FILE", client(cluster)?);
        console.line(&format!("\nnot all nodes serve; they go on trying, and `{apply}` gives them another config:"));
    }
    console.line(&hints(cluster, &client(cluster)?, &probed));
    if let Some(note) = not_applied(cluster, &client(cluster)?, &pools) {
        console.line(&note);
    }
    let logs = cluster.settings.state.logs();
    console.line(&format!("logs are in {}; Ctrl-C stops everything", logs.display()));
    Ok(())
}

async fn lists(control: &mut Control) -> Result<(Vec<v1::Node>, Vec<v1::Pool>), Failure> {
    let (nodes, _) = list(control, &Filter::default()).await?;
    let (pools, _) = list(control, &Filter::default()).await?;
    Ok((nodes, pools))
}

/// This command as it reaches this cluster from another terminal.
fn client(cluster: &Cluster<'_>) -> Result<String, Failure> {
    let server = start::server(cluster.settings.listen)?.to_string();
    let flag = if server == cluster.settings.usual_server { String::new() } else { format!(" --server {server}") };
    Ok(own_name() + &flag)
}

/// Commands that work as they stand, on addresses that are really bound.
fn hints(cluster: &Cluster<'_>, client: &str, probed: &[Probed]) -> String {
    let mut lines = Vec::new();
    if let Some(address) = probed.iter().find_map(|p| p.tcp.address()) {
        lines.push((format!(r"printf 'hello\n' | nc -q1 {} {}", address.ip(), address.port()), "an echo over tcp"));
    }
    if let Some(address) = probed.iter().find_map(|p| p.udp.address()) {
        lines.push((format!(r"printf 'hello\n' | nc -u -w1 {} {}", address.ip(), address.port()), "and over udp"));
    }
    lines.push((format!("{client} get nodes"), "in another terminal"));
    let etcd = &cluster.settings.etcd_urls;
    lines.push((format!("etcdctl --endpoints {etcd} get --prefix /echo/v1"), "all that is stored"));
    let width = lines.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    lines.iter().map(|(command, what)| format!("  {command:width$}  # {what}\n")).collect()
}

/// A file that was given, but is not what the cluster runs: it continues with the pool that is stored.
fn not_applied(cluster: &Cluster<'_>, client: &str, pools: &[v1::Pool]) -> Option<String> {
    let settings = &cluster.settings;
    let file = settings.args.pool.as_deref().filter(|_| settings.pool_given)?;
    let stored = pools.iter().find(|pool| pool.name() == settings.pool.name())?;
    let digest = |pool: &v1::Pool| pool.spec.as_ref().and_then(|s| s.template.as_ref()).map(Digest::of);
    if digest(stored) == digest(&settings.pool) {
        return None;
    }
    let name = stored.path();
    Some(format!("note: {name} was stored before and is kept; `{client} apply -f {file}` changes it to the file's"))
}
