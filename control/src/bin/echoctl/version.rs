//! `echoctl version`: what this command is, and what answers it.
//!
//! Called by `main`. The client's part is told even when control is away.

use echo_proto::{VERSION, codec, v1};
use serde_json::json;

use crate::args::Global;
use crate::connect::Control;
use crate::failure::Failure;
use crate::output::{Format, document, print};

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl version
  echoctl version --client -o json";

/// Flags of `version`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only this command's version; asks no control.
    #[arg(long)]
    client: bool,
    /// Form of the result.
    #[arg(short, long, value_enum, value_name = "FORM")]
    output: Option<Form>,
}

/// The forms that a version has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Json,
    Yaml,
}

/// Tells the versions.
///
/// # Errors
/// Control is away; the client's version was printed then.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let server = if args.client { Ok(None) } else { ask(global).await.map(Some) };
    let (info, failure) = match server {
        Ok(info) => (info, None),
        Err(failure) => (None, Some(failure)),
    };
    print(&text(info.as_ref(), args.output))?;
    failure.map_or(Ok(()), Err)
}

async fn ask(global: &Global) -> Result<v1::GetInfoResponse, Failure> {
    let mut control = Control::connect(global).await?;
    match control.cluster.get_info(v1::GetInfoRequest {}).await {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(control.explain(status)),
    }
}

fn text(info: Option<&v1::GetInfoResponse>, form: Option<Form>) -> String {
    if let Some(form) = form {
        let mut tree = json!({"clientVersion": VERSION});
        if let (Some(info), Some(tree)) = (info, tree.as_object_mut()) {
            tree.insert("server".to_owned(), codec::to_value(info));
        }
        return document(&tree, if form == Form::Json { Format::Json } else { Format::Yaml });
    }
    let mut text = format!("Client Version: {VERSION}\n");
    if let Some(info) = info {
        let leader = if info.leader.is_empty() { "none" } else { &info.leader };
        text += &format!(
            "Server Version: {}\nCluster:        {}\nInstance:       {}\nLeader:         {leader}\n",
            info.version, info.cluster, info.instance
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_server_leaves_the_clients_version() {
        assert_eq!(text(None, None), format!("Client Version: {VERSION}\n"));
        assert_eq!(text(None, Some(Form::Json)), format!("{{\n  \"clientVersion\": \"{VERSION}\"\n}}\n"));
    }
}
