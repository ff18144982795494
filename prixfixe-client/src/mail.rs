//! Senders and recipients with their parameters, checked once and written as often as they are
//! sent.

mod parameter;
mod path;

use std::borrow::Cow;

pub use self::parameter::{BodyType, Notify, Ret};

use self::parameter::write_xtext;
use crate::extensions::{Extension, Extensions};

/// MAIL and its parameters.
///
/// A parameter whose extension the server does not offer is left out where the message is the same
/// without it (SIZE, 8BITMIME, DSN), and is an error where it is not (BINARYMIME, SMTPUTF8,
/// REQUIRETLS).
///
/// ```
/// use prixfixe_client::{BodyType, Mail};
///
/// let mail = Mail::new("alice@example.com")?.size(1024).body(BodyType::EightBitMime);
/// # Ok::<(), prixfixe_client::InvalidArgument>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail<'a> {
    reverse_path: Cow<'a, str>,
    size: Option<u64>,
    body: BodyType,
    smtp_utf8: bool,
    require_tls: bool,
    ret: Option<Ret>,
    envid: Option<Cow<'a, str>>,
}

/// RCPT and its parameters.
///
/// ```
/// use prixfixe_client::{Notify, Rcpt};
///
/// let rcpt = Rcpt::new("bob@example.net")?.notify(Notify::FAILURE.and(Notify::DELAY));
/// # Ok::<(), prixfixe_client::InvalidArgument>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt<'a> {
    forward_path: Cow<'a, str>,
    notify: Option<Notify>,
    original: Option<(Cow<'a, str>, Cow<'a, str>)>,
}

/// An argument that cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidArgument {
    /// It has a character that would end the argument or the command.
    #[error("a character that cannot stand in an argument")]
    Character,
    /// It is empty where something is needed, or too long.
    #[error("empty or too long")]
    Length,
}

impl<'a> Mail<'a> {
    /// From a reverse-path without angle brackets. The empty one is that of notifications.
    ///
    /// # Errors
    ///
    /// When it cannot be sent: RFC 5321 section 4.5.3.1.3 allows 256 bytes with the brackets, and
    /// no character may end the path early.
    pub fn new(reverse_path: impl Into<Cow<'a, str>>) -> Result<Self, InvalidArgument> {
        let reverse_path = reverse_path.into();
        path::check(&reverse_path)?;
        Ok(Self {
            reverse_path,
            size: None,
            body: BodyType::SevenBit,
            smtp_utf8: false,
            require_tls: false,
            ret: None,
            envid: None,
        })
    }

    /// SIZE: the bytes of the content, transparency dots not counted (RFC 1870).
    #[must_use]
    pub fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// BODY (RFC 6152, RFC 3030).
    ///
    /// Whether content with 8-bit bytes may go to a server without 8BITMIME is for the caller to
    /// decide; [`Extensions::eight_bit_mime`] says what is offered.
    #[must_use]
    pub fn body(mut self, body: BodyType) -> Self {
        self.body = body;
        self
    }

    /// SMTPUTF8 (RFC 6531): the content's header has UTF-8. An address that is not ASCII asks for
    /// it by itself.
    #[must_use]
    pub fn smtp_utf8(mut self) -> Self {
        self.smtp_utf8 = true;
        self
    }

    /// REQUIRETLS (RFC 8689).
    #[must_use]
    pub fn require_tls(mut self) -> Self {
        self.require_tls = true;
        self
    }

    /// RET: what a notification returns (RFC 3461 section 4.3).
    #[must_use]
    pub fn ret(mut self, ret: Ret) -> Self {
        self.ret = Some(ret);
        self
    }

    /// ENVID: an identifier that notifications repeat (RFC 3461 section 4.4), as it is before its
    /// encoding as xtext.
    ///
    /// # Errors
    ///
    /// When it is empty, is not printable ASCII, or has over 100 bytes.
    pub fn envid(mut self, envid: impl Into<Cow<'a, str>>) -> Result<Self, InvalidArgument> {
        let envid = envid.into();
        parameter::check(&envid, parameter::MAX_ENVID)?;
        self.envid = Some(envid);
        Ok(self)
    }

    /// The reverse-path.
    #[must_use]
    pub fn reverse_path(&self) -> &str {
        &self.reverse_path
    }

