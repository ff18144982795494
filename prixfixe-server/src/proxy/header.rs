//! Reading a header, however it was cut.
//!
//! [`ppp`] knows the two forms, but is given whole ones: of half a header of version 1 it says that
//! it is wrong where it is only short (a port that has not come yet), and of version 2 it wants all
//! of the extensions (TLVs), up to 64 KiB, in memory. So where a header ends is found here, what
//! can be skipped is skipped, and the rest is its.

use std::fmt::Display;
use std::net::SocketAddr;

use ppp::{PartialResult, v1, v2};
use prixfixe_network::canonical;

/// Version 1 is a line of at most this many octets, its CR LF included (section 2.1).
const MAX_LINE: usize = 107;
/// Signature, version and command, family and protocol, length (section 2.2).
const FIXED: usize = 16;
/// The largest addresses are those of UNIX sockets: two paths of 108 octets.
const MAX_ADDRESSES: usize = 216;
/// Extensions beyond this are no header any more. Balancers send a few hundred octets.
const MAX_EXTENSIONS: usize = 4096;

const LINE_SIGNATURE: &[u8] = b"PROXY ";

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A client of the balancer's.
    Client {
        /// The client's address.
        peer: SocketAddr,
        /// The address that the client connected to.
        local: SocketAddr,
    },
    /// The balancer's own, to see whether the server is there: `LOCAL`, `UNKNOWN`, or of a family
    /// without addresses.
    Balancer,
}

/// Why there is no header.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// What came is something else.
    #[error("no PROXY header")]
    Missing,
    /// It has no end within the bounds.
    #[error("the PROXY header is too long")]
    TooLong,
    /// A line that is not as version 1 wants it, and why.
    #[error("bad PROXY header of version 1: {0}")]
    Line(Box<str>),
    /// The parser would speak of whatever stands last, which is right but for this.
    #[error("bad PROXY header of version 1: it must end in CRLF, not in LF alone")]
    LineEnd,
    /// A line with something in it that the parser lets through.
    #[error("bad PROXY header of version 1")]
    Form,
    /// A header that is not as version 2 wants it, and why.
    #[error("bad PROXY header of version 2: {0}")]
    Binary(Box<str>),
    /// The client did not come by TCP.
    #[error("the PROXY header is of a connection that is not TCP")]
    Protocol,
}

/// A header as it arrives. What is kept of it is at most 232 octets, which only UNIX sockets need.
#[derive(Debug, Default)]
pub struct HeaderReader {
    kept: Vec<u8>,
    /// Octets still to come that nobody looks at.
    skip: usize,
}

impl HeaderReader {
    /// Nothing has come yet.
    pub const fn new() -> Self {
        Self {
            kept: Vec::new(),
            skip: 0,
        }
    }

    /// True while nothing has come.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Octets that are held of the header so far.
    pub fn held(&self) -> usize {
        self.kept.len()
    }

    /// Takes the header from the front of `input`, as far as it is there. `None`: more has to come.
    /// What stands behind it is left. Not to be called again after it has given anything else.
    ///
    /// # Errors
    ///
    /// [`HeaderError`], with the first octet that cannot be right.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Source>, HeaderError> {
        let first = self.kept.first().or(input.first());
        match first.copied() {
            None => Ok(None),
            Some(b'P') => self.read_line(input),
            Some(_) => self.read_binary(input),
        }
    }

    fn read_line(&mut self, input: &mut &[u8]) -> Result<Option<Source>, HeaderError> {
        self.take_signature(input, LINE_SIGNATURE)?;
        let room = input.len().min(MAX_LINE - self.kept.len());
        let candidate = input.get(..room).unwrap_or_default();
        let end = candidate.iter().position(|byte| *byte == b'\n');
        self.take(input, end.map_or(room, |end| end + 1));
        match end {
            Some(_) => line_source(&self.kept).map(Some),
            None if self.kept.len() >= MAX_LINE => Err(HeaderError::TooLong),
            None => Ok(None),
        }
    }

    fn read_binary(&mut self, input: &mut &[u8]) -> Result<Option<Source>, HeaderError> {
        self.take_signature(input, v2::PROTOCOL_PREFIX)?;
        self.take_up_to(input, FIXED);
        let Some(fixed) = self.kept.first_chunk::<FIXED>() else {
            return Ok(None);
        };
        let [.., high, low] = *fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let kept_length = length.min(MAX_ADDRESSES);
        if self.kept.len() == FIXED && self.skip == 0 {
            check_fixed(fixed)?;
            if length > MAX_ADDRESSES + MAX_EXTENSIONS {
                return Err(HeaderError::TooLong);
            }
            self.skip = length - kept_length;
        }
        self.take_up_to(input, FIXED + kept_length);
        if self.kept.len() < FIXED + kept_length {
            return Ok(None);
        }
        let skipped = self.skip.min(input.len());
        *input = input.get(skipped..).unwrap_or_default();
        self.skip -= skipped;
        if self.skip > 0 {
            return Ok(None);
        }
        binary_source(&mut self.kept).map(Some)
    }

    /// A wrong octet is told from a right one when it comes, not when the signature is complete.
    fn take_signature(&mut self, input: &mut &[u8], signature: &[u8]) -> Result<(), HeaderError> {
        self.take_up_to(input, signature.len());
        let come = self.kept.len().min(signature.len());
        match self.kept.get(..come) == signature.get(..come) {
            true => Ok(()),
            false => Err(HeaderError::Missing),
        }
    }

    /// Takes until `length` octets are kept.
    fn take_up_to(&mut self, input: &mut &[u8], length: usize) {
        let missing = length.saturating_sub(self.kept.len());
        self.take(input, missing.min(input.len()));
    }

    fn take(&mut self, input: &mut &[u8], count: usize) {
        if let Some((taken, rest)) = input.split_at_checked(count) {
            self.kept.extend_from_slice(taken);
            *input = rest;
        }
    }
}

