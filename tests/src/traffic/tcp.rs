//! TCP flows: a message, its answer, the next; on one connection, or on a new one each.
//!
//! Run by [`super::Traffic`], each on a thread of its own.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use super::{Flow, MAX_SIZE, PATIENCE};

/// One connection for as long as it lasts; a new one only after a failure.
pub(super) fn keep(flow: &mut Flow) {
    let mut open = None;
    loop {
        let (sent, message) = (Instant::now(), flow.message(1, MAX_SIZE).1);
        match open.take().map_or_else(|| dial(flow), Ok).and_then(|stream| exchange(stream, &message)) {
            Ok(stream) => {
                flow.echoed(sent);
                open = Some(stream);
            }
            Err(error) => flow.failed(sent, &error),
        }
        if !flow.pause() {
            return;
        }
    }
}

/// A new connection for each message.
pub(super) fn connect(flow: &mut Flow) {
    loop {
        let (sent, message) = (Instant::now(), flow.message(1, MAX_SIZE).1);
        match dial(flow).and_then(|stream| exchange(stream, &message)) {
            Ok(_) => flow.echoed(sent),
            Err(error) => flow.failed(sent, &error),
        }
        if !flow.pause() {
            return;
        }
    }
}

fn dial(flow: &Flow) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&flow.to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange(mut stream: TcpStream, message: &[u8]) -> io::Result<TcpStream> {
    stream.write_all(message)?;
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer)?;
    if answer == message {
        return Ok(stream);
    }
    let at = answer.iter().zip(message).take_while(|(a, b)| a == b).count();
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("byte {at} of {} is another", message.len())))
}
