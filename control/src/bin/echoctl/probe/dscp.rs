//! Names of DSCPs, as routers are configured with them.
//!
//! Used by `probe`. Pure.

/// Reads 0 to 63, or a name: EF, CS0 to CS7, AF11 to AF43; a value parser for clap.
pub(super) fn parse(text: &str) -> Result<u8, String> {
    let upper = text.to_ascii_uppercase();
    let digit = |digit: u8, max: u8| digit.checked_sub(b'0').filter(|n| *n <= max);
    let known = match upper.as_bytes() {
        b"EF" => Some(46),
        b"VA" => Some(44),
        [b'C', b'S', class] => digit(*class, 7).map(|class| class * 8),
        [b'A', b'F', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => {
            digit(*class, 4).zip(digit(*drop, 3)).map(|(class, drop)| class * 8 + drop * 2)
        }
        _ => text.parse().ok().filter(|dscp| *dscp < 64),
    };
    known.ok_or_else(|| "expected 0 to 63, or a name such as EF, AF41 or CS1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_read() {
        for (text, dscp) in [("0", 0), ("63", 63), ("ef", 46), ("CS0", 0), ("cs7", 56), ("AF11", 10), ("af43", 38)] {
            assert_eq!(parse(text), Ok(dscp), "{text}");
        }
        for bad in ["64", "-1", "CS8", "AF14", "AF51", "AF01", "EFF", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
