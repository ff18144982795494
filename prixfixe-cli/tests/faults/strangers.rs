//! Clients with public addresses, which they have from a balancer's PROXY header.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::server::{Launch, Server};

/// The server takes who comes from here for a balancer.
const BALANCER: &str = "127.0.0.2";

/// Believes the balancer.
pub(crate) fn launch(transport: &str) -> Launch {
    Launch::new(transport).arguments(&["--proxy-protocol-from", BALANCER])
}

/// Connected from this address, and not greeted yet.
pub(crate) fn connect(server: &Server, address: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own = SocketAddr::new(BALANCER.parse().unwrap(), 0);
    socket.bind(&own.into()).unwrap();
    socket.connect(&server.address().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let header = format!("PROXY TCP4 {address} 198.51.100.25 10000 25\r\n");
    stream.write_all(header.as_bytes()).unwrap();
    stream
}

/// Greeted and introduced, or an error that has the reply it got instead.
pub(crate) fn client(server: &Server, address: &str) -> io::Result<Client> {
    Client::over(connect(server, address))
}
