//! Changes: whole or not at all, and what they leave alone.

use std::net::TcpListener;

use socket2::{Domain, Type};

use super::*;

const GREET: &str = "{name: greet, protocol: TCP, port: 0, service: {greet: {banner: hi}}}";

#[tokio::test]
async fn unchanged_listeners_keep_sockets_and_connections() {
    let mut node = Node::serving(ECHO).await;
    let before = node.address("echo");
    let mut stream = node.connect("echo");
    assert!(echoes(&mut stream, b"before"));
    let bound = node.apply(&format!("{GREET}, {ECHO}")).await.unwrap();
    let names: Vec<_> = bound.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["greet", "echo"], "in the order of the plan");
    assert_eq!(node.address("echo"), before, "port 0 stays with its name");
    assert!(echoes(&mut stream, b"after"));
    assert_eq!(read_to_end(&mut node.connect("greet")), b"hi");
}

#[tokio::test]
async fn a_changed_service_is_for_new_connections() {
    let mut node = Node::serving(ECHO).await;
    let mut old = node.connect("echo");
    assert!(echoes(&mut old, b"before"));
    node.apply("{name: echo, protocol: TCP, port: 0, service: {greet: {banner: new}}}").await.unwrap();
    assert_eq!(read_to_end(&mut node.connect("echo")), b"new");
    assert!(echoes(&mut old, b"still an echo"));
}

#[tokio::test]
async fn a_renamed_listener_keeps_its_socket() {
    let mut node = Node::serving(ECHO).await;
    let port = node.address("echo").port();
    node.apply(&listener("a", "TCP", port, "{echo: {}}")).await.unwrap();
    let mut stream = node.connect("a");
    assert!(echoes(&mut stream, b"before"));
    let id = node.live.sockets[0].id;
    node.apply(&listener("b", "TCP", port, "{echo: {}}")).await.unwrap();
    assert_eq!(node.live.sockets[0].id, id);
    assert!(echoes(&mut stream, b"after") && echoes(&mut node.connect("b"), b"new"));
    assert_eq!((node.counts("a").accepted, node.counts("b").accepted), (1, 1));
    assert_eq!(node.live.counters().snapshot().total.accepted, 2);
}

#[tokio::test]
async fn a_removed_listener_leaves_its_connections() {
    let mut node = Node::serving(&format!("{ECHO}, {GREET}")).await;
    let address = node.address("echo");
    // Still in the kernel's queues, for all we know.
    let mut streams: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
    node.apply(GREET).await.unwrap();
    assert!(TcpStream::connect(address).is_err());
    assert!(streams.iter_mut().all(|stream| echoes(stream, b"still here")), "none was reset");
    assert_eq!(node.counts("echo").active, 100);
    node.apply(&format!("{GREET}, {}", listener("echo", "TCP", address.port(), "{echo: {}}"))).await.unwrap();
    assert!(echoes(&mut connect(address), b"back at once"));
    assert_eq!(node.counts("echo").accepted, 101, "counted on");
}

/// Refused by what is bound to `foreign`, the old plan serves on and nothing of the new one stays.
async fn refused(foreign: SocketAddr, protocol: &str) {
    let mut node = Node::on(foreign.ip());
    node.apply(ECHO).await.unwrap();
    let mut stream = node.connect("echo");
    let free = TcpListener::bind((foreign.ip(), 0)).unwrap().local_addr().unwrap();
    let new = listener("other", "TCP", free.port(), "{echo: {}}");
    let taken = listener("taken", protocol, foreign.port(), "{echo: {}}");
    let error = node.apply(&format!("{new}, {taken}")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("listener taken: bind {foreign}: address in use"));
    assert_eq!(error.cause(), format!("bind {foreign}: address in use"));
    assert_eq!((error.listener().unwrap().as_str(), error.label()), ("taken", "bind"));
    assert!(echoes(&mut stream, b"old") && echoes(&mut node.connect("echo"), b"new"));
    assert!(TcpStream::connect(free).is_err(), "nothing of the refused plan listens");
}

#[tokio::test]
async fn a_port_in_use_refuses_the_whole_plan() {
    let foreign = TcpListener::bind((own_address(), 0)).unwrap();
    refused(foreign.local_addr().unwrap(), "TCP").await;
    let foreign = UdpSocket::bind((own_address(), 0)).unwrap();
    refused(foreign.local_addr().unwrap(), "UDP").await;
}

