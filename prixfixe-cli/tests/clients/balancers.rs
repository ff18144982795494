//! HAProxy and nginx in front: with the PROXY protocol they say whose connection it is.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use prixfixe_test_support::{PATIENCE, has, run, unused_port, wait_until};

use crate::support::Prixfixe;

/// The client has an address that is not the balancer's.
pub(crate) const CLIENT: &str = "127.0.0.2";

/// A balancer between a port of its own and a server.
pub(crate) struct Balancer {
    child: Child,
    port: u16,
}

impl Balancer {
    /// `listen` of HAProxy; `server` is what stands behind the server's address.
    fn haproxy(prixfixe: &Prixfixe, server: &str) -> Self {
        Self::start("haproxy", prixfixe.folder(), |port| {
            format!(
                "defaults\n mode tcp\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
                 listen mail\n bind 127.0.0.1:{port}\n server mx {} {server}\n",
                prixfixe.address()
            )
        })
    }

    fn nginx(prixfixe: &Prixfixe) -> Self {
        Self::start("nginx", prixfixe.folder(), |port| {
            format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
                 daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
                 events {{}}\n\
                 stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass {}; proxy_protocol on; }} }}\n",
                prixfixe.address()
            )
        })
    }

    pub(crate) fn start(
        program: &str,
        folder: &Path,
        configuration: impl Fn(u16) -> String,
    ) -> Self {
        // Neither of them takes port 0. Somebody else may take the port meanwhile: then another is
        // tried.
        loop {
            let port = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
            let file = folder.join(format!("{program}.conf"));
            fs::write(&file, configuration(port)).expect("a file");
            let mut command = Command::new(format!("/usr/sbin/{program}"));
            match program {
                "nginx" => command.arg("-p").arg(folder).arg("-c").arg(&file),
                _ => command.arg("-db").arg("-f").arg(&file),
            };
            let child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn();
            let mut balancer = Self {
                child: child.expect("it runs"),
                port,
            };
            if balancer.listens() {
                return balancer;
            }
        }
    }

    /// False when it has ended. To connect would be a connection that the server sees.
    fn listens(&mut self) -> bool {
        let start = Instant::now();
        // 127.0.0.1, any peer, the state LISTEN.
        let listening = format!(" 0100007F:{:04X} 00000000:0000 0A ", self.port);
        while start.elapsed() < PATIENCE {
            let sockets = fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
            if sockets.contains(&listening) {
                return true;
            }
            if self.child.try_wait().expect("a child").is_some() {
                return false;
            }
            std::thread::yield_now();
        }
        panic!("the balancer does not listen");
    }

    /// Sends a mail through it from [`CLIENT`].
    pub(crate) fn send(&self, options: &[&str]) {
        run(Command::new("swaks")
            .args(["--server", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--local-interface", CLIENT, "--helo", "client.example.com"])
            .args(["--from", "ann@example.com", "--to", "bob@example.com"])
            .args(options));
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that takes 127.0.0.1 for a balancer.
fn prixfixe(arguments: &[&str]) -> Prixfixe {
    let trust = ["--proxy-protocol-from", "127.0.0.1", "--log", "debug"];
    Prixfixe::start(&[&trust, arguments].concat())
}

fn wait_for(server: &Prixfixe, what: &str) {
    let is_there = || {
        let log = server.log.lock().expect("no panic under it");
        log.iter().any(|line| line.contains(what))
    };
    wait_until(what, is_there);
}

/// The client's address is in Received and in the log, and nobody else is in the log at `info`.
fn assert_client_is_seen(server: &Prixfixe) {
    let mail = server.mail();
    assert_eq!(mail.len(), 1);
    let from = format!("Received: from client.example.com ([{CLIENT}])");
    assert!(mail[0].has_trace(&from), "{:?}", mail[0].trace);

    let connection = format!("\"message\":\"connection\",\"peer\":\"{CLIENT}:");
    wait_for(server, &connection);
    let log = server.log.lock().expect("no panic under it");
    let others = log.iter().filter(|line| {
        !line.contains("\"DEBUG\"")
            && !line.contains("\"listening\"")
            && !line.contains("running as root")
            && !line.contains(&format!("\"peer\":\"{CLIENT}:"))
    });
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn haproxy_says_whose_connection_it_is_and_its_checks_are_quiet() {
    if !has("haproxy") || !has("swaks") {
        return;
    }
    for (transport, version) in [("tokio", "send-proxy"), ("raw", "send-proxy-v2")] {
        let server = prixfixe(&["--transport", transport]);
        let check = format!("{version} check inter 20ms");
        let balancer = Balancer::haproxy(&server, &check);
        wait_for(&server, "\"health check\"");
        balancer.send(&[]);
        assert_client_is_seen(&server);
        server.stop();
    }
}

#[test]
fn haproxy_passes_tls_on() {
    if !has("haproxy") || !has("swaks") {
        return;
    }
    let server = prixfixe(&["--tls-self-signed", "--tls-required"]);
    let balancer = Balancer::haproxy(&server, "send-proxy-v2");
    balancer.send(&["--tls"]);
    assert!(server.mail()[0].trace.concat().contains("with ESMTPS"));
}

#[test]
fn nginx_says_whose_connection_it_is() {
    if !has("nginx") || !has("swaks") {
        return;
    }
    let server = prixfixe(&[]);
    let balancer = Balancer::nginx(&server);
    balancer.send(&[]);
    assert_client_is_seen(&server);
}

#[test]
fn at_the_limit_the_421_comes_through_the_balancer() {
    if !has("haproxy") || !has("nginx") {
        return;
    }
    let server = prixfixe(&["--max-connections", "1"]);
    for balancer in [
        Balancer::haproxy(&server, "send-proxy-v2"),
        Balancer::nginx(&server),
    ] {
        let _first = greeted(balancer.port);
        for _ in 0..50 {
            assert_eq!(reply(&mut connect(balancer.port)), "421 4.3.2");
        }
    }
}

fn connect(port: u16) -> TcpStream {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket option");
    stream
}

/// The code of a reply, with its enhanced one. Empty when the connection just ends.
fn reply(stream: &mut TcpStream) -> String {
    let mut reply = String::new();
    // A reset is an end too.
    let _ = stream.take(9).read_to_string(&mut reply);
    reply
}

/// A connection that has its greeting: the place before it may not be free at once.
fn greeted(port: u16) -> TcpStream {
    let start = Instant::now();
    loop {
        let mut stream = connect(port);
        if reply(&mut stream).starts_with("220 ") {
            return stream;
        }
        assert!(start.elapsed() < PATIENCE, "no greeting");
    }
}
