//! Whom the guard lets through.
#![allow(clippy::unwrap_used)]

use ipnet::IpNet;
use libc::{in_addr, in_pktinfo};
use proptest::prelude::*;

use super::*;

const REFUSED: Result<(), Drop> = Err(Drop::LoopGuard);

/// These ports of any address.
fn anywhere(ports: impl IntoIterator<Item = u16>) -> Ports {
    ports.into_iter().map(|port| (Ipv4Addr::UNSPECIFIED, port).into()).collect()
}

fn guard() -> Guard {
    Guard::new(&GuardPlan::default())
}

fn to(address: &str) -> Destination {
    Destination::new(address.parse().unwrap(), None)
}

fn judge(guard: &Guard, peer: &str) -> Result<(), Drop> {
    guard.verdict(&anywhere([7007]), peer.parse().unwrap(), to("10.0.0.1"), || false)
}

fn ranges(ranges: &[&str]) -> Vec<IpNet> {
    ranges.iter().map(|range| range.parse().unwrap()).collect()
}

/// A datagram that came to `address`, which stands for `ours`.
fn hit(address: &str, ours: &str) -> Option<Hit> {
    let number = |address: &str| in_addr { s_addr: address.parse::<Ipv4Addr>().unwrap().to_bits().to_be() };
    Some(Hit::V4(in_pktinfo { ipi_ifindex: 1, ipi_spec_dst: number(ours), ipi_addr: number(address) }))
}

#[test]
fn a_client_of_the_own_network_is_served_on_any_client_port() {
    let guard = guard();
    for peer in ["10.0.0.2:1024", "192.168.3.4:49152", "[fd00::1]:65535"] {
        assert_eq!(judge(&guard, peer), Ok(()), "{peer}");
    }
}

#[test]
fn what_may_be_a_service_is_refused() {
    let guard = guard();
    for port in [0, 7, 19, 53, 1023, 1900, 2049, 3478, 5353, 7007, 11_211] {
        assert_eq!(judge(&guard, &format!("10.0.0.2:{port}")), REFUSED, "{port}");
    }
}

#[test]
fn service_ports_can_be_allowed_by_range_but_the_fleets_own_never() {
    let plan = GuardPlan { allow_service_ports: ranges(&["10.0.0.0/24"]), ..GuardPlan::default() };
    let guard = Guard::new(&plan);
    assert_eq!(judge(&guard, "10.0.0.2:53"), Ok(()));
    assert_eq!(judge(&guard, "10.0.0.2:5353"), Ok(()));
    assert_eq!(judge(&guard, "10.0.1.2:53"), REFUSED);
    for port in [0, 7007] {
        assert_eq!(judge(&guard, &format!("10.0.0.2:{port}")), REFUSED);
    }
}

#[test]
fn an_exempt_request_may_come_from_any_port_of_an_answered_source() {
    let (guard, fleet) = (guard(), anywhere([7007]));
    let exempt = |peer: &str| guard.verdict(&fleet, peer.parse().unwrap(), to("10.0.0.1"), || true);
    assert_eq!((exempt("10.0.0.2:7007"), exempt("10.0.0.2:53")), (Ok(()), Ok(())));
    assert_eq!(exempt("198.51.100.1:40000"), Err(Drop::Acl));
    assert_eq!(
        (exempt("127.0.0.1:40000"), exempt("224.0.0.1:40000"), exempt("10.0.0.2:0")),
        (REFUSED, REFUSED, REFUSED)
    );
}

#[test]
fn public_sources_need_to_be_allowed() {
    assert_eq!(judge(&guard(), "198.51.100.1:40000"), Err(Drop::Acl));
    assert_eq!(judge(&guard(), "[2001:db8::1]:40000"), Err(Drop::Acl));
    let some = GuardPlan { allow: Some(ranges(&["198.51.100.0/24"])), ..GuardPlan::default() };
    let some = Guard::new(&some);
    assert_eq!(judge(&some, "198.51.100.1:40000"), Ok(()));
    assert_eq!(judge(&some, "10.0.0.2:40000"), Err(Drop::Acl), "a list replaces the default one");
    let all = Guard::new(&GuardPlan { allow: None, ..GuardPlan::default() });
    assert_eq!(judge(&all, "[2001:db8::1]:40000"), Ok(()));
    assert_eq!(judge(&all, "198.51.100.1:53"), REFUSED);
}

#[test]
fn sources_that_nobody_has_are_refused_whatever_is_allowed() {
    let all = Guard::new(&GuardPlan { allow: None, ..GuardPlan::default() });
    for source in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "239.1.1.1", "127.0.0.1", "[::]", "[ff02::1]", "[::1]"] {
        assert_eq!(judge(&all, &format!("{source}:40000")), REFUSED, "{source}");
    }
}

#[test]
fn loopback_sources_are_served_where_they_hit_loopback() {
    let came = |peer: &str, to| guard().verdict(&Ports::default(), peer.parse().unwrap(), to, || false);
    assert_eq!(came("127.0.0.1:40000", to("127.0.0.3")), Ok(()));
    assert_eq!(came("[::1]:40000", to("::1")), Ok(()));
    let hit = |address| Destination::new(Ipv4Addr::UNSPECIFIED.into(), hit(address, address));
    assert_eq!(came("127.0.0.1:40000", hit("127.0.0.9")), Ok(()));
    assert_eq!(came("127.0.0.1:40000", hit("10.0.0.1")), REFUSED);
    assert_eq!(came("127.0.0.1:40000", to("0.0.0.0")), REFUSED, "what is not known is refused");
}

#[test]
fn what_many_have_got_is_not_answered() {
    let came = |address, ours| {
        let to = Destination::new(Ipv4Addr::UNSPECIFIED.into(), hit(address, ours));
        guard().verdict(&Ports::default(), "10.0.0.2:40000".parse().unwrap(), to, || true)
    };
    assert_eq!(came("10.0.0.1", "10.0.0.1"), Ok(()));
    assert_eq!(came("10.0.0.255", "10.0.0.1"), REFUSED);
    assert_eq!(came("224.0.0.1", "10.0.0.1"), REFUSED);
}

proptest! {
    #[test]
    fn a_set_of_ports_holds_what_was_put_in(ports in prop::collection::vec(0_u16.., 0..40), other: u16) {
        let set = anywhere(ports.iter().copied());
        let at = |port| (Ipv4Addr::new(10, 0, 0, 2), port).into();
        prop_assert!(ports.iter().all(|port| set.contain(at(*port))));
        prop_assert_eq!(set.contain(at(other)), ports.contains(&other));
    }
}

#[test]
fn a_single_socket_costs_no_client_its_port() {
    let set: Ports =
        ["10.0.0.1:41234", "[fd00::1]:41234"].map(|s| s.parse::<SocketAddr>().unwrap()).into_iter().collect();
    for (peer, there) in
        [("10.0.0.1:41234", true), ("10.0.0.2:41234", false), ("10.0.0.1:41235", false), ("[fd00::1]:41234", true)]
    {
        assert_eq!(set.contain(peer.parse().unwrap()), there, "{peer}");
    }
}
