//! Mail proxies in front: by XCLIENT they say whose session it is.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use prixfixe_server::{Endpoint, Server, Transport, inbox};
use prixfixe_test_support::{has, run, unused_port};

use crate::balancers::{Balancer, CLIENT};
use crate::support::Prixfixe;

const MAIL_MODULE: &str = "/usr/lib/nginx/modules/ngx_mail_module.so";

fn has_nginx() -> bool {
    let has_module = Path::new(MAIL_MODULE).is_file();
    if !has_module {
        assert!(
            std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_none(),
            "nginx's mail module is not installed"
        );
        eprintln!("skipped: nginx's mail module is not installed");
    }
    has_module && has("nginx") && has("swaks")
}

/// nginx's mail proxy, which asks itself whom it lets in.
fn nginx(folder: &Path, server: u16, login: &str) -> Balancer {
    let asked = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    Balancer::start("nginx", folder, |port| {
        format!(
            "load_module {MAIL_MODULE};\n\
             daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
             events {{}}\n\
             mail {{\n server_name proxy.test; auth_http 127.0.0.1:{asked}/; xclient on;\n\
             server {{ listen 127.0.0.1:{port}; protocol smtp; smtp_auth {login}; }} }}\n\
             http {{\n access_log off; client_body_temp_path a; proxy_temp_path b;\n\
             fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;\n\
             server {{ listen 127.0.0.1:{asked}; location / {{\n\
             add_header Auth-Status OK; add_header Auth-Server 127.0.0.1; add_header Auth-Port {server};\n\
             return 204; }} }} }}\n"
        )
    })
}

#[test]
fn nginx_passes_the_client_and_its_login_on() {
    if !has_nginx() {
        return;
    }
    for transport in [Transport::Tokio, Transport::Raw] {
        let (handler, mut inbox) = inbox();
        let networks = ["127.0.0.1"
            .parse::<std::net::IpAddr>()
            .expect("it is one")
            .into()];
        let server = Server::builder()
            .listen(Endpoint::new((Ipv4Addr::LOCALHOST, 0)).xclient_from(networks))
            .transport(transport)
            .handler(handler)
            .start()
            .expect("it starts");
        let folder = tempfile::tempdir().expect("a folder");
        let login = [
            "--auth",
            "PLAIN",
            "--auth-user",
            "ann",
            "--auth-password",
            "x",
        ];
        for (method, options, identity) in [("none", &[][..], None), ("plain", &login, Some("ann"))]
        {
            let proxy = nginx(folder.path(), server.local_address().port(), method);
            proxy.send(options);
            let message = inbox.next_blocking().expect("a message");
            let client = message.client();
            let peer = client.peer().ip().expect("an address").to_string();
            assert_eq!(peer, CLIENT);
            let balancer = client.balancer().and_then(|it| it.ip());
            assert_eq!(
                balancer.map(|it| it.to_string()).as_deref(),
                Some("127.0.0.1")
            );
            assert_eq!(client.identity().map(|it| it.name()), identity);
            assert_eq!(client.helo(), Some("client.example.com"));
        }
    }
}

#[test]
fn swaks_says_by_lmtp_whose_session_it_is() {
    if !has("swaks") {
        return;
    }
    for transport in ["tokio", "raw"] {
        let server = Prixfixe::start(&[
            "--transport",
            transport,
            "--listen-lmtp=127.0.0.1:0",
            "--xclient-from=127.0.0.1",
        ]);
        run(Command::new("swaks")
            .args(["--protocol", "LMTP", "--server", "127.0.0.1"])
            .args(["--port", &server.last_port(), "--helo", "swaks.test"])
            .args(["--from", "ann@example.com", "--to", "bob@example.com"])
            .args(["--xclient", "ADDR=203.0.113.9 NAME=client.example.com"]));
        let mail = server.mail();
        let trace = mail[0].trace.concat();
        let from = "Received: from swaks.test ([203.0.113.9])";
        assert!(
            trace.contains(from) && trace.contains(" with LMTP id "),
            "{trace}"
        );
    }
}

#[test]
fn swaks_says_whose_session_it_is() {
    if !has("swaks") {
        return;
    }
    for transport in ["tokio", "raw"] {
        let server = Prixfixe::start(&["--transport", transport, "--xclient-from", "127.0.0.1"]);
        let target = format!("127.0.0.1:{}", server.port());
        let told = "ADDR=203.0.113.9 NAME=client.example.com LOGIN=ann HELO=first.test";
        let mut command = Command::new("swaks");
        command
            .args(["--server", &target, "--helo", "swaks.test"])
            .args(["--from", "ann@example.com", "--to", "bob@example.com"])
            .args(["--xclient", told]);
        run(&mut command);
        let mail = server.mail();
        let from = "Received: from swaks.test ([203.0.113.9])";
        assert!(mail[0].has_trace(from), "{:?}", mail[0].trace);
        drop(mail);
        server.stop();

        let server = Prixfixe::start(&["--transport", transport]);
        let target = format!("127.0.0.1:{}", server.port());
        let output = Command::new("swaks")
            .args(["--server", &target, "--from", "a@example.com"])
            .args(["--to", "bob@example.com", "--xclient", told])
            .output()
            .expect("it runs");
        assert!(!output.status.success(), "nobody is believed");
        assert!(
            fs::read_dir(server.folder().join("mail/new"))
                .expect("a folder")
                .next()
                .is_none()
        );
    }
}
