//! Pools from files: every document of every file, read and checked before anything is done with one.
//!
//! Used by the verbs that read pool files, and by those that write them. It must report all mistakes of all files at once.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use echo_control::documents::{self, Documents, Found};
use echo_proto::codec::{FieldError, FieldErrors};
use echo_proto::v1;

use crate::connect::io_cause;
use crate::failure::{Failure, Mistakes};

/// Stands for stdin.
const STDIN: &str = "-";
/// Most that is read of one file: some thousand pools of the largest size.
const MAX_FILE_BYTES: usize = 256 << 20;

/// The valid pools of `files`, in order; `-` is stdin.
///
/// # Errors
/// A file that can't be read, or every mistake in all of them.
pub(crate) fn read_pools(files: &[String]) -> Result<Vec<v1::Pool>, Failure> {
    let mut reader = Reader::default();
    for file in files {
        let text = read_text(file)?;
        reader.text(if file == STDIN { "stdin" } else { file }, &text);
    }
    reader.finish()
}

/// The valid pools of a text that messages call `name`.
///
/// # Errors
/// Every mistake in it.
pub(crate) fn parse_pools(name: &str, text: &str) -> Result<Vec<v1::Pool>, Failure> {
    let mut reader = Reader::default();
    reader.text(name, text);
    reader.finish()
}

/// The pool as a file holds it: without what belongs to the cluster that it was taken from.
pub(crate) fn as_file(pool: &v1::Pool) -> v1::Pool {
    let meta = pool.metadata.clone().unwrap_or_default();
    let metadata = v1::ObjectMeta { name: meta.name, labels: meta.labels, ..Default::default() };
    v1::Pool { metadata: Some(metadata), status: None, ..pool.clone() }
}

/// Collects pools and mistakes.
#[derive(Default)]
struct Reader {
    pools: Vec<v1::Pool>,
    mistakes: Mistakes,
    /// Where each pool was met.
    seen: BTreeMap<String, String>,
}

impl Reader {
    fn text(&mut self, name: &str, text: &str) {
        if text.len() > MAX_FILE_BYTES {
            let cause = format!("is longer than {} MiB; split it", MAX_FILE_BYTES >> 20);
            return self.mistakes.add(name, FieldErrors(vec![FieldError::new("", cause)]));
        }
        let Documents { pools, mistakes } = documents::read(name, text);
        for (place, errors) in mistakes {
            self.mistakes.add(&place, errors);
        }
        for Found { place, name, pool } in pools {
            if let Some(before) = self.seen.insert(name.to_string(), place.clone()) {
                let cause = format!("pool {:?} stands in {before} too; give each pool once", name.as_str());
                self.mistakes.add(&place, FieldErrors(vec![FieldError::new("metadata.name", cause)]));
                continue;
            }
            self.pools.push(pool);
        }
    }

    fn finish(self) -> Result<Vec<v1::Pool>, Failure> {
        self.mistakes.check()?;
        Ok(self.pools)
    }
}

fn read_text(file: &str) -> Result<String, Failure> {
    let failure = |cause: String| Failure::File { name: file.to_owned(), cause };
    // One byte more than is taken, so that what is too long is refused without all of it being read.
    let limit = MAX_FILE_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = if file == STDIN {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(Path::new(file)).and_then(|f| f.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|e| failure(io_cause(&e)))?;
    String::from_utf8(bytes).map_err(|e| failure(format!("not UTF-8 text at byte {}", e.utf8_error().valid_up_to())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use echo_proto::codec;

    use super::*;

    #[test]
    fn a_list_is_its_items() {
        let items = [pool("a", "1"), pool("b", "2")];
        let items: Vec<_> = items.iter().map(|text| codec::parse_yaml(text).unwrap().remove(0)).collect();
        let list = serde_json::json!({"apiVersion": "echo/v1", "kind": "List", "metadata": {}, "items": items});
        assert_eq!(parse_pools("list", &list.to_string()).unwrap().len(), 2);
        let other = parse_pools("other", "{apiVersion: echo/v1, kind: Pool, items: [1]}").unwrap_err().to_string();
        assert!(other.contains("items: unknown field"), "{other}");
    }

    fn pool(name: &str, port: &str) -> String {
        format!(
            "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: {name}}}\nspec: {{template: {{listeners: \
             [{{name: a, protocol: TCP, port: {port}, service: {{echo: {{}}}}}}]}}}}\n"
        )
    }

    fn names(text: &str) -> Result<Vec<String>, String> {
        let pools = parse_pools("file", text).map_err(|e| e.to_string())?;
        Ok(pools.into_iter().map(|pool| pool.metadata.unwrap().name).collect())
    }

    #[test]
    fn documents_keep_their_order_and_empty_ones_are_nothing() {
        let text = format!("---\n{}---\n# only a comment\n---\n{}---\n", pool("b", "1"), pool("a", "2"));
        assert_eq!(names(&text).unwrap(), ["b", "a"]);
    }

    #[test]
    fn every_mistake_of_every_document_is_told_at_once() {
        let text = format!("{}---\n{}---\n{}", pool("a", "70000"), pool("b", "x"), pool("a", "1"));
        let told = names(&text).unwrap_err();
        let lines: Vec<&str> = told.lines().collect();
        let expected = [
            "2 mistakes; nothing was changed",
            "  file document 1: spec.template.listeners[0].port: 70000 is not a port; use 1 to 65535, or 0 for any free one",
            "  file document 2: spec.template.listeners[0].port: expected a whole number from 0 to 4294967295, got \"x\"",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_pool_stands_in_one_document_only() {
        let told = names(&format!("{}---\n{}", pool("a", "1"), pool("a", "2"))).unwrap_err();
        assert!(told.contains("document 2: metadata.name: pool \"a\" stands in file document 1 too"), "{told}");
    }

    #[test]
    fn what_holds_no_pool_is_a_mistake() {
        for text in ["", "# nothing\n", "hello", "{", "a: &a [*a]", "- 1\n- 2\n"] {
            assert!(names(text).is_err(), "{text:?}");
        }
    }
}
