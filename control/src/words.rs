//! Numbers in sentences.
//!
//! Used by event texts, the diagnosis and echoctl.

/// `1 connection`, `2 connections`.
pub fn count(n: impl TryInto<u64>, what: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let told = [0_u32, 1, 2].map(|n| count(n, "listener"));
        assert_eq!(told, ["0 listeners", "1 listener", "2 listeners"]);
    }
}
