//! Echoes as tokio's documentation writes them, on its runtime of one thread.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::{ANY_PORT, BUFFER, make_room, tell};
use crate::Failure;

/// What one read takes: less than others, since each connection has a buffer of its own.
const CONNECTION_BUFFER: usize = 16_384;

#[tokio::main(flavor = "current_thread")]
pub(super) async fn tcp() -> Result<(), Failure> {
    let listener = TcpListener::bind(ANY_PORT).await?;
    tell("tcp", listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut buffer = vec![0; CONNECTION_BUFFER];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(buffer.get(..n).unwrap_or_default()).await.is_err() {
                    break;
                }
            }
        });
    }
}

#[tokio::main(flavor = "current_thread")]
pub(super) async fn udp() -> Result<(), Failure> {
    let socket = UdpSocket::bind(ANY_PORT).await?;
    make_room(&socket)?;
    tell("udp", socket.local_addr()?);
    let mut buffer = vec![0; BUFFER];
    loop {
        let (n, client) = socket.recv_from(&mut buffer).await?;
        socket.send_to(buffer.get(..n).unwrap_or_default(), client).await?;
    }
}
