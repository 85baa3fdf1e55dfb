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
        let documents = match codec::parse_yaml(text) {
            Ok(documents) => documents,
            Err(error) => return self.mistakes.add(name, FieldErrors(vec![error])),
        };
        let documents = documents.into_iter().filter(|document| !document.is_null());
        let documents: Vec<_> = documents.flat_map(objects).collect();
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
    // One byte more than the codec takes, so that it can refuse what is too long without all of it being read.
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
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
