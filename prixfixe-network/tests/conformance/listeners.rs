//! Listening sockets: ports that are taken, both families, inherited sockets.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use prixfixe_network::{BoundSocket, Connection, Listener};
use socket2::{Domain, Socket, Type};

use crate::harness::{Client, Harness, Way, loopback};
use crate::toy::Toy;

const LOCALHOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[test]
fn a_taken_port_is_an_error() {
    let taken = TcpListener::bind(LOCALHOST).unwrap();
    let address = taken.local_addr().unwrap();
    let error = Listener::bind(address).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.address, address);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn a_port_taken_by_one_who_would_share_it_is_an_error_too() {
    let foreign = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    foreign.set_reuse_address(true).unwrap();
    foreign.set_reuse_port(true).unwrap();
    foreign.bind(&LOCALHOST.into()).unwrap();
    foreign.listen(1).unwrap();
    let address = foreign.local_addr().unwrap().as_socket().unwrap();
    assert_eq!(
        Listener::bind(address).unwrap_err().source.kind(),
        ErrorKind::AddrInUse
    );
}

#[test]
fn a_port_that_threads_serve_is_taken() {
    for way in [Way::Threads, Way::Raw] {
        let harness = Harness::start(way, Toy::default(), way.options());
        assert_eq!(
            Listener::bind(harness.address()).unwrap_err().source.kind(),
            ErrorKind::AddrInUse
        );
    }
}

#[test]
fn a_port_can_be_shared_by_consent() {
    for way in [Way::Within, Way::Threads, Way::Raw] {
        let old = Harness::start(way, Toy::default(), way.options());
        let successor = Listener::bind_shared(old.address()).unwrap();
        let new = Harness::listen(way, vec![successor], Toy::default(), way.options());
        old.running.shutdown();
        old.wait_stopped();
        new.client().echo("the new one serves");
    }
}

#[test]
fn localhost_has_the_same_port_in_both_families() {
    let listeners = Listener::bind_localhost(0).unwrap();
    let addresses: Vec<SocketAddr> = listeners.iter().map(Listener::local_address).collect();
    let port = addresses[0].port();
    assert_ne!(port, 0);
    let mut expected = vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)];
    if host_has_ipv6() {
        expected.push(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port));
    }
    assert_eq!(addresses, expected);
    assert_eq!(
        Listener::bind_localhost(port).unwrap_err().source.kind(),
        ErrorKind::AddrInUse
    );
}

#[test]
fn all_addresses_can_be_shared_with_those_who_share_them() {
    let first = Listener::bind_all_shared(0).unwrap();
    let port = first[0].local_address().port();
    let second = Listener::bind_all_shared(port).unwrap();
    let addresses = |of: &[Listener]| of.iter().map(Listener::local_address).collect::<Vec<_>>();
    assert_eq!(addresses(&first), addresses(&second));
    assert!(
        first
            .iter()
            .all(|it| it.local_address().ip().is_unspecified())
    );
    assert_eq!(
        Listener::bind_all(port).unwrap_err().source.kind(),
        ErrorKind::AddrInUse
    );
}

#[test]
fn a_bound_socket_takes_no_connection_until_it_listens() {
    for way in [Way::Within, Way::Threads, Way::Raw] {
        let old = Harness::start(way, Toy::default(), way.options());
        let bound = BoundSocket::bind_shared(old.address()).unwrap();
        assert_eq!(bound.local_address(), old.address());
        // Each would have an even chance to go to the other one.
        for _ in 0..20 {
            old.client().echo("the old one serves");
        }
        let new = Harness::listen(
            way,
            vec![bound.listen().unwrap()],
            Toy::default(),
            way.options(),
        );
        old.running.shutdown();
        old.wait_stopped();
        new.client().echo("the new one serves");
    }
}

#[test]
fn both_families_are_bound_before_either_listens() {
    let bound = BoundSocket::bind_localhost_shared(0).unwrap();
    let addresses: Vec<SocketAddr> = bound.iter().map(BoundSocket::local_address).collect();
    assert_eq!(addresses.len(), 1 + usize::from(host_has_ipv6()));
    for address in &addresses {
        assert_eq!(address.port(), addresses[0].port());
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    let taken = TcpListener::bind(LOCALHOST).unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = BoundSocket::bind_localhost_shared(port).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
}

#[test]
fn all_addresses_are_served_in_both_families() {
    for way in [Way::Within, Way::Threads, Way::Raw] {
        let harness = Harness::listen(
            way,
            Listener::bind_all(0).unwrap(),
            Toy::default(),
            way.options(),
        );
        let port = harness.address().port();
        let mut hosts: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
        if host_has_ipv6() {
            hosts.push(Ipv6Addr::LOCALHOST.into());
        }
        for (listener, host) in hosts.into_iter().enumerate() {
            let address = SocketAddr::new(host, port);
            let mut client = Client::connect(address);
            client.expect("HELLO");
            let connection = *harness.seen.connections.lock().unwrap().last().unwrap();
            let peer = client.stream().local_addr().unwrap();
            assert_eq!(connection, Connection::new(peer, Some(address), listener));
        }
    }
}

#[test]
fn an_inherited_socket_is_served_by_all_threads() {
    for way in [Way::Within, Way::Threads, Way::Raw] {
        let inherited = TcpListener::bind(LOCALHOST).unwrap();
        let listener = Listener::try_from(inherited).unwrap();
        let harness = Harness::listen(
            way,
            vec![loopback(), listener],
            Toy::default(),
            way.options(),
        );
        let address = harness.running.local_addresses()[1];
        let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            client.expect("HELLO");
            client.echo("one");
        }
        assert!(
            harness
                .seen
                .connections
                .lock()
                .unwrap()
                .iter()
                .all(|connection| connection.listener == 1)
        );
    }
}

fn host_has_ipv6() -> bool {
    TcpListener::bind(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)).is_ok()
}
