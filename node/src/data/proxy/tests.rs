//! Headers as the specification has them, and everything else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

fn whole(version: u8, ends: Option<(&str, &str)>, len: usize) -> Parsed {
    let ends = ends.map(|(client, server)| (client.parse().unwrap(), server.parse().unwrap()));
    Parsed::Whole(Header { version, ends }, len)
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = (rest.len() as u16).to_be_bytes();
    [V2_SIGNATURE, &[command, family], &len, rest].concat()
}

/// 10.0.0.1:258 to 10.0.0.2:7.
const V4: [u8; 12] = [10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 0, 7];

fn headers() -> Vec<(Vec<u8>, Parsed)> {
    let v4 = Some(("10.0.0.1:258", "10.0.0.2:7"));
    let v6: Vec<u8> = [[0; 15].as_slice(), &[1], &[0; 15], &[2], &[1, 2, 0, 7]].concat();
    let line = |text: &str| text.as_bytes().to_vec();
    vec![
        (line("PROXY TCP4 10.0.0.1 10.0.0.2 258 7\r\n"), whole(1, v4, 36)),
        (line("PROXY TCP6 ::1 ::2 258 7\r\n"), whole(1, Some(("[::1]:258", "[::2]:7")), 26)),
        (line("PROXY UNKNOWN\r\n"), whole(1, None, 15)),
        (line("PROXY UNKNOWN what ever 1 2\r\n"), whole(1, None, 29)),
        (v2(0x21, 0x11, &V4), whole(2, v4, 28)),
        (v2(0x21, 0x11, &[&V4[..], &[0x04, 0, 2, 0, 0]].concat()), whole(2, v4, 33)),
        (v2(0x21, 0x21, &v6), whole(2, Some(("[::1]:258", "[::2]:7")), 52)),
        (v2(0x21, 0x00, &[]), whole(2, None, 16)),
        (v2(0x20, 0x00, &[]), whole(2, None, 16)),
        // The balancer's own health check: whatever else it says is to be ignored.
        (v2(0x20, 0x11, &V4), whole(2, None, 28)),
        (v2(0x20, 0xff, b"anything"), whole(2, None, 24)),
    ]
}

#[test]
fn headers_are_those_of_the_specification_in_reads_of_any_size() {
    for (header, expected) in headers() {
        let bytes = [&header[..], b"hello\r\n"].concat();
        assert_eq!(parse(&bytes), expected, "{:?}", String::from_utf8_lossy(&header));
        for split in 0..header.len() {
            assert_eq!(parse(&bytes[..split]), Parsed::Partial, "{split} bytes of {header:?}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused_as_soon_as_that_is_sure() {
    for bytes in [&b"G"[..], b"PROXX", b"proxy ", b"\r\n\r\n\x01", b"\0"] {
        assert_eq!(parse(bytes), Parsed::Broken, "{bytes:?}");
    }
    let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
    assert_eq!((parse(&endless[..106]), parse(&endless[..107])), (Parsed::Partial, Parsed::Broken));
    for text in [
        "PROXY TCP4 10.0.0.1 10.0.0.2 258\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 70000\r\n",
    ] {
        assert_eq!(parse(text.as_bytes()), Parsed::Broken, "{text}");
    }
    let short = v2(0x21, 0x11, &V4[..11]);
    let unix = v2(0x21, 0x31, &[0; 10]);
    let of_version_3 = v2(0x31, 0x11, &V4);
    for bytes in [short, unix, of_version_3] {
        assert_eq!(parse(&bytes), Parsed::Broken, "{bytes:?}");
    }
    let long = v2(0x21, 0x11, &[0; MAX_V2_REST + 1]);
    assert_eq!(parse(&long[..V2_HEAD]), Parsed::Broken, "before it has come");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_no_verdict_changes_with_more(bytes in beginnings(), more in any::<Vec<u8>>()) {
        let verdict = parse(&bytes);
        let longer = [&bytes[..], &more].concat();
        match verdict {
            Parsed::Partial => prop_assert!(bytes.len() < V2_HEAD + MAX_V2_REST),
            settled => prop_assert_eq!(parse(&longer), settled),
        }
        if let Parsed::Whole(_, len) = verdict {
            prop_assert!(len <= bytes.len());
        }
    }
}

/// Bytes that are not refused for their first one alone.
fn beginnings() -> impl Strategy<Value = Vec<u8>> {
    let signatures = prop_oneof![
        Just(vec![]),
        Just(b"PROXY ".to_vec()),
        Just(b"PROXY TCP4 ".to_vec()),
        Just(b"PROXY TCP6 ::1 ".to_vec()),
        Just(V2_SIGNATURE.to_vec()),
        Just([V2_SIGNATURE, &[0x21, 0x11, 0]].concat()),
    ];
    (signatures, any::<Vec<u8>>(), any::<bool>()).prop_map(|(mut bytes, rest, ended)| {
        bytes.extend(rest);
        if ended {
            bytes.extend(b"\r\n");
        }
        bytes
    })
}
