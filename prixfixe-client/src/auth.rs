//! AUTH (RFC 4954) with PLAIN, LOGIN and SCRAM-SHA-256.

mod scram;

use std::fmt;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use self::scram::{First, Last};
use crate::connection::Connection;
use crate::error::Unsendable;
use crate::expected::Command;
use crate::extensions::{Extension, Mechanisms};
use crate::mail::InvalidArgument;
use crate::reply::Reply;
use crate::state::Phase;

/// A user's name and password. Neither is shown, and the password is wiped from memory when it is
/// dropped.
#[derive(Clone)]
pub struct Credentials {
    username: Zeroizing<String>,
    password: Zeroizing<String>,
    mechanism: Option<Mechanism>,
}

/// A way to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// SCRAM-SHA-256 (RFC 7677): the password is not sent, and the server proves that it knows it.
    ScramSha256,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN, which has no RFC.
    Login,
}

/// The server's part of an authentication is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ServerFault {
    /// A challenge that is not base64, or does not follow the mechanism.
    #[error("a challenge that makes no sense")]
    Challenge,
    /// A nonce that does not begin with ours: the answer is to somebody else.
    #[error("a nonce that is not ours")]
    Nonce,
    /// Fewer iterations than RFC 7677 asks for, or so many that working them out would take too
    /// long.
    #[error("{0} iterations")]
    Iterations(u32),
    /// The signature is wrong or missing: the server does not know the password.
    #[error("no proof that the server knows the password")]
    Signature,
}

/// An authentication under way.
pub(crate) enum Exchange {
    /// What did not fit into the command is sent at the next challenge.
    Late(Zeroizing<Vec<u8>>, Box<Self>),
    LoginUsername(Credentials),
    LoginPassword(Credentials),
    Scram(First, Credentials),
    ScramProof(Last),
    /// Everything was said.
    Said,
}

impl Credentials {
    /// A user's name and password.
    ///
    /// # Errors
    ///
    /// When one of them has a NUL, which no mechanism can carry, or over 1024 bytes, or the name is
    /// empty.
    pub fn new(
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Result<Self, InvalidArgument> {
        let username = Zeroizing::new(username.into());
        let password = Zeroizing::new(password.into());
        if username.is_empty() || username.len() > MAX_LENGTH || password.len() > MAX_LENGTH {
            return Err(InvalidArgument::Length);
        }
        if username.contains('\0') || password.contains('\0') {
            return Err(InvalidArgument::Character);
        }
        Ok(Self {
            username,
            password,
            mechanism: None,
        })
    }

    /// With this mechanism and no other. By default the best that the server offers is used:
    /// SCRAM-SHA-256, PLAIN, LOGIN.
    #[must_use]
    pub fn only(mut self, mechanism: Mechanism) -> Self {
        self.mechanism = Some(mechanism);
        self
    }

    fn choose(&self, offered: Mechanisms) -> Option<Mechanism> {
        let all = [
            (offered.scram_sha_256, Mechanism::ScramSha256),
            (offered.plain, Mechanism::Plain),
            (offered.login, Mechanism::Login),
        ];
        all.into_iter()
            .find(|(offered, mechanism)| {
                *offered && self.mechanism.is_none_or(|only| only == *mechanism)
            })
            .map(|(_, mechanism)| mechanism)
    }

    fn plain(&self) -> Zeroizing<Vec<u8>> {
        // `message = [authzid] UTF8NUL authcid UTF8NUL passwd`
        let parts: [&[u8]; 4] = [
            b"\0",
            self.username.as_bytes(),
            b"\0",
            self.password.as_bytes(),
        ];
        Zeroizing::new(parts.concat())
    }
}

impl Connection {
    /// Authenticates, after [`Event::Ready`](crate::Event::Ready) and before the first transaction.
    /// The outcome is an event; where it is a refusal, the connection goes on.
    ///
    /// `nonce` is 18 fresh random bytes, as this crate has no source of them. SCRAM needs them;
    /// used twice, they would let an eavesdropper replay the server.
    ///
    /// # Errors
    ///
    /// At any other time; when the server offers no mechanism that can be used; and when the
    /// password would be readable on the way and
    /// [`Config::plaintext_passwords`](crate::Config::plaintext_passwords) is not set.
    pub fn authenticate(
        &mut self,
        now: Instant,
        credentials: &Credentials,
        nonce: [u8; 18],
    ) -> Result<(), Unsendable> {
        if !self.is_idle() {
            return Err(Unsendable::NotNow);
        }
        let mechanism = credentials
            .choose(self.extensions.auth)
            .ok_or(Unsendable::NotOffered(Extension::Auth))?;
        let is_safe = mechanism == Mechanism::ScramSha256 || self.is_secured;
        if !is_safe && !self.config.plaintext_passwords {
            return Err(Unsendable::Plaintext);
        }
        let (exchange, line) = Exchange::begin(mechanism, credentials, nonce);
        self.phase = Phase::Authenticating(Box::new(exchange));
        self.outbox.push_secret(&line);
        self.enqueue(now, Command::Auth);
        Ok(())
    }
}

impl Exchange {
    /// Also gives the command, with the initial response where it fits.
    fn begin(
        mechanism: Mechanism,
        credentials: &Credentials,
        nonce: [u8; 18],
    ) -> (Self, Zeroizing<Vec<u8>>) {
        let (command, initial, then) = match mechanism {
            Mechanism::ScramSha256 => {
                let first = First::new(&credentials.username, &BASE64.encode(nonce));
                let initial = Zeroizing::new(first.message().into_bytes());
                (
                    "AUTH SCRAM-SHA-256",
                    initial,
                    Self::Scram(first, credentials.clone()),
                )
            }
            Mechanism::Plain => ("AUTH PLAIN", credentials.plain(), Self::Said),
            Mechanism::Login => {
                let line = Zeroizing::new(b"AUTH LOGIN\r\n".to_vec());
                return (Self::LoginUsername(credentials.clone()), line);
            }
        };
        let response = encoded(&initial);
        // RFC 4954 section 4: otherwise it waits for an empty challenge.
        if command.len() + 1 + response.len() > MAX_COMMAND {
            let line = Zeroizing::new([command.as_bytes(), b"\r\n"].concat());
            return (Self::Late(response, Box::new(then)), line);
        }
        let line = Zeroizing::new([command.as_bytes(), b" ", &response].concat());
        (then, line)
    }

