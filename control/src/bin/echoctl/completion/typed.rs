//! What stands on the line before the word that is to be completed.
//!
//! Used by completion. Read by clap like any command line, but forgiving: it is not finished.

use std::ffi::OsString;

use clap::{ArgMatches, FromArgMatches as _};

use crate::args::{Given, Global, grammar};

/// The line so far.
#[derive(Debug, Default)]
pub(super) struct Typed {
    /// Which control it means.
    pub(super) global: Global,
    /// The words that are no flags, after the verb.
    pub(super) words: Vec<String>,
    /// Its `--pool`.
    pub(super) pool: String,
    /// The word at the cursor.
    pub(super) current: OsString,
}

impl Typed {
    /// The line as the script hands it over: the words behind `--`, and the place of the cursor among them.
    pub(super) fn read() -> Self {
        let line: Vec<_> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
        // fish hands over nothing behind the cursor.
        let last = line.len().saturating_sub(1);
        let at = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|at| at.parse().ok()).unwrap_or(last);
        Self::of(&line, at)
    }

    fn of(line: &[OsString], at: usize) -> Self {
        let current = line.get(at).cloned().unwrap_or_default();
        let before = line.get(..at).unwrap_or(line);
        let Ok(matches) = grammar().ignore_errors(true).try_get_matches_from(before) else {
            return Self { current, ..Self::default() };
        };
        let mut global = Global::from_arg_matches(&matches).unwrap_or_default();
        global.given = Given::of(&matches);
        let mut verb = &matches;
        while let Some((_, inner)) = verb.subcommand() {
            verb = inner;
        }
        let words = ["target", "nodes"].iter().flat_map(|id| texts(verb, id)).collect();
        Self { global, words, pool: texts(verb, "pool").pop().unwrap_or_default(), current }
    }
}

/// The values of a flag that the verb may not have.
fn texts(matches: &ArgMatches, id: &str) -> Vec<String> {
    matches.try_get_many::<String>(id).ok().flatten().unwrap_or_default().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Typed::of(&words, words.len().saturating_sub(1))
    }

    #[test]
    fn an_unfinished_line_is_understood() {
        let line = typed("echoctl get nodes a --server http://b:1 -p edge no");
        assert_eq!((line.words, line.pool.as_str()), (vec!["nodes".to_owned(), "a".to_owned()], "edge"));
        assert_eq!(line.global.server.map(|s| s.to_string()).as_deref(), Some("http://b:1"));
        assert!(line.global.given.server && line.current == "no");
        assert_eq!(typed("echoctl drain node-1 --context lab ").global.context.as_deref(), Some("lab"));
        assert_eq!(typed("echoctl scale pool/a --replicas ").words, ["pool/a"]);
        for odd in ["", "echoctl", "echoctl nonsense x", "echoctl get --context ", "echoctl get --bad x "] {
            assert!(typed(odd).pool.is_empty(), "{odd}");
        }
    }
}
