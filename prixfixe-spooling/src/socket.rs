//! `DIR/control`: how `prixfixe spool` reaches a server that runs.
//!
//! A Unix socket with mode 0600. Who connects is looked at too: only root and the server's own user
//! are answered. A connection carries one request, a line of JSON, and its answer. What it may cost
//! is bounded: a length, a time, and how many at once.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use tracing::{debug, warn};

use crate::protocol::Request;

/// The longest request: some ten thousand ids.
const MAX_REQUEST: u64 = 256 << 10;

/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may not read what it is answered: somebody may look at a page of it (`prixfixe
/// spool list | less`).
const READER_PATIENCE: Duration = Duration::from_mins(5);

/// How long a server may be silent. It works on the disk meanwhile.
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);

/// Those who are answered at once.
const MAX_AT_ONCE: usize = 8;

/// Answers a request.
pub(crate) type Answer = dyn Fn(Request, &mut dyn Write) -> io::Result<()> + Send + Sync;

/// A socket that is answered. It is removed when this is dropped, unless a successor has put its
/// own there.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    inode: u64,
}

pub(crate) fn path(spool: &Path) -> PathBuf {
    spool.join("control")
}

impl Socket {
    /// For the process that delivers from the spool: it has the lock, so whoever had the socket
    /// before is gone, or going.
    pub(crate) fn open(spool: &Path, answer: Arc<Answer>) -> io::Result<Self> {
        let path = path(spool);
        // Under a name of its own until nobody else can connect.
        let name = format!("control.{}", std::process::id());
        let new = spool.join(&name);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = at_a_short_path(spool, &name, UnixListener::bind)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(&new, &path)?;
        let inode = inode(&path)?;
        thread::Builder::new()
            .name("spool-control".to_owned())
            .spawn(move || serve(&listener, &answer))?;
        Ok(Self { path, inode })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // It is in nobody's way: the next one replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The longest path of a socket (`sun_path` of `struct sockaddr_un`), with the zero behind it: 104
/// bytes on BSD and macOS, 108 on Linux.
const LONGEST: usize = 104;

/// Does something with a socket in a directory whose path may be longer than that of a socket.
fn at_a_short_path<T>(
    directory: &Path,
    name: &str,
    act: impl FnOnce(PathBuf) -> io::Result<T>,
) -> io::Result<T> {
    let path = directory.join(name);
    if path.as_os_str().len() < LONGEST {
        return act(path);
    }
    if !cfg!(target_os = "linux") {
        let error = format!(
            "the path of a socket has at most {} bytes, and {} has more: give the spool a shorter path",
            LONGEST - 1,
            path.display()
        );
        return Err(io::Error::other(error));
    }
    // Open until it was done.
    let directory = File::open(directory)?;
    act(PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

fn inode(path: &Path) -> io::Result<u64> {
    Ok(std::os::unix::fs::MetadataExt::ino(&fs::metadata(path)?))
}

/// Until the process ends.
fn serve(listener: &UnixListener, answer: &Arc<Answer>) {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                warn!(target: "prixfixe", %error, "the spool's control socket");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if busy.fetch_add(1, Ordering::SeqCst) >= MAX_AT_ONCE {
            busy.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (answer, counted) = (Arc::clone(answer), Arc::clone(&busy));
        let spawned = thread::Builder::new()
            .name("spool-control".to_owned())
            .spawn(move || {
                if let Err(error) = converse(&stream, &*answer) {
                    debug!(target: "prixfixe", %error, "a client of the spool's control socket");
                }
                counted.fetch_sub(1, Ordering::SeqCst);
            });
        if spawned.is_err() {
            busy.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn converse(stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let peer = getsockopt(stream, sockopt::PeerCredentials)?;
    if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
        return Err(io::Error::other(format!("user {} may not ask", peer.uid())));
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(READER_PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_REQUEST)).read_until(b'\n', &mut line)?;
    let request = serde_json::from_slice(&line).map_err(io::Error::other)?;
    let mut output = BufWriter::new(stream);
    answer(request, &mut output)?;
    output.flush()
}

/// What a server answers. `None`: no server is there.
pub(crate) fn ask(spool: &Path, request: &Request) -> io::Result<Option<BufReader<UnixStream>>> {
    let mut stream = match at_a_short_path(spool, "control", UnixStream::connect) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error),
            };
        }
    };
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::other)?;
    line.push(b'\n');
    if line.len() as u64 > MAX_REQUEST {
        return Err(io::Error::other("too many ids at once; give fewer"));
    }
    stream.write_all(&line)?;
    Ok(Some(BufReader::new(stream)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::protocol::Line;

    fn echo() -> Arc<Answer> {
        Arc::new(|request, output| {
            let text = serde_json::to_string(&request).map_err(io::Error::other)?;
            Line::Error(text).write(output)?;
            Line::End(0).write(output)
        })
    }

    #[test]
    fn a_request_reaches_the_server_and_its_answer_comes_back() {
        let spool = tempfile::tempdir().unwrap();
        assert!(ask(spool.path(), &Request::List).unwrap().is_none());
        let socket = Socket::open(spool.path(), echo()).unwrap();
        let mode = fs::metadata(path(spool.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let request = Request::Hold {
            ids: vec!["1-0".to_owned()],
        };
        let mut answer = ask(spool.path(), &request).unwrap().unwrap();
        let expected = serde_json::to_string(&request).unwrap();
        assert_eq!(
            Line::read(&mut answer).unwrap(),
            Some(Line::Error(expected))
        );
        assert_eq!(Line::read(&mut answer).unwrap(), Some(Line::End(0)));
        drop(socket);
        assert!(!path(spool.path()).exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_directory_may_have_a_longer_path_than_a_socket() {
        let directory = tempfile::tempdir().unwrap();
        for length in [80, 100, 104, 108, 200, 3000] {
            let mut spool = directory.path().to_owned();
            while spool.as_os_str().len() < length {
                let left = length - spool.as_os_str().len();
                spool.push("x".repeat(left.saturating_sub(1).clamp(1, 100)));
            }
            fs::create_dir_all(&spool).unwrap();
            assert!(ask(&spool, &Request::List).unwrap().is_none());
            let socket = Socket::open(&spool, echo()).unwrap();
            let mut answer = ask(&spool, &Request::List).unwrap().unwrap();
            assert!(matches!(Line::read(&mut answer), Ok(Some(Line::Error(_)))));
            drop(socket);
            assert!(
                fs::read_dir(&spool)
                    .unwrap()
                    .all(|it| it.unwrap().path().is_dir())
            );
        }
    }

    #[test]
    fn a_successor_takes_the_place_and_keeps_it() {
        let spool = tempfile::tempdir().unwrap();
        let before = Socket::open(spool.path(), echo()).unwrap();
        let _after = Socket::open(spool.path(), echo()).unwrap();
        drop(before);
        assert!(ask(spool.path(), &Request::List).unwrap().is_some());
    }

    #[test]
    fn what_is_no_request_or_too_long_is_closed() {
        let spool = tempfile::tempdir().unwrap();
        let _socket = Socket::open(spool.path(), echo()).unwrap();
        let long = vec![b' '; MAX_REQUEST as usize + 10];
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"{\"do\":\"format\"}\n",
            &long,
        ] {
            let mut stream = UnixStream::connect(path(spool.path())).unwrap();
            // It may be closed before all is written.
            let _ = stream.write_all(bytes);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty());
        }
        let ids = vec!["123456-789".to_owned(); 100_000];
        assert!(ask(spool.path(), &Request::Hold { ids }).is_err());
    }
}
