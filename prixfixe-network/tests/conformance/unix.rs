//! Unix sockets: served as others are, and what becomes of their files.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

use prixfixe_network::{Address, Listener, Options, Peer, UnixSocket};
use tempfile::TempDir;

use crate::harness::{Harness, PATIENCE, Way, wait_until};
use crate::toy::Toy;

struct Place {
    _directory: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self {
            path: directory.path().join("smtp.sock"),
            _directory: directory,
        }
    }

    fn socket(&self) -> UnixSocket {
        UnixSocket::new(&self.path)
    }

    fn serve(&self, way: Way, options: Options) -> Harness {
        let listener = Listener::bind_unix(&self.socket()).unwrap();
        Harness::listen(way, vec![listener], Toy::default(), options)
    }

    fn client(&self) -> Client {
        Client::connect(&self.path)
    }
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    #[track_caller]
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end_matches('\n'), expected);
    }

    #[track_caller]
    fn echo(&mut self, line: &str) {
        writeln!(self.0.get_ref(), "{line}").unwrap();
        self.expect(line);
    }

    #[track_caller]
    fn expect_eof(&mut self) {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

pub(crate) fn a_client_of_a_unix_socket_is_served(way: Way) {
    let place = Place::new();
    let harness = place.serve(way, way.options());
    assert_eq!(
        harness.running.addresses(),
        [Address::Unix(place.path.clone())]
    );
    assert!(harness.running.local_addresses().is_empty());
    let mut clients: Vec<Client> = (0..20).map(|_| place.client()).collect();
    for client in &mut clients {
        client.expect("HELLO");
        client.echo("one");
        client.echo("two");
    }
    let connection = harness.seen.connections.lock().unwrap()[0];
    assert_eq!((connection.local, connection.listener), (None, 0));
    assert_eq!(connection.peer.to_string(), "unix");
    let Peer::Unix(credentials) = connection.peer else {
        panic!("{connection:?}");
    };
    if cfg!(target_os = "linux") {
        let credentials = credentials.unwrap();
        let own = fs::metadata(&place.path).unwrap();
        assert_eq!(
            (credentials.user, credentials.group),
            (own.uid(), own.gid())
        );
        assert_eq!(credentials.process, Some(std::process::id()));
    }
}

pub(crate) fn one_too_many_on_a_unix_socket_is_told(way: Way) {
    let place = Place::new();
    let options = way.options().max_connections(1);
    let _harness = place.serve(way, options);
    let mut first = place.client();
    first.expect("HELLO");
    let mut second = place.client();
    second.expect("FULL");
    second.expect_eof();
    first.echo("still here");
}

pub(crate) fn who_stands_in_the_backlog_of_a_unix_socket_is_told_of_the_end(way: Way) {
    let place = Place::new();
    let harness = place.serve(way, way.options());
    let mut served = place.client();
    served.expect("HELLO");
    let hold = harness.seen.hold();
    let mut waiting: Vec<Client> = (0..10).map(|_| place.client()).collect();
    harness.running.shutdown();
    drop(hold);
    for client in &mut waiting {
        let mut all = String::new();
        client.0.read_to_string(&mut all).unwrap();
        assert!(all.starts_with("HELLO\n"), "{all:?}");
    }
    harness.wait_stopped();
}

pub(crate) fn the_file_goes_with_the_transport(way: Way) {
    let place = Place::new();
    for abort in [false, true] {
        let harness = place.serve(way, way.options());
        assert!(fs::metadata(&place.path).unwrap().file_type().is_socket());
        match abort {
            true => harness.running.abort(),
            false => harness.running.shutdown(),
        }
        harness.wait_stopped();
        wait_until("the file is gone", || !place.path.exists());
    }
}

pub(crate) fn a_peer_of_a_unix_socket_that_vanishes_drops_its_session(way: Way) {
    let place = Place::new();
    let harness = place.serve(way, way.options());
    let mut client = place.client();
    client.expect("HELLO");
    drop(client);
    wait_until("the session is gone", || {
        harness.seen.dropped.load(SeqCst) == 1
    });
}

pub(crate) fn a_stream_larger_than_the_buffers_of_a_unix_socket_arrives_whole(way: Way) {
    let place = Place::new();
    let _harness = place.serve(way, way.options());
    let mut client = place.client();
    client.expect("HELLO");
    let mut writer = client.0.get_ref().try_clone().unwrap();
    let line = format!("{}\n", "x".repeat(1023));
    let all = line.repeat(4096);
    let sent = std::thread::spawn(move || writer.write_all(all.as_bytes()).unwrap());
    let mut echoed = vec![0; 4096 * 1024];
    client.0.read_exact(&mut echoed).unwrap();
    sent.join().unwrap();
    assert!(echoed == line.repeat(4096).as_bytes());
}

pub(crate) fn a_successor_on_a_unix_socket_fails_no_connection(way: Way) {
    let place = Place::new();
    let old = place.serve(way, way.options());
    let mut of_old = place.client();
    of_old.expect("HELLO");
    let bound = place.socket().bind_shared().unwrap();
    // It takes nothing from the one that is there.
    place.client().expect("HELLO");
    let new = Harness::listen(
        way,
        vec![bound.listen().unwrap()],
        Toy::default(),
        way.options(),
    );
    place.client().expect("HELLO");
    assert_eq!(new.seen.made.load(SeqCst), 1);
    of_old.echo("still here");
    old.running.shutdown();
    drop(of_old);
    old.wait_stopped();
    // The file is the new one's.
    place.client().expect("HELLO");
    assert_eq!(new.seen.made.load(SeqCst), 2);
}

#[test]
fn a_socket_on_which_somebody_listens_is_an_error() {
    let place = Place::new();
    let live = UnixListener::bind(&place.path).unwrap();
    let error = Listener::bind_unix(&place.socket()).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.address, Address::Unix(place.path.clone()));
    let shown = format!("cannot listen on unix:{}: ", place.path.display());
    assert!(error.to_string().starts_with(&shown), "{error}");
    drop(live);
}