    /// What the server has to offer for it to be sent, and does not.
    pub(crate) fn missing(&self, extensions: &Extensions, is_secured: bool) -> Option<Extension> {
        if self.needs_smtp_utf8() && !extensions.smtp_utf8 {
            return Some(Extension::SmtpUtf8);
        }
        if self.body == BodyType::BinaryMime && !extensions.binary_mime {
            return Some(Extension::BinaryMime);
        }
        // RFC 8689 section 2: only over TLS, and only where it is offered.
        let requires_tls = self.require_tls && !(extensions.require_tls && is_secured);
        requires_tls.then_some(Extension::RequireTls)
    }

    pub(crate) fn needs_smtp_utf8(&self) -> bool {
        self.smtp_utf8 || !self.reverse_path.is_ascii()
    }

    pub(crate) fn needs_chunking(&self) -> bool {
        self.body == BodyType::BinaryMime
    }

    pub(crate) fn encode(&self, extensions: &Extensions, output: &mut Vec<u8>) {
        output.extend_from_slice(b"MAIL FROM:<");
        output.extend_from_slice(self.reverse_path.as_bytes());
        output.push(b'>');
        match self.body {
            BodyType::EightBitMime if extensions.eight_bit_mime => {
                output.extend_from_slice(b" BODY=8BITMIME");
            }
            BodyType::BinaryMime => output.extend_from_slice(b" BODY=BINARYMIME"),
            BodyType::SevenBit | BodyType::EightBitMime => {}
        }
        if let Some(size) = self.size.filter(|_| extensions.size) {
            output.extend_from_slice(b" SIZE=");
            output.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
        }
        if self.needs_smtp_utf8() {
            output.extend_from_slice(b" SMTPUTF8");
        }
        if self.require_tls {
            output.extend_from_slice(b" REQUIRETLS");
        }
        if extensions.dsn {
            if let Some(ret) = self.ret {
                output.extend_from_slice(ret.parameter());
            }
            if let Some(envid) = &self.envid {
                output.extend_from_slice(b" ENVID=");
                write_xtext(envid, output);
            }
        }
        output.extend_from_slice(b"\r\n");
    }
}

impl<'a> Rcpt<'a> {
    /// To a forward-path without angle brackets.
    ///
    /// # Errors
    ///
    /// As [`Mail::new`], and when it is empty.
    pub fn new(forward_path: impl Into<Cow<'a, str>>) -> Result<Self, InvalidArgument> {
        let forward_path = forward_path.into();
        if forward_path.is_empty() {
            return Err(InvalidArgument::Length);
        }
        path::check(&forward_path)?;
        Ok(Self {
            forward_path,
            notify: None,
            original: None,
        })
    }

    /// NOTIFY: when a notification is wanted (RFC 3461 section 4.1).
    #[must_use]
    pub fn notify(mut self, notify: Notify) -> Self {
        self.notify = Some(notify);
        self
    }

    /// ORCPT: the address that the message was sent to first, with its type, such as `rfc822` (RFC
    /// 3461 section 4.2), as it is before its encoding as xtext.
    ///
    /// # Errors
    ///
    /// When one of them is empty or is not printable ASCII, the type is no atom, or both have over
    /// 500 bytes.
    pub fn original_recipient(
        mut self,
        address_type: impl Into<Cow<'a, str>>,
        address: impl Into<Cow<'a, str>>,
    ) -> Result<Self, InvalidArgument> {
        let (address_type, address) = (address_type.into(), address.into());
        parameter::check(&address, parameter::MAX_ORCPT)?;
        parameter::check(&address_type, parameter::MAX_ORCPT - address.len())?;
        let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !address_type.bytes().all(is_atom) {
            return Err(InvalidArgument::Character);
        }
        self.original = Some((address_type, address));
        Ok(self)
    }

    /// The forward-path.
    #[must_use]
    pub fn forward_path(&self) -> &str {
        &self.forward_path
    }

