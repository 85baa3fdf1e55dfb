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

/// How the places in the repository begin; `node/node-1` is an object of the cluster.
const PLACES: [&str; 7] = ["proto/", "node/src", "control/src", "probe/", "tests/", "deploy/", ".ci/"];

#[test]
fn every_place_named_exists() {
    let readme = readme();
    let words = readme.split(|c: char| c.is_whitespace() || "`(),;|".contains(c));
    let places: Vec<&str> = words.filter(|word| PLACES.iter().any(|place| word.starts_with(place))).collect();
    assert!(places.len() > 8, "{places:?}");
    for place in places {
        assert!(tools::workspace().join(place).exists(), "the README names {place}");
    }
}

#[test]
fn every_verb_has_its_row() {
    let help = Echoctl::new("http://127.0.0.1:1").ok("--help");
    let readme = readme();
    let rows: Vec<&str> = readme.lines().filter_map(|l| l.strip_prefix("| `")).collect();
    // A verb is indented by two blanks, and its words follow after two more at least.
    let verbs = help.lines().filter_map(|l| l.strip_prefix("  ")?.split_once("  ")).map(|(verb, _)| verb);
    let verbs: Vec<&str> = verbs.filter(|v| !v.is_empty() && v.chars().all(|c| c.is_ascii_lowercase())).collect();
    assert!(verbs.len() > 15, "{verbs:?}");
    for verb in verbs {
        let named = |row: &&str| row.split([' ', '`']).next() == Some(verb);
        assert!(rows.iter().any(named), "the README's table has no row for {verb}: {rows:?}");
    }
}