#[test]
fn a_stale_socket_is_replaced_and_another_file_is_not() {
    let place = Place::new();
    drop(UnixListener::bind(&place.path).unwrap());
    assert!(place.path.exists());
    drop(Listener::bind_unix(&place.socket()).unwrap());
    assert!(!place.path.exists());

    fs::write(&place.path, "precious").unwrap();
    for error in [
        Listener::bind_unix(&place.socket()).unwrap_err(),
        place.socket().bind_shared().unwrap_err(),
    ] {
        assert_eq!(error.source.kind(), ErrorKind::AlreadyExists, "{error}");
    }
    assert_eq!(fs::read_to_string(&place.path).unwrap(), "precious");
}

#[test]
fn a_socket_has_its_mode_and_group() {
    let place = Place::new();
    let group = fs::metadata(place.path.parent().unwrap()).unwrap().gid();
    for (socket, mode) in [
        (place.socket(), 0o660),
        (place.socket().mode(0o600), 0o600),
        (place.socket().mode(0o666).group(group), 0o666),
    ] {
        let listener = Listener::bind_unix(&socket).unwrap();
        let metadata = fs::metadata(&place.path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode);
        assert_eq!(metadata.gid(), group);
        drop(listener);
    }
}

#[test]
fn a_file_that_another_has_put_there_stays() {
    let place = Place::new();
    let listener = Listener::bind_unix(&place.socket()).unwrap();
    fs::remove_file(&place.path).unwrap();
    let other = UnixListener::bind(&place.path).unwrap();
    drop(listener);
    assert!(place.path.exists());
    drop(other);
}

#[test]
fn a_path_that_is_too_long_is_an_error() {
    let socket = UnixSocket::new("/tmp/".to_owned() + &"x".repeat(200));
    assert!(Listener::bind_unix(&socket).is_err());
}

#[test]
fn an_inherited_unix_socket_is_served_and_its_file_stays() {
    for way in [Way::Within, Way::Threads, Way::Raw] {
        let place = Place::new();
        let inherited = UnixListener::bind(&place.path).unwrap();
        let listener = Listener::try_from(inherited).unwrap();
        assert_eq!(listener.address(), &Address::Unix(place.path.clone()));
        let harness = Harness::listen(way, vec![listener], Toy::default(), way.options());
        let mut client = place.client();
        client.expect("HELLO");
        drop(client);
        harness.running.shutdown();
        harness.wait_stopped();
        assert!(place.path.exists());
    }
}
