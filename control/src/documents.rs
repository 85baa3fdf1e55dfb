//! The pools in a text of YAML or JSON documents, each read and checked, with every mistake.
//!
//! Used by `echoctl`, for the files that it is given, and by control, for those of `--pools-from`. Pure.

use echo_proto::codec::{self, FieldError, FieldErrors, MAX_DOCUMENT_BYTES};
use echo_proto::ids::PoolName;
use echo_proto::{spec, v1};

/// Documents that are handed to the codec at once: its parser takes no more than a thousand or so.
const MAX_DOCUMENTS: usize = 500;

/// A pool in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Where it stands: the text's name, and the document's number where there are several.
    pub place: String,
    /// Its name.
    pub name: PoolName,
    /// The pool, valid.
    pub pool: v1::Pool,
}

/// What a text holds, in its order.
#[derive(Debug, Default)]
pub struct Documents {
    /// The valid pools; one name may be there several times.
    pub pools: Vec<Found>,
    /// What is wrong, by the place where it stands.
    pub mistakes: Vec<(String, FieldErrors)>,
}

/// Reads a text that messages call `name`. A mistake of form leaves nothing of it; one in a document leaves the others.
pub fn read(name: &str, text: &str) -> Documents {
    let mistake = |name: String, errors| Documents { mistakes: vec![(name, errors)], ..Documents::default() };
    let mut documents = Vec::new();
    for Part { line, text } in parts(text) {
        match codec::parse_yaml(text) {
            Ok(found) => documents.extend(found.into_iter().filter(|document| !document.is_null())),
            Err(error) => {
                let name = if line == 1 { name.to_owned() } else { format!("{name}, counted from line {line}") };
                return mistake(name, FieldErrors(vec![error]));
            }
        }
    }
    let documents: Vec<_> = documents.into_iter().flat_map(objects).collect();
    if documents.is_empty() {
        return mistake(name.to_owned(), FieldErrors(vec![FieldError::new("", "holds no pool")]));
    }
    let several = documents.len() > 1;
    let mut read = Documents::default();
    for (index, document) in documents.iter().enumerate() {
        let place = if several { format!("{name} document {}", index + 1) } else { name.to_owned() };
        match spec::read_pool(document) {
            Ok((pool, plan)) => read.pools.push(Found { place, name: plan.name, pool }),
            Err(errors) => read.mistakes.push((place, errors)),
        }
    }
    read
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pool(name: &str, port: &str) -> String {
        format!(
            "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: {name}}}\nspec: {{template: {{listeners: \
             [{{name: a, protocol: TCP, port: {port}, service: {{echo: {{}}}}}}]}}}}\n"
        )
    }

    fn names(text: &str) -> Vec<String> {
        read("file", text).pools.iter().map(|found| found.name.to_string()).collect()
    }

    /// Where the only mistake stands, and what it is.
    fn mistake(text: &str) -> String {
        let mut mistakes = read("file", text).mistakes;
        assert_eq!(mistakes.len(), 1);
        let (place, errors) = mistakes.remove(0);
        format!("{place}: {errors}")
    }

    #[test]
    fn a_bad_document_leaves_the_others() {
        let text = format!("{}---\n{}---\n{}", pool("a", "1"), pool("b", "70000"), pool("c", "2"));
        assert_eq!(names(&text), ["a", "c"]);
        assert!(mistake(&text).starts_with("file document 2: spec.template.listeners[0].port: 70000"));
    }

    #[test]
    fn a_file_may_be_longer_than_a_document_may() {
        let comment = format!("# {}\n", "x".repeat(MAX_DOCUMENT_BYTES / 3));
        let numbers = 0..8;
        let text: String = numbers.clone().map(|n| format!("---\n{}{comment}", pool(&format!("p{n}"), "1"))).collect();
        assert_eq!(names(&text), numbers.map(|n| format!("p{n}")).collect::<Vec<_>>());
        let parts = parts(&text);
        assert_eq!(parts.iter().map(|part| part.text).collect::<String>(), text);
        assert!(parts.iter().all(|part| part.text.len() <= MAX_DOCUMENT_BYTES && part.text.starts_with("---\n")));
        let begins = |part: &Part<'_>| text.lines().skip(part.line - 1).zip(part.text.lines()).all(|(a, b)| a == b);
        assert!(parts.len() > 1 && parts.iter().all(begins));
        let many: String = (0..3_000).map(|n| format!("---\n{}", pool(&format!("p{n}"), "1"))).collect();
        assert_eq!(names(&many).len(), 3_000);
        let long = pool("a", "1") + &comment.repeat(4);
        assert!(mistake(&long).contains(&format!("{} bytes; at most", long.len())));
        assert!(mistake(&format!("{text}---\n{{")).contains("counted from line"));
    }
}
