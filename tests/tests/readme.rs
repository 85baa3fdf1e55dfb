//! What the README and the pool files at hand say is true of this build.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use echo_tests::{Echoctl, tools};

fn readme() -> String {
    std::fs::read_to_string(tools::workspace().join("README.md")).unwrap()
}

#[test]
fn every_pool_file_is_valid() {
    let nowhere = Echoctl::new("http://127.0.0.1:1");
    let mut checked = 0;
    for entry in std::fs::read_dir(tools::workspace().join("deploy/pools")).unwrap() {
        let path = entry.unwrap().path();
        let said = nowhere.ok(&format!("apply -f {} --dry-run=client", path.display()));
        assert!(said.starts_with("pool/default "), "{}: {said}", path.display());
        checked += 1;
    }
    assert!(checked >= 2, "{checked} files");
}

#[test]
fn the_pool_shown_is_the_pool_at_hand() {
    let file = std::fs::read_to_string(tools::workspace().join("deploy/pools/lessons.yaml")).unwrap();
    let shown: Vec<String> = file.lines().skip(1).map(|line| format!("    {line}")).collect();
    assert!(readme().contains(&shown.join("\n")), "README.md shows deploy/pools/lessons.yaml, indented");
}

#[test]
fn every_place_named_exists() {
    let readme = readme();
    let words = readme.split(|c: char| c.is_whitespace() || "`(),;|".contains(c));
    let places: Vec<&str> = words
        .filter(|w| {
            ["proto/", "node/", "control/", "probe/", "tests/", "deploy/", ".ci/"].iter().any(|d| w.starts_with(d))
        })
        .collect();
    assert!(places.len() > 8, "{places:?}");
    for place in places {
        assert!(tools::workspace().join(place).exists(), "the README names {place}");
    }
}

#[test]
fn every_command_of_the_table_exists() {
    let echoctl = Echoctl::new("http://127.0.0.1:1");
    let readme = readme();
    let rows: Vec<&str> = readme.lines().filter_map(|l| l.strip_prefix("| `")).collect();
    let help = echoctl.ok("--help");
    let mut found = 0;
    for verb in ["up", "apply", "get", "scale", "rollout", "version"] {
        assert!(help.lines().any(|l| l.trim_start().starts_with(&format!("{verb} "))), "{verb} is not in\n{help}");
        found += rows.iter().filter(|row| row.starts_with(verb)).count();
    }
    assert!(found >= 6, "the README's table lists every verb: {rows:?}");
}
