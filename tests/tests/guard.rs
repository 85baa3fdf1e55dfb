//! Datagrams with sources that are not the sender's, between hosts of their own: what could turn nodes into a weapon.
//!
//! A spoofed datagram that looks like the answer of one node makes the other one answer, and both would go on for ever,
//! without another packet of ours (CERT CA-1996-01). Here none is answered, each is counted, and what an operator relaxes
//! is relaxed.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use echo_tests::cluster::{pool_on, text};
use echo_tests::lab::{self, Party, net::Net};
use echo_tests::wait::ensure;
use echo_tests::{client, eventually};
use socket2::{Domain, Socket, Type};

/// Until a datagram is counted, or a change has reached the nodes.
const SOON: Duration = Duration::from_secs(20);
/// Of the default pool, which both nodes serve.
const PORT: u16 = 7007;
/// Of a pool that no node serves.
const OTHERS_PORT: u16 = 7008;

#[test]
fn two_nodes_cannot_be_tied_to_each_other() {
    lab::run("two_nodes_cannot_be_tied_to_each_other", || {
        let net = Net::start();
        let [a, b] = [&net.nodes[0].host, &net.nodes[1].host];
        apply(&net, &pool_on(1, OTHERS_PORT).replace("name: default", "name: others"));
        eventually("all nodes know where the fleet answers", SOON, || {
            spoof(&net.client, SocketAddrV4::new(b.address, OTHERS_PORT), a);
            ensure(figure(&net, a, DROPPED, "loop_guard") > 0, || page(&net, a))
        });
        let before = [a, b].map(|node| figure(&net, node, DROPPED, "loop_guard"));
        let ports = [PORT, OTHERS_PORT, 7, 19, 53, 1900, 5353, 11_211];
        for port in ports {
            spoof(&net.client, SocketAddrV4::new(b.address, port), a);
            spoof(&net.client, SocketAddrV4::new(a.address, port), b);
        }
        let expected = before.map(|dropped| dropped + ports.len() as u64);
        eventually("each is dropped and counted", SOON, || {
            let dropped = [a, b].map(|node| figure(&net, node, DROPPED, "loop_guard"));
            ensure(dropped == expected, || format!("{dropped:?} instead of {expected:?}"))
        });
        let answered = figure(&net, a, PACKETS, "transmit");
        // What looks like a client's is answered, to whom it names.
        spoof(&net.client, SocketAddrV4::new(b.address, 40_000), a);
        eventually("a client's is answered", SOON, || {
            ensure(figure(&net, a, PACKETS, "transmit") == answered + 1, || page(&net, a))
        });
        assert_eq!(figure(&net, b, PACKETS, "transmit"), 0, "{}", page(&net, b));
        client_echoes(&net, a).unwrap();
    });
}

#[test]
fn nor_by_the_ports_that_the_kernel_chose_for_them() {
    lab::run("nor_by_the_ports_that_the_kernel_chose_for_them", || {
        let net = Net::start();
        let [a, b] = [&net.nodes[0].host, &net.nodes[1].host];
        let any = "    - {name: any, protocol: UDP, port: 0, service: {echo: {}}}\n";
        apply(&net, &format!("{}{any}", pool_on(2, PORT)));
        let port = |node: &str| {
            let nodes = net.echoctl(0, |echoctl| echoctl.items(&format!("get node/{node}")))?;
            let bound = nodes.iter().flat_map(|node| node.pointer("/status/listeners")?.as_array());
            let listener = bound.flatten().find(|listener| text(listener, "/name") == "any");
            let address = listener.map(|listener| text(listener, "/address")).unwrap_or_default();
            address.parse::<SocketAddr>().map(|address| address.port()).map_err(|e| format!("{nodes:?}: {e}"))
        };
        let to = eventually("one node has such a port", SOON, || port("node-a"));
        let from = eventually("the other has one", SOON, || port("node-b"));
        let (to, from) = (SocketAddrV4::new(a.address, to), SocketAddrV4::new(b.address, from));
        eventually("what may be its answer is dropped", SOON, || {
            spoof_to(&net.client, from, to);
            ensure(figure(&net, a, DROPPED, "loop_guard") > 0, || page(&net, a))
        });
        let (dropped, answered) = (figure(&net, a, DROPPED, "loop_guard"), figure(&net, a, PACKETS, "transmit"));
        spoof_to(&net.client, from, to);
        eventually("each time", SOON, || {
            ensure(figure(&net, a, DROPPED, "loop_guard") == dropped + 1, || page(&net, a))
        });
        assert_eq!(figure(&net, a, PACKETS, "transmit"), answered);
        // Where nothing is bound, a client may be.
        spoof_to(&net.client, SocketAddrV4::new(b.address, if from.port() == 40_000 { 40_001 } else { 40_000 }), to);
        eventually("a client's is answered", SOON, || {
            ensure(figure(&net, a, PACKETS, "transmit") == answered + 1, || page(&net, a))
        });
    });
}

