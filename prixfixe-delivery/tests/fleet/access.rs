//! Credentials that are changed while the fleet runs.

use std::path::PathBuf;

use prixfixe_test_support::unused_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// A node that knows some users, and a spool that comes as the first of them.
struct Known {
    node: NatsServer,
    fleet: Fleet,
    /// Where the node says who is connected.
    monitor: u16,
    folder: tempfile::TempDir,
}

impl Known {
    async fn new() -> Option<Self> {
        let monitor = unused_port(std::net::Ipv4Addr::LOCALHOST).expect("a port");
        let node = NatsServer::start_with(&configuration(monitor, &["one"]))?;
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = options();
        options.connection = as_user("one", folder.path().join("one"));
        let fleet = open(&node.address(), options).await;
        keep(&fleet, "relay", &["bob@example.org"], content("first"))
            .await
            .expect("it is kept");
        Some(Self {
            node,
            fleet,
            monitor,
            folder,
        })
    }

    /// What a reload of the configuration does.
    fn change_to(&self, user: &str) {
        let options = as_user(user, self.folder.path().join(user));
        let access = self.fleet.read_access(&options).expect("it can be read");
        self.fleet.set_access(access);
    }

    /// Whether a client is connected as this user.
    async fn has(&self, user: &str) -> bool {
        let address = ("127.0.0.1", self.monitor);
        let Ok(mut http) = TcpStream::connect(address).await else {
            return false;
        };
        let request = "GET /connz?auth=true HTTP/1.0\r\n\r\n";
        http.write_all(request.as_bytes())
            .await
            .expect("it is sent");
        let mut answer = String::new();
        http.read_to_string(&mut answer).await.expect("an answer");
        answer.contains(&format!("\"authorized_user\": \"{user}\""))
    }
}

fn configuration(monitor: u16, users: &[&str]) -> String {
    let users = users
        .iter()
        .map(|user| format!("{{ user: {user}, password: {user} }}"));
    let users = users.collect::<Vec<_>>().join(", ");
    format!("http: \"127.0.0.1:{monitor}\"\nauthorization {{ users: [{users}] }}")
}

/// Each user's password is the name.
fn as_user(user: &str, password_file: PathBuf) -> NatsOptions {
    std::fs::write(&password_file, user).expect("a file");
    let mut connection = options().connection;
    connection.username = Some(user.to_owned());
    connection.password_file = Some(password_file);
    connection.tls = Some(prixfixe_delivery::TlsUse::Off);
    connection
}

#[tokio::test]
async fn where_new_credentials_do_not_work_a_connection_is_made_again_with_those_before() {
    let Some(mut known) = Known::new().await else {
        return;
    };
    known.change_to("two");
    known.node.kill();
    // Else the client's library makes the same connection again.
    until("it is given up", async || {
        known.fleet.health().fault().is_some()
    })
    .await;
    known.node.run();
    keep_until_taken(&known.fleet, "relay", "second").await;
    assert!(known.has("one").await);
}

#[tokio::test]
async fn credentials_that_the_server_learns_of_later_are_tried_again() {
    let Some(known) = Known::new().await else {
        return;
    };
    known.change_to("two");
    assert!(!known.has("two").await);
    let both = configuration(known.monitor, &["one", "two"]);
    known.node.configure(&both);
    known.node.reload();
    until("it comes as the other", async || known.has("two").await).await;
    until("and not as the one before", async || {
        !known.has("one").await
    })
    .await;
    keep_until_taken(&known.fleet, "relay", "second").await;
}
