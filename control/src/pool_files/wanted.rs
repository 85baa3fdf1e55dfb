//! What the texts of pool files want: each pool once, and all that is wrong.
//!
//! Used by the pool files' task. A mistake takes its own document out, and nothing else. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use echo_proto::codec::{self, FieldError, FieldErrors};
use echo_proto::ids::{Digest, PoolName};
use echo_proto::v1;

use super::folder::Texts;
use crate::documents::{self, Documents, Found};

/// Most mistakes of a file, and places of a pool, that are told: an event is read by people.
pub(super) const MAX_MISTAKES: usize = 32;

/// What all files want.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The pools to apply.
    pub(super) pools: BTreeMap<PoolName, Pool>,
    /// Pools that stand in several places, which are not applied.
    pub(super) clashes: BTreeMap<PoolName, Vec<String>>,
    /// By file, all that is wrong with it.
    pub(super) mistakes: BTreeMap<String, String>,
}

/// A pool of a file.
#[derive(Debug)]
pub(super) struct Pool {
    /// `edge.yaml`, or `edge.yaml document 2`.
    pub(super) place: String,
    pub(super) pool: v1::Pool,
    /// Of what the file says of it: a change of a comment, or of another pool, is none of this one.
    pub(super) digest: String,
}

impl Wanted {
    pub(super) fn of(texts: &Texts) -> Self {
        let mut wanted = Self::default();
        for (name, text) in texts {
            let Documents { pools, mistakes } = match text {
                Ok(text) => documents::read(name, text),
                Err(cause) => unreadable(name, cause),
            };
            let mut wrong: Vec<FieldError> =
                mistakes.into_iter().flat_map(|(place, errors)| at(&place, name, errors)).collect();
            for found in pools {
                match versioned(&found) {
                    Some(error) => wrong.extend(at(&found.place.clone(), name, error)),
                    None => wanted.take(found),
                }
            }
            if !wrong.is_empty() {
                wanted.mistakes.insert(name.clone(), told(&wrong));
            }
        }
        wanted
    }

    /// Whether there is nothing, not even a mistake: no pool file at all.
    pub(super) fn is_empty(&self) -> bool {
        self.pools.is_empty() && self.clashes.is_empty() && self.mistakes.is_empty()
    }

    /// Whether `name` may stand in a file that can't be read.
    pub(super) fn may_hold(&self, name: &PoolName) -> bool {
        !self.mistakes.is_empty() || self.pools.contains_key(name) || self.clashes.contains_key(name)
    }

    fn take(&mut self, Found { place, name, pool }: Found) {
        if let Some(places) = self.clashes.get_mut(&name) {
            places.push(place);
        } else if let Some(first) = self.pools.remove(&name) {
            self.clashes.insert(name, vec![first.place, place]);
        } else {
            let digest = Digest::of_text(&codec::to_json(&pool)).to_string();
            self.pools.insert(name, Pool { place, pool, digest });
        }
    }
}

fn unreadable(name: &str, cause: &str) -> Documents {
    let errors = FieldErrors(vec![FieldError::new("", cause)]);
    Documents { mistakes: vec![(name.to_owned(), errors)], ..Documents::default() }
}

/// A version is of the moment at which somebody looked; a file is applied for as long as it lies there.
fn versioned(found: &Found) -> Option<FieldErrors> {
    let version = found.pool.metadata.as_ref().map_or("", |metadata| &metadata.resource_version);
    let error = || FieldError::new("metadata.resourceVersion", "a file that control applies has none; leave it out");
    (!version.is_empty()).then(|| FieldErrors(vec![error()]))
}

/// Mistakes with their document, where the file has several.
fn at(place: &str, file: &str, FieldErrors(errors): FieldErrors) -> Vec<FieldError> {
    let document = place.strip_prefix(file).unwrap_or_default().trim_start_matches([' ', ',']).to_owned();
    let placed = |error: FieldError| {
        let cause = if document.is_empty() { error.to_string() } else { format!("{document}: {error}") };
        FieldError::new("", cause)
    };
    errors.into_iter().map(placed).collect()
}

/// `2 mistakes: spec.replicas: 100001 is too large; kind: expected Pool`
fn told(errors: &[FieldError]) -> String {
    let mut text = format!("{}: ", crate::words::count(errors.len(), "mistake"));
    for (index, error) in errors.iter().take(MAX_MISTAKES).enumerate() {
        // Writing into a String does not fail.
        let _ = write!(text, "{}{error}", if index > 0 { "; " } else { "" });
    }
    if errors.len() > MAX_MISTAKES {
        text += "; ...";
    }
    text
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pool(name: &str, port: u32) -> String {
        format!(
            "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: {name}}}\nspec: {{template: {{listeners: \
             [{{name: a, protocol: TCP, port: {port}, service: {{echo: {{}}}}}}]}}}}\n"
        )
    }

    fn wanted(files: &[(&str, &str)]) -> Wanted {
        Wanted::of(&files.iter().map(|(name, text)| ((*name).to_owned(), Ok((*text).to_owned()))).collect())
    }

    #[test]
    fn a_mistake_takes_its_document_out_and_is_told_with_its_path() {
        let bad = format!("{}---\n{}", pool("b", 70_000), pool("c", 1));
        let wanted = wanted(&[("a.yaml", &pool("a", 1)), ("b.yaml", &bad), ("d.yaml", "{"), ("e.json", "")]);
        assert_eq!(wanted.pools.keys().map(PoolName::as_str).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(wanted.mistakes.keys().collect::<Vec<_>>(), ["b.yaml", "d.yaml", "e.json"]);
        let told = &wanted.mistakes["b.yaml"];
        assert!(told.starts_with("1 mistake: document 1: spec.template.listeners[0].port: 70000"), "{told}");
        assert!(wanted.may_hold(&"z".parse().unwrap()), "a file that can't be read may hold anything");
    }

    #[test]
    fn a_pool_in_two_places_is_in_neither() {
        let both = [
            ("a.yaml", pool("x", 1)),
            ("b.yaml", pool("x", 2)),
            ("c.yaml", pool("x", 3) + "---\n" + &pool("other", 1)),
        ];
        let both: Vec<(&str, &str)> = both.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let wanted = wanted(&both);
        assert_eq!(wanted.pools.keys().map(PoolName::as_str).collect::<Vec<_>>(), ["other"]);
        assert_eq!(wanted.clashes.values().next().unwrap(), &["a.yaml", "b.yaml", "c.yaml document 1"]);
        assert!(wanted.may_hold(&"x".parse().unwrap()) && !wanted.may_hold(&"z".parse().unwrap()));
    }

    #[test]
    fn only_what_a_file_says_counts() {
        let digest = |text: &str| wanted(&[("a.yaml", text)]).pools.into_values().next().unwrap().digest;
        let (one, commented) = (pool("x", 1), format!("# why\n{}", pool("x", 1)));
        assert_eq!(digest(&one), digest(&commented));
        assert_ne!(digest(&one), digest(&pool("x", 2)));
        let versioned = one.replace("{name: x}", "{name: x, resourceVersion: \"7\"}");
        assert!(wanted(&[("a.yaml", &versioned)]).mistakes["a.yaml"].contains("metadata.resourceVersion"));
    }
}
