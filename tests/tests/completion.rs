//! What a shell offers at Tab: verbs, flags, types, contexts, and names and numbers as control knows them.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use echo_tests::cluster::{READY, pool_file};
use echo_tests::finish::finish;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Echoctl, eventually, tools};

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// What bash offers at the end of a line, by the script that `completion` prints.
fn completed(line: &str, env: &[(&str, &str)]) -> Vec<String> {
    let bin = tools::ours("echoctl").parent().unwrap().to_owned();
    let words: Vec<_> = line.split(' ').collect();
    let script = format!(
        "source <(echoctl completion bash); COMP_WORDS=({}); COMP_CWORD={}; \
         $(complete -p echoctl | grep -o '_clap[^ ]*') echoctl '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1,
        words.last().unwrap(),
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    command.env_remove("ECHO_SERVER").env_remove("ECHO_CONTEXT").envs(env.iter().copied());
    let output = finish(&mut command);
    assert!(output.status.success() && output.stderr.is_empty(), "{script}: {output:?}");
    String::from_utf8_lossy(&output.stdout)
        .split(['\u{b}', '\n'])
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes_verbs_flags_types_and_names() {
    let cluster = Cluster::start(2);
    let server = format!("http://{}", cluster.address());
    let config = cluster.dir().join("config.yaml");
    Echoctl::with_config(&config).ok(&format!("config set-context lab --server {server}"));
    Echoctl::with_config(&config).ok("config use-context lab");
    let config = config.display().to_string();
    let changed = pool_file(2) + "    limits: {maxConnections: 5}\n";
    cluster.echoctl().ok(&format!("apply -f {} --now", cluster.file("changed.yaml", &changed)));
    let env = [("ECHOCTL_CONFIG", config.as_str())];
    let cases: [(&str, &[&str]); 19] = [
        ("echoctl roll", &["rollout"]),
        ("echoctl config use", &["use-context"]),
        ("echoctl get --wat", &["--watch"]),
        ("echoctl apply --dry-run cl", &["client"]),
        ("echoctl get ", &["nodes", "pools", "revisions", "events"]),
        ("echoctl delete ", &["nodes", "pools"]),
        ("echoctl get nodes ", &["node-1", "node-2"]),
        ("echoctl describe node/", &["node/node-1", "node/node-2"]),
        ("echoctl drain node-1 no", &["node-2"]),
        ("echoctl scale po", &["pool/default"]),
        ("echoctl rollout status pool/d", &["pool/default"]),
        ("echoctl rollout status pool/default -o ", &["json", "yaml"]),
        ("echoctl get nodes -p ", &["default"]),
        ("echoctl get events --for pool/", &["pool/default"]),
        ("echoctl get nodes --context ", &["lab"]),
        ("echoctl config use-context ", &["lab"]),
        ("echoctl rollout undo pool/default --to-revision ", &["1", "2"]),
        ("echoctl diff pool/default --revision 2", &["2"]),
        ("echoctl pin node-2 --revision ", &["1", "2"]),
    ];
    for (line, offered) in cases {
        // A busy machine may be late; then nothing is offered.
        eventually(line, READY, || {
            let told = completed(line, &env);
            ensure(told == offered, || format!("{told:?}"))
        });
    }
    assert!(
        completed(&format!("echoctl get nodes --server {NOWHERE} "), &env).iter().all(|word| word.starts_with('-'))
    );
}

#[test]
fn a_control_that_is_away_does_not_hold_up_a_tab() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let began = std::time::Instant::now();
    assert!(completed("echoctl drain no", &[("ECHO_SERVER", &silent)]).is_empty());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(completed("echoctl drain no", &[("ECHO_SERVER", NOWHERE)]).is_empty());
    for shell in ["zsh", "fish"] {
        assert!(Echoctl::new(NOWHERE).ok(&format!("completion {shell}")).contains("ECHOCTL_COMPLETE"), "{shell}");
    }
}