#[test]
fn who_is_answered_can_be_changed_live_and_refusals_are_told() {
    lab::run("who_is_answered_can_be_changed_live_and_refusals_are_told", || {
        let net = Net::start();
        let a = &net.nodes[0].host;
        let guarded = |guard: &str| {
            let udp = "protocol: UDP,";
            pool_on(2, PORT).replace(udp, &format!("{udp} guard: {{{guard}}},"))
        };
        let from_service_port = || {
            net.client.within(|| {
                let socket = UdpSocket::bind((net.client.address, 53)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                socket.send_to(b"who asks from there", (a.address, PORT)).unwrap();
                socket.recv(&mut [0; 64]).map_err(|error| error.to_string())
            })
        };
        client_echoes(&net, a).unwrap();
        assert!(from_service_port().is_err());
        apply(&net, &guarded(&format!("allowServicePorts: ['{}/32']", net.client.address)));
        eventually("who may send from a service's port is answered", SOON, from_service_port);

        apply(&net, &guarded("allow: ['192.0.2.0/24']"));
        eventually("a source that is not answered is dropped", SOON, || {
            net.client.within(|| ask(a));
            ensure(figure(&net, a, DROPPED, "acl") > 0, || page(&net, a))
        });
        eventually("an event says so", SOON, || {
            let events = net.echoctl(0, |echoctl| echoctl.items("get events --for node/node-a"))?;
            let told = events.iter().find(|event| text(event, "/reason") == "SourcesRefused");
            let told = told.map(|event| text(event, "/message")).unwrap_or_default();
            ensure(told.contains("echo-udp") && told.contains("guard.allowPublic"), || format!("{events:?}"))
        });
        apply(&net, &guarded("allow: ['192.0.2.0/24'], allowPublic: true"));
        eventually("everybody is answered", SOON, || client_echoes(&net, a));
    });
}

const DROPPED: &str = "echo_server_packet_dropped";
const PACKETS: &str = "echo_server_packet_count";

/// The sum of a node's counters of this name that have `label` as the value of a label.
fn figure(net: &Net, node: &Party, name: &str, label: &str) -> u64 {
    let page = page(net, node);
    let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(&format!("\"{label}\"")));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn page(net: &Net, node: &Party) -> String {
    net.client.within(|| client::http_get(SocketAddr::from((node.address, 7480)), "/metrics").unwrap())
}

/// Sends a datagram to a node that says it came from `source`.
fn spoof(from: &Party, source: SocketAddrV4, to: &Party) {
    spoof_to(from, source, SocketAddrV4::new(to.address, PORT));
}

/// The same to any port.
fn spoof_to(from: &Party, source: SocketAddrV4, to: SocketAddrV4) {
    from.within(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        // Lets a socket be bound to an address that this host does not have.
        socket.set_ip_transparent_v4(true).unwrap();
        socket.bind(&source.into()).unwrap();
        socket.send_to(b"answer me", &to.into()).unwrap();
    });
}

/// Sends a datagram as any client does.
fn ask(to: &Party) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.send_to(b"answer me", (to.address, PORT)).unwrap();
}

fn client_echoes(net: &Net, node: &Party) -> std::io::Result<()> {
    net.client.within(|| client::udp_echo(SocketAddr::from((node.address, PORT)), b"hello"))
}

fn apply(net: &Net, pool: &str) {
    let file = echo_tests::tools::scratch("guard").join("pool.yaml");
    std::fs::write(&file, pool).unwrap();
    net.echoctl(0, |echoctl| echoctl.ok(&format!("apply -f {}", file.display())));
}
