//! The real `echoctl`, as an operator types it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::finish::finish;
use crate::tools;

/// `echoctl`, with the environment of one operator.
#[derive(Debug, Clone)]
pub struct Echoctl {
    env: Vec<(String, String)>,
}

/// What one call printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; 128 + n for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Echoctl {
    /// Talks to the control at `server`, a URL.
    pub fn new(server: &str) -> Self {
        Self { env: Vec::new() }.env("ECHO_SERVER", server)
    }

    /// Talks to the control that a config file names.
    pub fn with_config(file: &Path) -> Self {
        Self { env: Vec::new() }.env("ECHOCTL_CONFIG", &file.display().to_string())
    }

    /// With one more variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it with words split at blanks.
    pub fn run(&self, line: &str) -> Output {
        self.run_args(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// The document that a probe prints, and its exit code.
    ///
    /// # Panics
    /// When it prints none.
    #[track_caller]
    pub fn probe(&self, line: &str) -> (Value, i32) {
        let output = self.run(&format!("probe {line} -o json"));
        let document = serde_json::from_str(&output.stdout);
        (document.unwrap_or_else(|e| panic!("{line}: {e}: {}{}", output.stdout, output.stderr)), output.code)
    }

    /// Runs it with these arguments.
    ///
    /// # Panics
    /// When it does not end ([`finish`]).
    #[track_caller]
    pub fn run_args(&self, args: &[&str]) -> Output {
        let mut command = Command::new(tools::ours("echoctl"));
        command.env_remove("ECHO_SERVER").env_remove("ECHO_CONTEXT").envs(self.env.iter().cloned()).args(args);
        let output = finish(&mut command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or_else(|| {
            use std::os::unix::process::ExitStatusExt as _;
            128 + output.status.signal().unwrap_or(0)
        });
        Output { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Runs it and returns standard output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.code, 0, "echoctl {line}\n{}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Runs it with `-o json` and returns the items of the list, or the object as the only item.
    ///
    /// # Errors
    /// What it printed, when it fails.
    pub fn items(&self, line: &str) -> Result<Vec<Value>, String> {
        let output = self.run(&format!("{line} -o json"));
        if output.code != 0 {
            return Err(output.stderr);
        }
        let value: Value = serde_json::from_str(&output.stdout).map_err(|e| format!("{e}: {}", output.stdout))?;
        Ok(value.get("items").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![value]))
    }
}