#[tokio::test]
async fn a_process_that_would_share_its_port_is_refused_too() {
    for (protocol, kind) in [("TCP", Type::STREAM), ("UDP", Type::DGRAM)] {
        let foreign = socket2::Socket::new(Domain::IPV4, kind, None).unwrap();
        foreign.set_reuse_port(true).unwrap();
        foreign.set_reuse_address(true).unwrap();
        foreign.bind(&SocketAddr::new(own_address(), 0).into()).unwrap();
        if protocol == "TCP" {
            foreign.listen(1).unwrap();
        }
        refused(foreign.local_addr().unwrap().as_socket().unwrap(), protocol).await;
    }
}

#[tokio::test]
async fn an_address_of_another_host_is_named() {
    let mut node = Node::serving(ECHO).await;
    let error = node
        .apply("{name: far, protocol: UDP, address: 192.0.2.1, port: 7007, service: {echo: {}}}")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "listener far: bind 192.0.2.1:7007: address not available on this host");
}

#[tokio::test]
async fn time_wait_is_no_error() {
    let mut node = Node::serving(&format!("{ECHO}, {GREET}")).await;
    let address = node.address("greet");
    // The side that closes first keeps the port in TIME_WAIT.
    assert_eq!(read_to_end(&mut connect(address)), b"hi");
    node.apply(ECHO).await.unwrap();
    node.apply(&format!("{ECHO}, {}", listener("greet", "TCP", address.port(), "{greet: {banner: again}}")))
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut connect(address)), b"again");
}

#[tokio::test]
async fn closed_listeners_open_again() {
    let mut node = Node::serving(ECHO).await;
    let address = node.address("echo");
    let mut stream = connect(address);
    node.live.close_listeners().await;
    assert!(TcpStream::connect(address).is_err());
    assert!(echoes(&mut stream, b"goes on"));
    node.apply(&listener("echo", "TCP", address.port(), "{echo: {}}")).await.unwrap();
    assert!(echoes(&mut connect(address), b"open again"));
    assert!(echoes(&mut stream, b"goes on"));
}

#[tokio::test]
async fn tcp_closes_without_udp() {
    let mut node = Node::serving(&format!("{ECHO}, {}", ECHO.replace("TCP", "UDP").replace("echo,", "udp,"))).await;
    let (tcp, udp) = (node.address("echo"), node.address("udp"));
    let client = udp_client("127.0.0.1:0");
    assert_eq!(node.live.udp_idle(), None);
    node.live.close_tcp().await;
    assert!(TcpStream::connect(tcp).is_err());
    client.send_to(b"still there", udp).unwrap();
    assert_eq!(client.recv_from(&mut [0; 16]).unwrap(), (11, udp));
    assert!(node.live.udp_idle().unwrap() < PATIENCE);
    assert_eq!(node.live.counters().udp_flows(), FlowCount { flows: 1, capped: false });
    assert_eq!(node.live.bound().iter().map(|b| b.address).collect::<Vec<_>>(), [udp]);
    node.live.close_listeners().await;
    assert_eq!((node.live.udp_idle(), node.live.bound().len()), (None, 0), "nothing can come any more");
}

#[tokio::test]
async fn a_cut_closes_every_connection_and_nothing_else() {
    let mut node = Node::serving(ECHO).await;
    let mut open: Vec<_> = (0..20).map(|_| node.connect("echo")).collect();
    assert!(open.iter_mut().all(|stream| echoes(stream, b"hello")));
    assert_eq!(node.live.cut().await, 20);
    assert!(open.iter_mut().all(|stream| read_to_end(stream).is_empty()));
    assert_eq!((node.live.connections(), node.live.cut().await), (0, 0));
    assert_eq!(node.counts("echo").ended["stopped"], 20);
    assert!(echoes(&mut node.connect("echo"), b"next"));
}

#[tokio::test]
async fn stop_closes_what_is_open_and_is_no_failure() {
    let node = Node::serving(ECHO).await;
    let (counters, failure) = (node.live.counters(), node.live.failure());
    let mut stream = node.connect("echo");
    assert!(echoes(&mut stream, b"hello"));
    node.live.stop().await;
    assert!(read_to_end(&mut stream).is_empty());
    let total = counters.snapshot().total;
    assert_eq!((total.accepted, total.active, total.ended["stopped"]), (1, 0, 1));
    assert!(tokio::time::timeout(Duration::from_millis(20), failure).await.is_err());
}
