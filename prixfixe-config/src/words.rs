//! Names, words and targets as people write them, like [`units`](super::units) for numbers.

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use ipnet::IpNet;
use prixfixe_auth::OidcOptions;
use prixfixe_delivery::{
    FleetUrl, InvalidPattern, ParseNatsUrlError, ParseTargetError, RecipientPattern, TargetUrl,
    WebhookUrl,
};
use prixfixe_policy::{InvalidMilterAddress, MilterAddress};
use prixfixe_server::{DomainPattern, Protocol};
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serializer};

use super::address::ListenAddress;
use super::delivery::Destination;
use super::given::Problem;
use super::sockets::{Mode, Trusted};
use super::spool::Place;
use super::units::Seconds;

/// Clients read it before they can have asked for SMTPUTF8, so that it is ASCII (RFC 6531 section
/// 3.7.1).
pub(crate) fn own_domain(text: &str) -> Result<String, Problem> {
    match domain(text) {
        Ok(domain) if !domain.is_ascii() => {
            Err(format!("`{text}` is not ASCII; give its form with xn--").into())
        }
        result => result,
    }
}

/// A name, in any script, or an address literal (RFC 5321 section 4.1.2).
pub(crate) fn domain(text: &str) -> Result<String, Problem> {
    let is_literal = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| {
            !inner.is_empty()
                && inner
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-'))
        });
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 255 && (is_literal || text.split('.').all(is_label)) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a domain name; give one like mx.example.com").into())
    }
}

/// A domain to accept mail for, or `*.` and the one that those are below. Kept as it was given, so
/// that people find it again.
pub(crate) fn accepted_domain(text: &str) -> Result<String, Problem> {
    match text.parse::<DomainPattern>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(match text.rsplit_once('@') {
            Some((_, domain)) if domain.parse::<DomainPattern>().is_ok() => {
                format!("`{text}` is an address; give its domain alone, {domain}")
            }
            _ => format!(
                "`{text}` is not a domain name; give one like example.com, or *.example.com for all below it"
            ),
        }
        .into()),
    }
}

/// A network in CIDR notation; an address alone is a network of one. In a list of those who are
/// believed nothing is guessed: `10.0.0.5/8` may be meant as either.
pub(crate) fn network(text: &str) -> Result<IpNet, Problem> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!("`{text}` is not a network; give one like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7")
    })?;
    if network != network.trunc() {
        let (address, network) = (network.addr(), network.trunc());
        return Err(format!(
            "`{text}` has bits set behind its prefix; give {network} or {address}"
        )
        .into());
    }
    Ok(network)
}

/// A network, or `unix` for whoever comes over a Unix socket.
pub(crate) fn trusted(text: &str) -> Result<Trusted, Problem> {
    match text {
        "unix" => Ok(Trusted::Unix),
        _ => network(text).map(Trusted::Network),
    }
}

/// The mode of a file, as `chmod` takes it.
pub(crate) fn mode(text: &str) -> Result<Mode, Problem> {
    let is_octal =
        (3..=4).contains(&text.len()) && text.bytes().all(|it| matches!(it, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => Ok(Mode(mode)),
        _ => Err(format!("`{text}` is not a mode; give one like 0660").into()),
    }
}

/// Whether there is such a group is seen where it is looked up.
pub(crate) fn group(text: &str) -> Result<String, Problem> {
    match text {
        "" => Err(Problem("names no group; give one of this host".to_owned())),
        _ => Ok(text.to_owned()),
    }
}

/// What is spoken on a listener.
pub(crate) fn protocol(text: &str) -> Result<Protocol, Problem> {
    match text {
        "smtp" => Ok(Protocol::Smtp),
        "lmtp" => Ok(Protocol::Lmtp),
        _ => Err(format!("`{text}` is not known; give one of smtp, lmtp").into()),
    }
}

/// A target, or the name of one that the file has.
pub(crate) fn destination(text: &str) -> Result<Destination, Problem> {
    match target_name(text) {
        Ok(name) => Ok(Destination::Named(name)),
        Err(_) => delivery_target(text).map(Destination::Url),
    }
}

pub(crate) fn delivery_target(text: &str) -> Result<TargetUrl, Problem> {
    text.parse().map_err(|error: ParseTargetError| {
        let is_path = text.starts_with(['/', '.', '~']);
        match is_path {
            true => format!("`{text}` has no kind of target before it; give maildir:{text}"),
            false => error.to_string(),
        }
        .into()
    })
}

/// Where recipients are asked about.
pub(crate) fn check_url(text: &str) -> Result<String, Problem> {
    match text.parse::<WebhookUrl>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Where a milter listens.
pub(crate) fn milter_socket(text: &str) -> Result<MilterAddress, Problem> {
    text.parse()
        .map_err(|error: InvalidMilterAddress| error.to_string().into())
}

/// A target's name: it is in metrics, in the log and in file names.
pub(crate) fn target_name(text: &str) -> Result<String, Problem> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no name for a target; give up to 64 letters, digits, - and _"
        )
        .into()),
    }
}

