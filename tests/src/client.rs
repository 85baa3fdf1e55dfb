//! Plain sockets towards the data path: what any client of any language would do.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Longest wait for an answer on loopback.
const PATIENCE: Duration = Duration::from_secs(5);

/// A TCP connection with a timeout on every read.
///
/// # Errors
/// When it is refused or late.
pub fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends `payload` on an open connection and reads as many bytes back.
///
/// # Errors
/// When the connection fails, or another text came back.
pub fn echo_on(stream: &mut TcpStream, payload: &[u8]) -> std::io::Result<()> {
    stream.write_all(payload)?;
    let mut answer = vec![0; payload.len()];
    stream.read_exact(&mut answer)?;
    same(payload, &answer)
}

/// One TCP echo: connect, send, half-close, read to the end.
///
/// # Errors
/// When it fails, or another text came back.
pub fn tcp_echo(address: SocketAddr, payload: &[u8]) -> std::io::Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(payload)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    same(payload, &answer)
}

/// One UDP echo.
///
/// # Errors
/// When no answer or another one came back.
pub fn udp_echo(address: SocketAddr, payload: &[u8]) -> std::io::Result<()> {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Connected: an answer from another address than the one that was hit is not taken.
    socket.connect(address)?;
    socket.send(payload)?;
    let mut answer = vec![0; 65_536];
    let length = socket.recv(&mut answer)?;
    same(payload, &answer[..length])
}

/// A page of an HTTP server, with its head.
///
/// # Errors
/// When the connection fails.
pub fn http_get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Everything a server sends until it closes.
///
/// # Errors
/// When the connection fails or stays open.
pub fn read_all(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    connect(address)?.read_to_end(&mut text)?;
    Ok(text)
}

fn same(sent: &[u8], got: &[u8]) -> std::io::Result<()> {
    if sent == got {
        return Ok(());
    }
    Err(std::io::Error::other(format!("sent {} bytes, got {} others", sent.len(), got.len())))
}
