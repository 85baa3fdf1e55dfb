//! Pools from files: every document of every file, read and checked before anything is done with one.
//!
//! Used by the verbs that read pool files, and by those that write them. It must report all mistakes of all files at once.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use echo_proto::codec::{self, FieldError, FieldErrors, MAX_DOCUMENT_BYTES};
use echo_proto::{spec, v1};

use crate::connect::io_cause;
use crate::failure::{Failure, Mistakes};

/// Stands for stdin.
const STDIN: &str = "-";
/// Most that is read of one file: some thousand pools of the largest size.
const MAX_FILE_BYTES: usize = 256 << 20;
/// Documents that are handed to the codec at once: its parser takes no more than a thousand or so.
const MAX_DOCUMENTS: usize = 500;

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
        let mut documents = Vec::new();
        for Part { line, text } in parts(text) {
            match codec::parse_yaml(text) {
                Ok(found) => documents.extend(found.into_iter().filter(|document| !document.is_null())),
                Err(error) => {
                    let name = if line == 1 { name.to_owned() } else { format!("{name}, counted from line {line}") };
                    return self.mistakes.add(&name, FieldErrors(vec![error]));
                }
            }
        }
        let documents: Vec<_> = documents.into_iter().flat_map(objects).collect();
        if documents.is_empty() {
            self.mistakes.add(name, FieldErrors(vec![FieldError::new("", "holds no pool")]));
        }
        let several = documents.len() > 1;
        for (index, document) in documents.iter().enumerate() {
            let name = if several { format!("{name} document {}", index + 1) } else { name.to_owned() };
            if let Err(errors) = self.document(&name, document) {
                self.mistakes.add(&name, errors);
            }
        }
    }

    fn document(&mut self, name: &str, document: &serde_json::Value) -> Result<(), FieldErrors> {
        let (pool, plan) = spec::read_pool(document)?;
        if let Some(before) = self.seen.insert(plan.name.to_string(), name.to_owned()) {
            let cause = format!("pool {:?} stands in {before} too; give each pool once", plan.name.as_str());
            return Err(FieldErrors(vec![FieldError::new("metadata.name", cause)]));
        }
        self.pools.push(pool);
        Ok(())
    }

    fn finish(self) -> Result<Vec<v1::Pool>, Failure> {
        self.mistakes.check()?;
        Ok(self.pools)
    }
}

/// Whole documents of a text that the codec reads at once, and the line on which they begin.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    line: usize,
    text: &'a str,
}

/// Splits a text between its documents into parts that the codec takes. One document that is too long by itself is a
/// part, which it refuses.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    // Byte and line at which the part and its last document begin, and the documents of the part before that one.
    let (mut part, mut document, mut before) = ((0, 1), (0, 1), 0);
    let mut cut = |from: (usize, usize), to: usize| {
        parts.extend(text.get(from.0..to).map(|text| Part { line: from.1, text }));
    };
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').chain(["---"]).enumerate() {
        if line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            if before > 0 && (at - part.0 > MAX_DOCUMENT_BYTES || before == MAX_DOCUMENTS) {
                cut(part, document.0);
                (part, before) = (document, 0);
            }
            (document, before) = ((at, index + 1), before + 1);
        }
        at += line.len();
    }
    cut(part, text.len());
    parts
}

/// What a document holds: itself, or the items of a list, as `get pools -o yaml` prints it.
fn objects(mut document: serde_json::Value) -> Vec<serde_json::Value> {
    let is_list = document.get("kind").is_some_and(|kind| kind == "List");
    match document.get_mut("items").filter(|_| is_list) {
        Some(serde_json::Value::Array(items)) => std::mem::take(items),
        _ => vec![document],
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
    fn a_file_may_be_longer_than_a_document_may() {
        let comment = format!("# {}\n", "x".repeat(MAX_DOCUMENT_BYTES / 3));
        let numbers = 0..8;
        let text: String = numbers.clone().map(|n| format!("---\n{}{comment}", pool(&format!("p{n}"), "1"))).collect();
        assert_eq!(names(&text).unwrap(), numbers.map(|n| format!("p{n}")).collect::<Vec<_>>());
        let parts = parts(&text);
        assert_eq!(parts.iter().map(|part| part.text).collect::<String>(), text);
        assert!(parts.iter().all(|part| part.text.len() <= MAX_DOCUMENT_BYTES && part.text.starts_with("---\n")));
        let begins = |part: &Part<'_>| text.lines().skip(part.line - 1).zip(part.text.lines()).all(|(a, b)| a == b);
        assert!(parts.len() > 1 && parts.iter().all(begins));
        let many: String = (0..3_000).map(|n| format!("---\n{}", pool(&format!("p{n}"), "1"))).collect();
        assert_eq!(names(&many).unwrap().len(), 3_000);
        let long = pool("a", "1") + &comment.repeat(4);
        assert!(names(&long).unwrap_err().contains(&format!("{} bytes; at most", long.len())));
        assert!(names(&format!("{text}---\n{{")).unwrap_err().contains("counted from line"));
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