/// Recipients of a route.
pub(crate) fn recipients(text: &str) -> Result<RecipientPattern, Problem> {
    text.parse()
        .map_err(|error: InvalidPattern| error.to_string().into())
}

pub(crate) fn path(text: &str) -> Result<PathBuf, Problem> {
    match text {
        "" => Err(Problem("names no file; give its path".to_owned())),
        _ => Ok(PathBuf::from(text)),
    }
}

/// The directory of a spool.
pub(crate) fn spool_path(text: &str) -> Result<PathBuf, Problem> {
    match text.contains("://") {
        true => Err(format!(
            "`{text}` is no directory; give its path, /var/spool/prixfixe say, or set spool.url"
        )
        .into()),
        false => path(text),
    }
}

/// The servers of a fleet's spool.
pub(crate) fn spool_url(text: &str) -> Result<FleetUrl, Problem> {
    text.parse()
        .map_err(|error: ParseNatsUrlError| error.to_string().into())
}

/// The stream of a fleet's spool: a word of a subject.
pub(crate) fn stream(text: &str) -> Result<String, Problem> {
    let is_letter = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
    match (1..=100).contains(&text.len()) && text.bytes().all(is_letter) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("`{text}` is no name of a stream; use letters, digits, - and _").into())
        }
    }
}

/// Where a spool is, of either form.
pub(crate) fn spool_place(text: &str) -> Result<Place, Problem> {
    match text.contains("://") {
        true => spool_url(text).map(Place::Fleet),
        false => path(text).map(Place::Directory),
    }
}

/// An OpenID Connect provider.
pub(crate) fn issuer(text: &str) -> Result<String, Problem> {
    match OidcOptions::new(text, "") {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Whether there is such a user is seen where it is looked up.
pub(crate) fn user(text: &str) -> Result<String, Problem> {
    match text {
        "" => Err(Problem("names nobody; give a user of this host".to_owned())),
        _ => Ok(text.to_owned()),
    }
}

pub(crate) fn address(text: &str) -> Result<ListenAddress, Problem> {
    text.parse().map_err(Problem)
}

/// Where operators ask is a place for them alone, as a rule.
pub(crate) fn admin_address(text: &str) -> Result<ListenAddress, Problem> {
    match text.parse::<u16>() {
        Ok(port) => Err(format!("`{text}` has no address; give 127.0.0.1:{port}").into()),
        Err(_) if text.starts_with("unix:") => {
            Err(format!("`{text}` is no place for HTTP; give an address with a port").into())
        }
        Err(_) => address(text),
    }
}

/// `tls` of a listener: TLS before anything else.
pub(crate) fn implicit(text: &str) -> Result<bool, Problem> {
    match text {
        "implicit" => Ok(true),
        _ => Err(format!(
            "`{text}` is not known; write \"implicit\", or leave it out for STARTTLS"
        )
        .into()),
    }
}

/// One of a few words, in any case.
pub(crate) fn word<T: ValueEnum>(text: &str) -> Result<T, Problem> {
    T::from_str(text, true).map_err(|_| {
        let values = T::value_variants().iter();
        let names =
            values.filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned()));
        let names: Vec<String> = names.collect();
        format!("`{text}` is not known; give one of {}", names.join(", ")).into()
    })
}

/// [`word`] for flags: clap's own parser knows the words too, but says what is wrong in other ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Word<T>(PhantomData<T>);

impl<T: ValueEnum + Send + Sync + 'static> TypedValueParser for Word<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        StringValueParser::new()
            .try_map(|text| word(&text))
            .parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = T::value_variants().iter();
        Some(Box::new(values.filter_map(ValueEnum::to_possible_value)))
    }
}

/// Reads a TOML string by one of the parsers above.
struct Text<T> {
    expecting: &'static str,
    parse: fn(&str) -> Result<T, Problem>,
}

