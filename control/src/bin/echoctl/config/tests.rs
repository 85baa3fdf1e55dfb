//! What a config file may hold, and what is told of one that is wrong.
#![allow(clippy::unwrap_used)]

use super::*;

const GOOD: &str = "apiVersion: echo/v1\nkind: Config\ncurrentContext: lab\n\
                    contexts: [{name: lab, server: 'http://lab:7400', timeout: 20s}]\n";

fn told(text: &str) -> Vec<String> {
    parse(text).map(|_| Vec::new()).unwrap_or_else(|FieldErrors(all)| all.iter().map(ToString::to_string).collect())
}

#[test]
fn a_file_that_is_written_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new/folder/config.yaml");
    drop(Config::read_locked(Some(&file)).unwrap());
    let config = Config { file: file.clone(), content: parse(GOOD).unwrap() };
    config.write().unwrap();
    assert_eq!(Config::read(Some(&file)).unwrap().content, config.content);
    assert!(config.yaml().contains("timeout: 20s"), "{}", config.yaml());
}

#[test]
fn changes_at_the_same_time_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    let change = |n: usize| {
        let file = file.clone();
        std::thread::spawn(move || {
            let (mut config, _lock) = Config::read_locked(Some(&file)).unwrap();
            let (name, server) = (format!("c{n}"), "http://a:1".to_owned());
            config.content.contexts.push(v1::ClientContext { name, server, timeout: None });
            config.write().unwrap();
        })
    };
    let changes: Vec<_> = (0..20).map(change).collect();
    changes.into_iter().for_each(|change| change.join().unwrap());
    assert_eq!(Config::read(Some(&file)).unwrap().content.contexts.len(), 20);
}

#[test]
fn what_is_no_file_is_read_but_not_replaced() {
    let null = Path::new("/dev/null");
    let (mut config, _lock) = Config::read_locked(Some(null)).unwrap();
    assert_eq!(config.content, empty());
    config.content = parse(GOOD).unwrap();
    assert!(config.write().unwrap_err().to_string().contains("/dev/null is no regular file"));
}

#[test]
fn what_is_not_there_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let absent = Config::read(Some(&dir.path().join("none"))).unwrap();
    assert!(absent.context(None).unwrap().is_none());
    for text in ["", "# nothing\n", "---\n"] {
        assert_eq!(parse(text).unwrap(), empty(), "{text:?}");
    }
}

#[test]
fn every_mistake_is_told_with_its_path() {
    let text = "apiVersion: echo/v2\nkind: Pool\ncurrentContexts: x\ncurrentContext: nope\ncontexts:\n\
                - {name: 'a b', server: 'https://x:1', timeout: 5}\n- {name: a, server: ''}\n- {name: a, server: 'x:1', timeout: 0s}\n";
    let told = told(text);
    let paths = [
        "currentContexts: unknown field; did you mean currentContext?",
        "contexts[0].timeout: expected a duration",
        "apiVersion: expected echo/v1, got \"echo/v2\"",
        "kind: expected Config, got \"Pool\"",
        "contexts[0].name: ",
        "contexts[0].server: https is not supported",
        "contexts[1].server: ",
        "contexts[2].name: \"a\" is the name of another",
        "contexts[2].timeout: must be longer",
        "currentContext: there is no context \"nope\"",
    ];
    assert_eq!(told.len(), paths.len(), "{told:#?}");
    for path in paths {
        assert!(told.iter().any(|line| line.starts_with(path)), "{path} is not in {told:#?}");
    }
}

#[test]
fn a_file_that_is_no_yaml_is_told_with_its_line_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    for text in ["kind: Config\ncontexts: [{name\n", "{", "a: b\n---\nc: d\n", "- 1\n"] {
        std::fs::write(&file, text).unwrap();
        let told = Config::read(Some(&file)).unwrap_err().to_string();
        assert!(told.contains(&*file.to_string_lossy()) && told.contains("--config"), "{told}");
    }
    std::fs::write(&file, "kind: Config\ncontexts: [{name\n").unwrap();
    let told = Config::read(Some(&file)).unwrap_err().to_string();
    assert!(told.contains("line 2"), "{told}");
    assert!(Config::read(Some(dir.path())).unwrap_err().to_string().contains("is a directory"));
}

#[test]
fn an_unknown_context_names_those_that_there_are() {
    let config = Config { file: "/c.yaml".into(), content: parse(GOOD).unwrap() };
    let told = config.context(Some("prod")).unwrap_err().to_string();
    assert_eq!(told, "no context \"prod\" in /c.yaml; there are lab");
    let none = Config { file: "/c.yaml".into(), content: empty() };
    assert!(none.context(Some("prod")).unwrap_err().to_string().contains("config set-context prod --server URL"));
}
