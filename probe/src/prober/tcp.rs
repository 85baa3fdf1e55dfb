//! One TCP flow: a connection that carries probe after probe and is made again when it breaks, or one for each probe.
//!
//! Used by [`super::run`]. Answers come in the order of the probes, each as long as its probe, whether the far end knows
//! stamps or not. Times are ours: the kernel's are those of segments, and a probe may be several.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::book::Receipt;
use super::message::Form;
use super::settings::Settings;
use super::{Note, Notes, wall_clock};
use crate::error::explain;

/// Probes that may wait for a connection to take them.
const ORDERS: usize = 1_024;

/// A probe to be sent.
#[derive(Debug, Clone, Copy)]
struct Order {
    sequence: u64,
    /// When it was to leave: its time counts from here.
    due: Instant,
}

/// The sending end.
#[derive(Debug)]
pub(super) struct Line {
    orders: mpsc::Sender<Order>,
}

impl Line {
    /// Starts the flow in one of `tasks`; it connects for its first probe.
    pub(super) fn open(
        index: usize,
        address: SocketAddr,
        form: Form,
        settings: &Settings,
        notes: Notes,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (orders, taken) = mpsc::channel(ORDERS);
        let flow = u32::try_from(index).unwrap_or_default();
        let (timeout, dscp) = (settings.timeout, settings.dscp);
        let party = Party { index, flow, address, form, timeout, dscp, notes };
        if settings.reconnect {
            tasks.spawn(party.each(taken));
        } else {
            tasks.spawn(party.one(taken));
        }
        Self { orders }
    }

    /// Hands a probe over, or tells why our host does not send it.
    pub(super) fn send(&self, sequence: u64, due: Instant) -> Result<(), String> {
        let full = |_| format!("{ORDERS} earlier probes still wait for the connection to take them");
        self.orders.try_send(Order { sequence, due }).map_err(full)
    }
}

/// Our end of the flow.
#[derive(Debug, Clone)]
struct Party {
    index: usize,
    flow: u32,
    address: SocketAddr,
    form: Form,
    timeout: Duration,
    dscp: Option<u8>,
    notes: Notes,
}

/// Nobody takes notes any more: the run has ended.
struct Over;

