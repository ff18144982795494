//! XCLIENT: a proxy in front of the server says whose session this is.
//!
//! The protocol is Postfix's (its XCLIENT_README), which nginx's mail proxy and Dovecot's
//! submission speak.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What XCLIENT said of the client, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Xclient {
    /// `NAME=`: the host's name, as the proxy found it in the DNS.
    pub name: Attribute<Box<str>>,
    /// `ADDR=`: where the client is.
    pub address: Attribute<IpAddr>,
    /// `PORT=`: of the client's.
    pub port: Attribute<u16>,
    /// `PROTO=`: true for ESMTP, false for SMTP.
    pub extended: Option<bool>,
    /// `HELO=`: what the client called itself.
    pub helo: Attribute<Box<str>>,
    /// `LOGIN=`: whom the client has proved to be, to the proxy.
    pub login: Attribute<Box<str>>,
    /// `DESTADDR=`: the address that the client connected to.
    pub destination: Attribute<IpAddr>,
    /// `DESTPORT=`: its port.
    pub destination_port: Attribute<u16>,
}

/// A value of XCLIENT's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Attribute<T> {
    /// Nothing was said: it is as before.
    #[default]
    Unsaid,
    /// `[UNAVAILABLE]`: there is none.
    Unavailable,
    /// `[TEMPUNAVAIL]`: it could not be found out.
    Unknown,
    /// This one.
    Is(T),
}

impl<T> Attribute<T> {
    /// The value, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Unsaid | Self::Unavailable | Self::Unknown => None,
        }
    }

    /// Nothing was said of it.
    #[must_use]
    pub fn is_unsaid(&self) -> bool {
        matches!(self, Self::Unsaid)
    }
}

/// The longest name, in octets: as that of EHLO.
const MAX_TEXT: usize = 255;

/// ```abnf
/// xclient-command = "XCLIENT" 1*( SP attribute-name "=" attribute-value )
/// attribute-value = xtext / "[UNAVAILABLE]" / "[TEMPUNAVAIL]"
/// ```
///
/// `None`: an attribute is none of these, is there twice, or has a value that is none for it.
pub(crate) fn parse(argument: &str) -> Option<Xclient> {
    let mut told = Xclient::default();
    let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
    let mut take = |word: &str| {
        let (name, value) = word.split_once('=')?;
        match name.to_ascii_uppercase().as_str() {
            "NAME" => set(&mut told.name, value, text),
            "ADDR" => set(&mut told.address, value, address),
            "PORT" => set(&mut told.port, value, port),
            "HELO" => set(&mut told.helo, value, text),
            "LOGIN" => set(&mut told.login, value, text),
            "DESTADDR" => set(&mut told.destination, value, address),
            "DESTPORT" => set(&mut told.destination_port, value, port),
            "PROTO" if told.extended.is_none() => {
                told.extended = Some(is_extended(value)?);
                Some(())
            }
            _ => None,
        }
    };
    take(words.next()?)?;
    words.try_for_each(take)?;
    Some(told)
}

fn is_extended(protocol: &str) -> Option<bool> {
    match protocol {
        _ if protocol.eq_ignore_ascii_case("ESMTP") => Some(true),
        _ if protocol.eq_ignore_ascii_case("SMTP") => Some(false),
        _ => None,
    }
}

fn set<T>(
    place: &mut Attribute<T>,
    value: &str,
    parse: impl FnOnce(String) -> Option<T>,
) -> Option<()> {
    if !place.is_unsaid() {
        return None;
    }
    *place = match value {
        _ if value.eq_ignore_ascii_case("[UNAVAILABLE]") => Attribute::Unavailable,
        _ if value.eq_ignore_ascii_case("[TEMPUNAVAIL]") => Attribute::Unknown,
        _ => Attribute::Is(parse(decoded(value)?)?),
    };
    Some(())
}

/// Without its xtext (RFC 3461 section 4), whose digits Postfix takes in either case.
fn decoded(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        let digit = |octet: Option<u8>| char::from(octet?).to_digit(16);
        octets.push(match octet {
            b'+' => {
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

fn port(text: String) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn text(text: String) -> Option<Box<str>> {
    let is_text = (1..=MAX_TEXT).contains(&text.len()) && !text.contains(char::is_control);
    is_text.then(|| text.into())
}

/// IPv6 addresses have `IPV6:` before them, as in address literals. One that stands for an IPv4
/// address is that.
fn address(text: String) -> Option<IpAddr> {
    match text.split_at_checked(5) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("IPV6:") => {
            Some(IpAddr::from(rest.parse::<Ipv6Addr>().ok()?).to_canonical())
        }
        _ => Some(text.parse::<Ipv4Addr>().ok()?.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_attributes_and_their_forms() {
        let told = parse(
            "NAME=spike.porcupine.org addr=168.100.189.2 PORT=1024 proto=esmtp\tHELO=a+2Bb+20c \
             LOGIN=ann+40example.com DESTADDR=IPV6:2001:db8::1 DESTPORT=25",
        )
        .unwrap();
        assert_eq!(
            told,
            Xclient {
                name: Attribute::Is("spike.porcupine.org".into()),
                address: Attribute::Is([168, 100, 189, 2].into()),
                port: Attribute::Is(1024),
                extended: Some(true),
                helo: Attribute::Is("a+b c".into()),
                login: Attribute::Is("ann@example.com".into()),
                destination: Attribute::Is("2001:db8::1".parse().unwrap()),
                destination_port: Attribute::Is(25),
            }
        );
        let told = parse("NAME=[TEMPUNAVAIL] ADDR=[unavailable] PROTO=SMTP").unwrap();
        assert_eq!(
            (told.name, told.extended),
            (Attribute::Unknown, Some(false))
        );
        assert_eq!((told.address.value(), told.port.is_unsaid()), (None, true));
        let told = parse("ADDR=ipv6:::ffff:192.0.2.7").unwrap();
        assert_eq!(told.address, Attribute::Is([192, 0, 2, 7].into()));
    }

    #[test]
    fn what_is_none() {
        let long = format!("NAME={}", "x".repeat(MAX_TEXT + 1));
        for argument in [
            "",
            "NAME",
            "NAME=",
            "=x",
            "COLOUR=red",
            "ADDR=2001:db8::1",
            "ADDR=IPV6:192.0.2.1",
            "ADDR=192.0.2",
            "ADDR=192.0.2.1 ADDR=192.0.2.1",
            "ADDR=[UNAVAILABLE] ADDR=192.0.2.1",
            "PORT=65536",
            "PORT=-1",
            "PROTO=LMTP",
            "PROTO=[UNAVAILABLE]",
            "PROTO=SMTP PROTO=SMTP",
            "HELO=a+2",
            "HELO=a+0D+0A",
            "LOGIN=+FF",
            "NAME = x",
            &long,
        ] {
            assert_eq!(parse(argument), None, "{argument:?}");
        }
    }
}