    pub(crate) fn encode(&self, extensions: &Extensions, output: &mut Vec<u8>) {
        output.extend_from_slice(b"RCPT TO:<");
        output.extend_from_slice(self.forward_path.as_bytes());
        output.push(b'>');
        if extensions.dsn {
            if let Some(notify) = self.notify {
                notify.encode(output);
            }
            if let Some((address_type, address)) = &self.original {
                output.extend_from_slice(b" ORCPT=");
                output.extend_from_slice(address_type.as_bytes());
                output.push(b';');
                write_xtext(address, output);
            }
        }
        output.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Extensions {
        Extensions {
            size: true,
            eight_bit_mime: true,
            smtp_utf8: true,
            binary_mime: true,
            dsn: true,
            require_tls: true,
            ..Extensions::default()
        }
    }

    fn mail(mail: &Mail<'_>, extensions: &Extensions) -> String {
        let mut output = Vec::new();
        mail.encode(extensions, &mut output);
        String::from_utf8(output).unwrap()
    }

    fn rcpt(rcpt: &Rcpt<'_>, extensions: &Extensions) -> String {
        let mut output = Vec::new();
        rcpt.encode(extensions, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn parameters_stand_where_their_extensions_are_offered() {
        let full = Mail::new("a@example.com")
            .unwrap()
            .size(5)
            .body(BodyType::EightBitMime)
            .smtp_utf8()
            .require_tls()
            .ret(Ret::Headers)
            .envid("a+b=c d")
            .unwrap();
        assert_eq!(
            mail(&full, &all()),
            "MAIL FROM:<a@example.com> BODY=8BITMIME SIZE=5 SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+2Bb+3Dc+20d\r\n"
        );
        let plain = Mail::new("")
            .unwrap()
            .size(5)
            .body(BodyType::EightBitMime)
            .ret(Ret::Full);
        assert_eq!(mail(&plain, &Extensions::default()), "MAIL FROM:<>\r\n");
        assert_eq!(plain.missing(&Extensions::default(), false), None);
        let full = Rcpt::new("b@example.net")
            .unwrap()
            .notify(Notify::SUCCESS.and(Notify::FAILURE).and(Notify::DELAY))
            .original_recipient("rfc822", "B+b@example.net")
            .unwrap();
        assert_eq!(
            rcpt(&full, &all()),
            "RCPT TO:<b@example.net> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;B+2Bb@example.net\r\n"
        );
        assert_eq!(
            rcpt(&full, &Extensions::default()),
            "RCPT TO:<b@example.net>\r\n"
        );
        let never = Rcpt::new("b@x").unwrap().notify(Notify::NEVER);
        assert_eq!(rcpt(&never, &all()), "RCPT TO:<b@x> NOTIFY=NEVER\r\n");
    }

    #[test]
    fn what_cannot_go_without_an_extension_says_which() {
        let none = Extensions::default();
        let binary = Mail::new("a@x").unwrap().body(BodyType::BinaryMime);
        assert_eq!(binary.missing(&none, true), Some(Extension::BinaryMime));
        assert_eq!(binary.missing(&all(), false), None);
        let utf8 = Mail::new("j\u{f6}rg@x").unwrap();
        assert_eq!(utf8.missing(&none, true), Some(Extension::SmtpUtf8));
        let tls = Mail::new("a@x").unwrap().require_tls();
        assert_eq!(tls.missing(&all(), false), Some(Extension::RequireTls));
        assert_eq!(tls.missing(&all(), true), None);
    }

    #[test]
    fn arguments_cannot_carry_a_command() {
        assert!(Rcpt::new("").is_err());
        for bad in [
            "a@x>\r\nRCPT TO:<b@y",
            "a@x\r",
            "a@x\n",
            "a@x\0",
            "a@x> SIZE=1",
            "a b@x",
            "<a@x",
        ] {
            assert_eq!(Mail::new(bad), Err(InvalidArgument::Character), "{bad:?}");
            assert_eq!(Rcpt::new(bad), Err(InvalidArgument::Character), "{bad:?}");
        }
        for bad in ["", "a\r\nb", "\u{e9}"] {
            assert!(Mail::new("").unwrap().envid(bad).is_err(), "{bad:?}");
            assert!(
                Rcpt::new("a@x")
                    .unwrap()
                    .original_recipient("rfc822", bad)
                    .is_err()
            );
            assert!(
                Rcpt::new("a@x")
                    .unwrap()
                    .original_recipient(bad, "a@x")
                    .is_err()
            );
        }
        assert!(
            Rcpt::new("a@x")
                .unwrap()
                .original_recipient("a;b", "c")
                .is_err()
        );
        assert!(Mail::new("").unwrap().envid("x".repeat(101)).is_err());
    }
}
