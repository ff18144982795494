use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use hyper::{Method, StatusCode, Uri};

use super::*;

/// Answers each request without a content with the number of its connection, from 0, and the
/// request line.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let connections = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let number = connections.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || {
                let mut writer = stream.try_clone().expect("a clone");
                let mut reader = BufReader::new(stream);
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|count| count > 0) {
                    if !head.ends_with("\r\n\r\n") {
                        continue;
                    }
                    let line = head.lines().next().unwrap_or_default();
                    let body = format!("{number} {line}");
                    let length = body.len();
                    let shown = if line.starts_with("HEAD") { "" } else { &body };
                    let response =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{shown}");
                    if writer.write_all(response.as_bytes()).is_err() {
                        return;
                    }
                    head.clear();
                }
            });
        }
    });
    address
}

fn client(address: SocketAddr, max_idle: usize) -> Client {
    let (origin, _) = Origin::parse(&format!("http://{address}/")).expect("a URL");
    let options = ClientOptions {
        connect_timeout: PATIENCE,
        max_idle,
        tls: TlsFiles::default(),
        insecure: false,
    };
    Client::new(origin, &options).expect("a client")
}

const PATIENCE: Duration = Duration::from_secs(20);

async fn get(client: &Client, method: Method) -> Bytes {
    let request = Request::new(method, Uri::from_static("/x?y"));
    let response = client.send(&request, PATIENCE).await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    response.read().await.expect("a body")
}

#[tokio::test]
async fn requests_without_a_content_share_a_connection() {
    let client = client(server(), 4);
    assert_eq!(get(&client, Method::GET).await, "0 GET /x?y HTTP/1.1");
    assert_eq!(get(&client, Method::HEAD).await, "");
    assert_eq!(get(&client, Method::GET).await, "0 GET /x?y HTTP/1.1");
}

#[tokio::test]
async fn a_response_that_was_not_read_costs_its_connection() {
    let client = client(server(), 4);
    let request = Request::new(Method::GET, Uri::from_static("/"));
    drop(client.send(&request, PATIENCE).await.expect("a response"));
    assert_eq!(get(&client, Method::GET).await, "1 GET /x?y HTTP/1.1");
    let response = client.send(&request, PATIENCE).await.expect("a response");
    response.discard().await;
    assert_eq!(get(&client, Method::GET).await, "1 GET /x?y HTTP/1.1");
}

#[tokio::test]
async fn no_more_connections_are_kept_than_wanted() {
    let client = client(server(), 1);
    let (first, second) = tokio::join!(get(&client, Method::GET), get(&client, Method::GET));
    assert_ne!(first, second);
    assert_eq!(client.lock().len(), 1);
}