/// What the parser says, without its types: those are no part of what is promised here.
fn text(error: impl Display) -> Box<str> {
    error.to_string().into()
}

fn line_source(line: &[u8]) -> Result<Source, HeaderError> {
    if !line.ends_with(b"\r\n") {
        return Err(HeaderError::LineEnd);
    }
    // Section 2.1: whatever stands behind UNKNOWN is ignored.
    let unknown = line.strip_prefix(b"PROXY UNKNOWN");
    if unknown.is_some_and(|rest| rest == b"\r\n" || rest.starts_with(b" ")) {
        return Ok(Source::Balancer);
    }
    // A number with a sign is one to the parser.
    if line.contains(&b'+') {
        return Err(HeaderError::Form);
    }
    let header = v1::Header::try_from(line).map_err(|it| HeaderError::Line(text(it)))?;
    Ok(match header.addresses {
        v1::Addresses::Unknown => Source::Balancer,
        v1::Addresses::Tcp4(ip) => client(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
        v1::Addresses::Tcp6(ip) => client(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
    })
}

/// What is wrong with the first octets is known before the rest is there.
fn check_fixed(fixed: &[u8; FIXED]) -> Result<(), HeaderError> {
    let mut fixed = *fixed;
    ignore_family_of_local(&mut fixed);
    match v2::Header::try_from(fixed.as_slice()) {
        Err(error) if !error.is_incomplete() => Err(HeaderError::Binary(text(error))),
        _ => Ok(()),
    }
}

/// `header` is what was kept, of which not all of its length was.
fn binary_source(header: &mut [u8]) -> Result<Source, HeaderError> {
    let kept_length = u16::try_from(header.len() - FIXED).unwrap_or(u16::MAX);
    if let Some(fixed) = header.first_chunk_mut::<FIXED>() {
        ignore_family_of_local(fixed);
        let [.., high, low] = fixed;
        [*high, *low] = kept_length.to_be_bytes();
    }
    let header = v2::Header::try_from(&*header).map_err(|it| HeaderError::Binary(text(it)))?;
    if header.command == v2::Command::Local {
        return Ok(Source::Balancer);
    }
    let source = match header.addresses {
        v2::Addresses::Unspecified => return Ok(Source::Balancer),
        v2::Addresses::Unix(_) => Source::Balancer,
        v2::Addresses::IPv4(ip) => client(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
        v2::Addresses::IPv6(ip) => client(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
    };
    match header.protocol {
        v2::Protocol::Stream => Ok(source),
        v2::Protocol::Datagram | v2::Protocol::Unspecified => Err(HeaderError::Protocol),
    }
}

/// Section 2.2: LOCAL is to be accepted whatever its family says, and whether or not there are
/// addresses for it.
fn ignore_family_of_local(fixed: &mut [u8; FIXED]) {
    let [.., command, family, _, _] = fixed;
    if *command & 0x0F == 0 {
        *family = 0;
    }
}

fn client(peer: impl Into<SocketAddr>, local: impl Into<SocketAddr>) -> Source {
    Source::Client {
        peer: canonical(peer.into()),
        local: canonical(local.into()),
    }
}

#[cfg(test)]
// Spelt out for the fuzz target, which takes this file from elsewhere.
#[path = "header/tests.rs"]
mod tests;
