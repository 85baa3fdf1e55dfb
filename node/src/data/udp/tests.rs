//! What becomes of datagrams that a shard is too slow for, or that come while it closes.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::net::UdpSocket as Client;
use std::sync::Arc;

use echo_proto::spec::ServicePlan;
use echo_proto::stamp::{Answer, Request, STAMP_BYTES};
use nix::sys::socket::{getsockopt, sockopt};
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{sleep, timeout};

use super::super::pktinfo::Told;
use super::super::slot::Slot;
use super::endpoint::{ASKED_PERIODS, Lost};
use super::*;

/// More than the receive buffer of [`Setup`] holds.
const BURST: u64 = 2_000;
/// Time for what must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener on a socket with a small receive buffer, and who sends to it.
struct Setup {
    socket: Client,
    client: Client,
    slot: Arc<Slot>,
}

impl Setup {
    fn new() -> Self {
        let socket = Client::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        SockRef::from(&socket).set_recv_buffer_size(64 * 1024).unwrap();
        let client = Client::bind("127.0.0.1:0").unwrap();
        client.connect(socket.local_addr().unwrap()).unwrap();
        Self { socket, client, slot: Arc::default() }
    }

    fn burst(client: &Client) {
        (0..BURST).for_each(|_| assert_eq!(client.send(b"burst").unwrap(), 5));
    }

    fn send_stamped(&self, sequence: u64) {
        let mut message = [0; STAMP_BYTES];
        assert!(Request { sequence, ..Request::default() }.write(&mut message));
        assert_eq!(self.client.send(&message).unwrap(), STAMP_BYTES);
    }

    /// Waits until all of the first bursts was read or lost, so that there is room again.
    async fn read_all(&self, bursts: u64) {
        let all = async {
            while self.slot.received_packets.get() + self.dropped() < bursts * BURST {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, all).await.unwrap();
    }

    fn dropped(&self) -> u64 {
        self.slot.dropped.each().find(|(reason, _)| *reason == "rcvbuf").map_or(0, |(_, count)| count)
    }

    /// Discards on this thread until `act` is through, then closes.
    fn serve_during(&self, act: impl AsyncFnOnce()) {
        self.run_during(ServicePlan::Discard, act);
    }

    fn run_during(&self, service: ServicePlan, act: impl AsyncFnOnce()) {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let served = Served::of(service, Arc::clone(&self.slot));
            let listener = Rc::new(Listener(RefCell::new(served)));
            let socket = UdpSocket::from_std(self.socket.try_clone().unwrap()).unwrap();
            let (stop, stopped) = oneshot::channel();
            let serving = tokio::task::spawn_local(run(
                socket,
                listener,
                Rc::new(Shard::new(Arc::default(), Arc::default())),
                stopped,
            ));
            act().await;
            drop(stop);
            timeout(PATIENCE, serving).await.unwrap().unwrap();
        });
    }
}

#[test]
fn the_end_of_a_burst_is_counted_without_another_datagram() {
    let setup = Setup::new();
    setup.serve_during(async || {
        // The first question is asked at once; the burst comes after it, while the shard is elsewhere: here.
        tokio::task::yield_now().await;
        Setup::burst(&setup.client);
        setup.read_all(1).await;
    });
    assert!(setup.dropped() > 0 && setup.slot.received_packets.get() > 0);
    assert_eq!(setup.slot.received_packets.get() + setup.dropped(), BURST);
}

#[test]
fn a_socket_that_closes_counts_what_it_never_had_room_for() {
    let setup = Setup::new();
    Setup::burst(&setup.client);
    setup.serve_during(async || {});
    assert!(setup.dropped() > 0 && setup.slot.received_packets.get() > 0);
    assert_eq!(setup.slot.received_packets.get() + setup.dropped(), BURST);
}