impl<'de, T> DeserializeSeed<'de> for Text<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

/// Reads a TOML array of strings.
struct List<T>(fn(&str) -> Result<T, Problem>);

const LIST: &str = "an array of strings";

impl<'de, T> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LIST)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Text {
            expecting: LIST,
            parse: self.0,
        })? {
            values.push(value);
        }
        Ok(values)
    }
}

/// Reads a TOML array of tables.
struct Tables<T>(PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for Tables<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(super::file::TABLES)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut tables = Vec::new();
        while let Some(table) = items.next_element()? {
            tables.push(table);
        }
        match tables.is_empty() {
            true => Err(A::Error::custom("is empty; add a table, or leave it out")),
            false => Ok(tables),
        }
    }
}

/// The parsers for serde.
pub(crate) mod read {
    use super::*;

    /// `T` is the parser's own type, or an [`Option`] of it.
    macro_rules! texts {
        ($($parser:ident: $type:ty,)*) => {$(
            pub(crate) fn $parser<'de, D: Deserializer<'de>, T: From<$type>>(
                deserializer: D,
            ) -> Result<T, D::Error> {
                let text = Text { expecting: "a string", parse: super::$parser };
                text.deserialize(deserializer).map(T::from)
            }
        )*};
    }

    texts! {
        own_domain: String,
        domain: String,
        user: String,
        path: PathBuf,
        spool_path: PathBuf,
        spool_url: FleetUrl,
        stream: String,
        issuer: String,
        delivery_target: TargetUrl,
        target_name: String,
        destination: Destination,
        check_url: String,
        milter_socket: MilterAddress,
        address: ListenAddress,
        admin_address: ListenAddress,
        implicit: bool,
        mode: Mode,
        group: String,
        protocol: Protocol,
    }

    pub(crate) fn word<'de, D: Deserializer<'de>, T: ValueEnum>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = Text {
            expecting: "a string",
            parse: super::word,
        };
        text.deserialize(deserializer)
    }

    pub(crate) fn some_word<'de, D: Deserializer<'de>, T: ValueEnum>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        word(deserializer).map(Some)
    }

    pub(crate) fn recipients<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<RecipientPattern>, D::Error> {
        deserializer.deserialize_seq(List(super::recipients))
    }

    pub(crate) fn accepted_domains<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_seq(List(accepted_domain))
    }

    pub(crate) fn trusted<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Trusted>, D::Error> {
        deserializer.deserialize_seq(List(super::trusted))
    }

    pub(crate) fn name_servers<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<SocketAddr>, D::Error> {
        deserializer.deserialize_seq(List(super::super::policy::name_server))
    }

    /// Times, the first of which there has to be.
    pub(crate) fn pauses<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
        deserializer: D,
    ) -> Result<Vec<Seconds<MIN, MAX>>, D::Error> {
        let pauses = Vec::<Seconds<MIN, MAX>>::deserialize(deserializer)?;
        match pauses.is_empty() {
            true => Err(D::Error::custom(
                "is empty; give a time at least, \"5m\" say",
            )),
            false => Ok(pauses),
        }
    }

    pub(crate) fn tables<'de, D: Deserializer<'de>, T: serde::Deserialize<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(Tables(PhantomData))
    }
}

pub(crate) fn display<S: Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(crate) fn display_some<S: Serializer>(
    value: &Option<impl fmt::Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn display_all<S: Serializer>(
    values: &[impl fmt::Display],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogFormat;

    #[test]
    fn words() {
        assert_eq!(word("JSON"), Ok(LogFormat::Json));
        let problem = "`xml` is not known; give one of text, json".to_owned();
        assert_eq!(word::<LogFormat>("xml"), Err(Problem(problem)));
    }

    #[test]
    fn what_was_meant_is_said() {
        let problem = |text: &str| delivery_target(text).unwrap_err().to_string();
        assert!(problem("/tmp/m").ends_with("give maildir:/tmp/m"));
        assert!(problem("./m").ends_with("give maildir:./m"));
        let problem = accepted_domain("user@example.com").unwrap_err().to_string();
        assert!(
            problem.ends_with("give its domain alone, example.com"),
            "{problem}"
        );
        let problem = admin_address("9125").unwrap_err().to_string();
        assert!(problem.ends_with("give 127.0.0.1:9125"), "{problem}");
    }
}