impl Party {
    /// All probes over one connection, for as long as it holds.
    async fn one(self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            if self.is_over(order) {
                continue;
            }
            // As much time as any answer has, whatever is left of the probe's own: those that wait need it as well.
            let ended = match timeout(self.timeout, self.connect()).await {
                Ok(Ok(stream)) => self.converse(stream, order, &mut orders).await,
                Ok(Err(error)) => self.refuse(order, &mut orders, &explain(&error)).await,
                // The book knows whose time is over.
                Err(_) => Ok(()),
            };
            if ended.is_err() {
                return;
            }
        }
    }

    /// There is no connection for the first of them, nor for those that waited for it.
    async fn refuse(&self, first: Order, orders: &mut mpsc::Receiver<Order>, cause: &str) -> Result<(), Over> {
        let mut next = Some(first);
        while let Some(Order { sequence, .. }) = next {
            self.note(Note::Refused { sequence: Some(sequence), cause: cause.to_owned() }).await?;
            next = orders.try_recv().ok();
        }
        Ok(())
    }

    /// A connection for each probe, several at the same time where answers take longer than the interval.
    async fn each(self, mut orders: mpsc::Receiver<Order>) {
        let mut probes = JoinSet::new();
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    let party = self.clone();
                    probes.spawn(async move { party.once(order).await });
                }
                Some(_) = probes.join_next() => {}
            }
        }
    }

    async fn once(self, order: Order) {
        let exchange = async { self.exchange(self.connect().await?, order).await };
        // Where it is cut off, the book knows that its time is over.
        if let Ok(Err(error)) = timeout_at(order.due + self.timeout, exchange).await {
            let _ = self.note(Note::Refused { sequence: Some(order.sequence), cause: explain(&error) }).await;
        }
    }

    /// Sends one probe and reads its answer; the error is the connection's.
    async fn exchange(&self, mut stream: TcpStream, order: Order) -> io::Result<Result<(), Over>> {
        let (mut message, mut answer) = (Vec::new(), vec![0; self.form.size]);
        if let Err(over) = self.begin(order, &mut message).await {
            return Ok(Err(over));
        }
        let (mut reader, mut writer) = stream.split();
        // At once: a probe longer than all buffers on the way would never end otherwise.
        let (sent, read) = tokio::join!(writer.write_all(&message), reader.read_exact(&mut answer));
        read.map_err(closed)?;
        sent?;
        Ok(self.answer(&answer).await.map(|_| ()))
    }

    /// Sends probes and reads answers until the connection ends.
    async fn converse(&self, stream: TcpStream, first: Order, orders: &mut mpsc::Receiver<Order>) -> Result<(), Over> {
        let (mut reader, mut writer) = stream.into_split();
        let (mut out, mut written) = (Vec::new(), 0);
        let (mut inbox, mut filled) = (vec![0; self.form.size], 0);
        self.begin(first, &mut out).await?;
        let cause = loop {
            let rest = out.get(written..).unwrap_or_default();
            let room = inbox.get_mut(filled..).unwrap_or_default();
            tokio::select! {
                sent = writer.write(rest), if !rest.is_empty() => match sent {
                    Ok(n) => written += n,
                    Err(error) => break explain(&error),
                },
                order = orders.recv(), if rest.is_empty() => {
                    let Some(order) = order else { return Err(Over) };
                    self.begin(order, &mut out).await?;
                    written = 0;
                }
                read = reader.read(room) => match read {
                    Ok(0) => break "the far end closed the connection".to_owned(),
                    Ok(n) => filled += n,
                    Err(error) => break explain(&error),
                },
            }
            if filled == inbox.len() {
                filled = 0;
                if !self.answer(&inbox).await? {
                    break "what came back is not what was sent".to_owned();
                }
            }
        };
        self.note(Note::Broken { cause }).await
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let start = Instant::now();
        let stream = self.dial().await?;
        let _ = self.note(Note::Connected(start.elapsed())).await;
        Ok(stream)
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let v6 = self.address.is_ipv6();
        let socket = if v6 { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
        if let Some(class) = self.dscp.map(|dscp| u32::from(dscp) << 2) {
            let socket = SockRef::from(&socket);
            if v6 { socket.set_tclass_v6(class) } else { socket.set_tos_v4(class) }?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Writes the probe, and notes that it leaves. One that waited until its time was over does not: sent together, they
    /// would be a burst of ours, and their answers would hide that there was no connection.
    async fn begin(&self, order: Order, message: &mut Vec<u8>) -> Result<(), Over> {
        message.clear();
        if self.is_over(order) {
            return Ok(());
        }
        let wall = wall_clock();
        self.form.write(self.flow, order.sequence, wall, message);
        self.note(Note::Started { sequence: order.sequence, at: Instant::now(), wall }).await
    }

    fn is_over(&self, order: Order) -> bool {
        order.due.elapsed() >= self.timeout
    }

    /// Notes an answer; whether it was one.
    async fn answer(&self, message: &[u8]) -> Result<bool, Over> {
        let at = Instant::now();
        let Ok(told) = self.form.read(self.flow, message) else {
            return self.note(Note::Wrong).await.map(|()| false);
        };
        let receipt = Receipt::new(told, None);
        self.note(Note::Answer { receipt, at }).await.map(|()| true)
    }

    async fn note(&self, note: Note) -> Result<(), Over> {
        self.notes.send((self.index, note)).await.map_err(|_| Over)
    }
}

/// An answer that was cut off, in words for a person.
fn closed(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::new(error.kind(), "the far end closed the connection before all had come back");
    }
    error
}
