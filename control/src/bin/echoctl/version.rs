//! `echoctl version`: what this command is, and what answers it.
//!
//! Called by `main`. The client's part is told even when control is away.

use echo_proto::{VERSION, codec, v1};
use serde_json::json;

use crate::args::Global;
use crate::connect::Control;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{TreeForm, document, print};

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
    output: Option<TreeForm>,
}

/// Who answered, and how it came to be asked.
struct Answer {
    info: v1::GetInfoResponse,
    server: String,
    origin: String,
}

/// Tells the versions.
///
/// # Errors
/// Control is away; the client's version was printed then.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let answer = if args.client { Ok(None) } else { ask(global).await.map(Some) };
    let (answer, failure) = match answer {
        Ok(answer) => (answer, None),
        Err(failure) => (None, Some(failure)),
    };
    print(&text(answer.as_ref(), args.output))?;
    failure.map_or(Ok(()), Err)
}

async fn ask(global: &Global) -> Result<Answer, Failure> {
    let context = Context::resolve(global)?;
    let mut control = Control::of(&context).await?;
    match control.cluster.get_info(v1::GetInfoRequest {}).await {
        Ok(response) => {
            let (server, origin) = (control.server().to_string(), context.origin.to_string());
            Ok(Answer { info: response.into_inner(), server, origin })
        }
        Err(status) => Err(control.explain(status)),
    }
}

fn text(answer: Option<&Answer>, form: Option<TreeForm>) -> String {
    if let Some(form) = form {
        let mut tree = json!({"clientVersion": VERSION});
        if let (Some(answer), Some(tree)) = (answer, tree.as_object_mut()) {
            tree.insert("address".to_owned(), answer.server.clone().into());
            tree.insert("addressFrom".to_owned(), answer.origin.clone().into());
            tree.insert("server".to_owned(), codec::to_value(&answer.info));
        }
        return document(&tree, form.into());
    }
    let mut text = format!("Client Version: {VERSION}\n");
    if let Some(Answer { info, server, origin }) = answer {
        let leader = if info.leader.is_empty() { "none" } else { &info.leader };
        text += &format!(
            "Server Version: {}\nAddress:        {server} (from {origin})\nCluster:        {}\nInstance:       {}\n\
             Leader:         {leader}\n",
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
        assert_eq!(text(None, Some(TreeForm::Json)), format!("{{\n  \"clientVersion\": \"{VERSION}\"\n}}\n"));
    }
}