    /// The server's 334. Gives the line that answers it.
    pub(crate) fn respond(&mut self, reply: Reply<'_>) -> Result<Zeroizing<Vec<u8>>, ServerFault> {
        let text = reply.lines().next().unwrap_or_default();
        match std::mem::replace(self, Self::Said) {
            Self::Late(response, then) => {
                *self = *then;
                Ok(response)
            }
            Self::LoginUsername(credentials) => {
                let response = encoded(credentials.username.as_bytes());
                *self = Self::LoginPassword(credentials);
                Ok(response)
            }
            Self::LoginPassword(credentials) => Ok(encoded(credentials.password.as_bytes())),
            Self::Scram(first, credentials) => {
                let (message, last) = first.respond(&decoded(text)?, &credentials.password)?;
                *self = Self::ScramProof(last);
                Ok(encoded(message.as_bytes()))
            }
            Self::ScramProof(last) => {
                last.verify(&decoded(text)?)?;
                Ok(Zeroizing::new(b"\r\n".to_vec()))
            }
            Self::Said => Err(ServerFault::Challenge),
        }
    }

    /// The server's 235.
    pub(crate) fn finish(&self) -> Result<(), ServerFault> {
        match self {
            Self::Scram(..) | Self::ScramProof(_) => Err(ServerFault::Signature),
            Self::Late(_, then) => then.finish(),
            // It lets in whoever names a mechanism: no proof was asked for, so none is missing.
            Self::LoginUsername(_) | Self::LoginPassword(_) | Self::Said => Ok(()),
        }
    }
}

/// Nothing of it is shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

/// A line of base64. An empty one is an empty line; only an initial response would be a `=`.
fn encoded(message: &[u8]) -> Zeroizing<Vec<u8>> {
    // Room for all of it, or growing would leave a copy behind.
    let mut line = Zeroizing::new(vec![0; message.len().div_ceil(3) * 4 + 2]);
    let length = BASE64.encode_slice(message, &mut line).unwrap_or(0);
    line.truncate(length);
    line.extend_from_slice(b"\r\n");
    line
}

fn decoded(text: &[u8]) -> Result<Vec<u8>, ServerFault> {
    BASE64.decode(text).map_err(|_| ServerFault::Challenge)
}

/// RFC 5321 section 4.5.3.1.4: the longest command line, line end included.
const MAX_COMMAND: usize = 512;
/// So long a name and a password stay below the 12,288 bytes that RFC 4954 section 4 allows a
/// response.
const MAX_LENGTH: usize = 1024;
