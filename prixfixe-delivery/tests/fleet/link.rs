//! A way between two servers that can be cut: a proxy that holds what comes for as long as a
//! partition lasts.

use std::net::Ipv4Addr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Connections to one port of this machine.
pub(crate) struct Link {
    pub(crate) port: u16,
    is_whole: watch::Sender<bool>,
    accepts: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

impl Link {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let is_whole = watch::Sender::new(true);
        let seen = is_whole.subscribe();
        let accepts = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connect(near, port, seen.clone()));
            }
        });
        Self {
            port: own,
            is_whole,
            accepts: accepts.abort_handle(),
        }
    }

    /// Nothing passes any more, the end of a connection neither: both sides wait, as they do where
    /// packets are lost.
    pub(crate) fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    /// What was held passes, as TCP sends it again.
    pub(crate) fn heal(&self) {
        self.is_whole.send_replace(true);
    }
}

async fn connect(near: TcpStream, port: u16, mut is_whole: watch::Receiver<bool>) {
    if is_whole.wait_for(|it| *it).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    // One that dies takes both ways along.
    tokio::select! {
        () = carry(near_in, far_out, is_whole.clone()) => {}
        () = carry(far_in, near_out, is_whole) => {}
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut is_whole: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await;
        if is_whole.wait_for(|it| *it).await.is_err() {
            return;
        }
        let Ok(size @ 1..) = read else {
            return;
        };
        if to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}