#[test]
fn a_stamp_tells_what_the_queue_had_no_room_for() {
    let setup = Setup::new();
    let client = setup.client.try_clone().unwrap();
    client.set_nonblocking(true).unwrap();
    let echo = ServicePlan::Echo { max_read: 1, once: false };
    // The flow is new, and has lost most of its requests already.
    (0..BURST).for_each(|sequence| setup.send_stamped(sequence));
    setup.run_during(echo, async || {
        let answered = async |sequence| {
            setup.send_stamped(sequence);
            let mut message = [0; STAMP_BYTES];
            loop {
                match client.recv(&mut message) {
                    Ok(_) => {
                        let answer = Answer::read(&message).unwrap();
                        if answer.request.sequence == sequence {
                            return answer.seen;
                        }
                    }
                    Err(_) => sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let within = async |sequence| timeout(PATIENCE, answered(sequence)).await.unwrap();
        setup.read_all(1).await;
        let first = within(BURST).await;
        assert!(first.overflowed > 0, "{first:?}");
        assert_eq!(first.highest + 1 - first.count, u64::from(first.overflowed), "{first:?}");
        (BURST..2 * BURST).for_each(|sequence| setup.send_stamped(sequence + 1));
        setup.read_all(2).await;
        let second = within(2 * BURST + 1).await;
        assert!(second.overflowed > first.overflowed, "{second:?}");
        assert_eq!(second.highest + 1 - second.count, u64::from(second.overflowed), "{second:?}");
    });
}

#[test]
fn who_no_longer_listens_stops_and_delays_nobody() {
    let setup = Setup::new();
    let address = setup.socket.local_addr().unwrap();
    for _ in 0..BATCH {
        // Gone before it is answered: its host says that nobody is there.
        Client::bind("127.0.0.1:0").unwrap().send_to(b"gone", address).unwrap();
    }
    let client = setup.client.try_clone().unwrap();
    client.set_nonblocking(true).unwrap();
    setup.run_during(ServicePlan::Echo { max_read: 1, once: false }, async || {
        let answers = async {
            for _ in 0..3 {
                client.send(b"here").unwrap();
                while client.recv(&mut [0; 9]).is_err() {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        timeout(PATIENCE, answers).await.unwrap();
    });
    let all = BATCH as u64 + 3;
    assert_eq!((setup.slot.received_packets.get(), setup.slot.transmitted_packets.get()), (all, all));
    assert_eq!(setup.slot.dropped.sum(), 0);
}

#[test]
fn what_was_cut_off_is_not_answered() {
    let served = Served::of(ServicePlan::Echo { max_read: 1, once: false }, Arc::default());
    let (peer, to) = ("127.0.0.1:5000".parse().unwrap(), Destination::new(Ipv4Addr::LOCALHOST.into(), None));
    let verdict = |truncated| {
        let datagram = Datagram { bytes: &mut [7; 9], truncated, peer, told: Told::default() };
        admit(&datagram, Kind::Plain, to, &served, &Ports::default(), Moment::now())
    };
    assert_eq!((verdict(false), verdict(true)), (Ok(()), Err(Drop::Truncated)));
}

#[test]
fn a_deaf_socket_leaves_datagrams_to_others_and_still_answers() {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let _entered = runtime.enter();
    let wide = bind_shared("0.0.0.0:0".parse().unwrap()).unwrap();
    wide.set_read_timeout(Some(PATIENCE)).unwrap();
    let target = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), wide.local_addr().unwrap().port());
    let narrow = bind_shared(target).unwrap();
    narrow.set_nonblocking(true).unwrap();
    let narrow = UdpSocket::from_std(narrow).unwrap();
    let client = Client::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();

    client.send_to(b"before", target).unwrap();
    deafen(&narrow).unwrap();
    client.send_to(b"after", target).unwrap();
    assert_eq!(wide.recv(&mut [0; 9]).unwrap(), 5, "the socket beside it gets what is new");
    let shard = Shard::new(Arc::default(), Arc::default());
    let served = Served::of(ServicePlan::Echo { max_read: 1, once: false }, Arc::default());
    runtime.block_on(close(narrow, &served, &shard));
    assert_eq!(client.recv_from(&mut [0; 9]).unwrap(), (6, target), "what came before is answered");
}

#[test]
fn a_closing_wildcard_socket_of_either_family_goes_deaf() {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let _entered = runtime.enter();
    for wanted in ["0.0.0.0:0", "[::]:0", "[::1]:0"] {
        // A host without IPv6 has nothing to tell here.
        let Ok(socket) = bind_shared(wanted.parse().unwrap()) else { continue };
        socket.set_nonblocking(true).unwrap();
        deafen(&UdpSocket::from_std(socket).unwrap()).unwrap();
    }
}

fn bind_shared(address: SocketAddr) -> io::Result<Client> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[test]
fn the_kernels_count_of_losses_may_wrap() {
    let lost = Lost { told: Cell::new(u32::MAX - 1), ..Lost::default() };
    assert_eq!(lost.since(u32::MAX), 1);
    assert_eq!(lost.since(2), 3);
    assert_eq!(lost.since(2), 0);
    assert_eq!(lost.fresh(), 4, "all of them, until the queue was empty");
    lost.settle();
    assert_eq!(lost.fresh(), 0);
}

#[tokio::test]
async fn what_only_stamps_need_is_asked_of_the_kernel_while_they_come() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let end = Endpoint::new(socket);
    let asked = || getsockopt(&end.socket, sockopt::ReceiveTimestampns).unwrap();
    assert!(!asked());
    end.ask();
    (1..ASKED_PERIODS).for_each(|_| end.rest());
    assert!(asked());
    end.ask();
    (1..ASKED_PERIODS).for_each(|_| end.rest());
    assert!(asked(), "counted from the last one");
    end.rest();
    assert!(!asked());
    end.rest();
    end.ask();
    assert!(asked());
}
