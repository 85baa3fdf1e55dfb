//! The cluster's control process and its lifeline.
//!
//! Used by `up`.

use std::ffi::OsString;
use std::io::{PipeReader, PipeWriter, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser as _;
use echo_control::settings::Flags;

use super::settings::Settings;
use crate::failure::Failure;

/// A pipe whose write end this process alone holds: when `up` ends, however it does, control and the nodes read the end
/// of it and end too.
#[derive(Debug)]
pub(super) struct Lifeline {
    reader: PipeReader,
    _writer: PipeWriter,
}

impl Lifeline {
    /// A new one; both ends are closed in whatever is started, but for what [`Lifeline::stdin`] passes on.
    ///
    /// # Errors
    /// The kernel has no file left.
    pub(super) fn new() -> std::io::Result<Self> {
        let (reader, writer) = pipe()?;
        Ok(Self { reader, _writer: writer })
    }

    /// The read end, as a child's standard input.
    ///
    /// # Errors
    /// The kernel has no file left.
    pub(super) fn stdin(&self) -> std::io::Result<Stdio> {
        Ok(Stdio::from(self.reader.try_clone()?))
    }
}

/// Control's command line, but for its standard input.
pub(super) fn command(settings: &Settings) -> (PathBuf, Vec<OsString>) {
    let Settings { args, state, .. } = settings;
    let mut line: Vec<OsString> = Vec::new();
    let mut flag = |name: &str, value: &dyn AsRef<Path>| line.extend([name.into(), value.as_ref().into()]);
    flag("--cluster", &args.cluster);
    flag("--grpc", &settings.listen.to_string());
    flag("--http", &settings.http.to_string());
    flag("--etcd", &settings.etcd_urls);
    flag("--state-dir", &state.root());
    flag("--scaler", &"process");
    flag("--bootstrap-pool", &state.pool_file());
    flag("--node-binary", &settings.node_program);
    flag("--node-grpc-port", &args.node_grpc_port.to_string());
    flag("--node-http-port", &args.node_http_port.to_string());
    flag("--node-lease-ttl", &milliseconds(args.node_lease_ttl));
    // Of an autoscaled one control refuses it; where another is stored, that is scaled.
    let ruled = settings.pool.spec.as_ref().is_some_and(|spec| spec.autoscale.is_some());
    if let Some(nodes) = args.nodes.filter(|_| !ruled) {
        flag("--bootstrap-replicas", &nodes.to_string());
    }
    line.push("--lifeline".into());
    if args.insecure {
        line.push("--insecure".into());
    }
    (settings.control_program.clone(), line)
}

/// Has control's own rules judge that command line, since control itself would only do so once etcd runs.
///
/// # Errors
/// The flags that control would refuse; those that reach it under their own names are not checked before.
pub(super) fn check(settings: &Settings) -> Result<(), Failure> {
    let (program, line) = command(settings);
    let flags = Flags::try_parse_from(std::iter::once(program.into_os_string()).chain(line));
    let flags = flags.map_err(|e| Failure::Usage(e.to_string()))?;
    flags.check().map(drop).map_err(|e| Failure::Usage(e.to_string()))
}

/// A duration as the other programs' flags read it.
fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// Makes the process of that command line, on the lifeline.
pub(super) fn process(program: &Path, line: &[OsString], lifeline: &Lifeline) -> std::io::Result<Command> {
    let mut command = Command::new(program);
    command.args(line).stdin(lifeline.stdin()?);
    Ok(command)
}
