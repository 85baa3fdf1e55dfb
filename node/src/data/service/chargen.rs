//! Chargen, RFC 864: lines of the 95 printable ASCII characters.
//!
//! Called by [`super`]. Line N begins with the Nth character, and after the 95th the lines begin again, so all there is
//! to send is one text that is repeated.

use std::io;

use super::super::reason::End;
use super::super::tcp::Connection;

/// The printable characters, from the space on.
const PRINTABLE: usize = 95;
/// Characters of a line, without its end.
const WIDTH: usize = 72;
/// Bytes of a line.
const LINE: usize = WIDTH + 2;
/// Most characters of an answer to a datagram.
const MAX_ANSWER: usize = 512;

/// All lines that there are.
static LINES: [u8; PRINTABLE * LINE] = lines();

#[allow(clippy::indexing_slicing)] // Evaluated by the compiler, which would refuse a place that is not there.
const fn lines() -> [u8; PRINTABLE * LINE] {
    let mut text = [0; PRINTABLE * LINE];
    let mut at = 0;
    while at < text.len() {
        text[at] = match at % LINE {
            WIDTH => b'\r',
            column if column > WIDTH => b'\n',
            column => b' ' + ((at / LINE + column) % PRINTABLE) as u8,
        };
        at += 1;
    }
    text
}

/// TCP: lines without an end, as fast as the peer takes them, until it closes its side; what it sends is dropped.
pub(super) async fn serve(connection: &mut Connection) -> io::Result<End> {
    connection.pour(&LINES).await?;
    Ok(End::Peer)
}

/// UDP: as many characters as came in, at most 512, from the first line on.
pub(super) fn respond(request: &mut [u8]) -> Option<usize> {
    Some(request.iter_mut().zip(LINES.iter().take(MAX_ANSWER)).map(|(to, from)| *to = *from).count())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_rfc() {
        let lines: Vec<_> = LINES.chunks(LINE).collect();
        assert_eq!(lines.len(), 95);
        let first = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n";
        assert_eq!(std::str::from_utf8(lines[0]).unwrap(), first);
        for (n, pair) in lines.windows(2).enumerate() {
            assert_eq!(pair[0][1..WIDTH], pair[1][..WIDTH - 1], "line {n} moves by one character");
        }
        assert_eq!((lines[94][0], lines[94][1]), (b'~', b' '), "the ring closes");
    }

    #[test]
    fn an_answer_is_never_longer_than_its_request_nor_than_512() {
        for (asked, answered) in [(0, 0), (1, 1), (73, 73), (512, 512), (513, 512), (65_507, 512)] {
            let mut request = vec![b'?'; asked];
            assert_eq!(respond(&mut request), Some(answered));
            assert_eq!(request[..answered], LINES[..answered]);
        }
    }
}
