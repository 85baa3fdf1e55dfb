//! The order people expect of names: `node-2` before `node-10`.
//!
//! Used by the API's lists. Pure.

use std::cmp::Ordering;

/// The order people expect: `node-2` before `node-10`.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, text_b) = (take(&mut a, false), take(&mut b, false));
        let (digits_a, digits_b) = (take(&mut a, true), take(&mut b, true));
        let value = |digits: &str| digits.trim_start_matches('0').len();
        let order = text_a
            .cmp(text_b)
            .then_with(|| value(digits_a).cmp(&value(digits_b)))
            .then_with(|| digits_a.trim_start_matches('0').cmp(digits_b.trim_start_matches('0')))
            .then_with(|| digits_a.len().cmp(&digits_b.len()));
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// Takes the leading digits, or non-digits, off `text`.
fn take<'a>(text: &mut &'a str, digits: bool) -> &'a str {
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    *text = tail;
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_numbers() {
        let mut ids = ["node-10", "node-2", "node-1", "edge", "node-02", "node-1.b", "node"];
        ids.sort_by(|a, b| natural_order(a, b));
        assert_eq!(ids, ["edge", "node", "node-1", "node-1.b", "node-2", "node-02", "node-10"]);
    }
}
