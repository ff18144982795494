//! Precedence: flag, then environment variable, then file, then default.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use prixfixe_delivery::ParseTargetError;

use super::arguments::ConfigurationArguments;
use super::file::File;
use super::given::{Given, Invalid, Origin};
use super::options::{self, Kind, Opt};
use super::{
    Accept, ClientAuth, Configuration, Delivery, DeliveryTarget, Limits, ListenAddress, Listener,
    Log, LogFormat, LogLevel, Tls, TlsVersion, Transport, units,
};

const DEFAULT_PORT: u16 = 2525;

type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads the file that the arguments name, and puts everything together.
pub(crate) fn resolve(
    arguments: &ConfigurationArguments,
    environment: Environment<'_>,
) -> Result<Configuration, Invalid> {
    let file = match &arguments.config {
        Some(path) => File::read(path)?,
        None => File::default(),
    };
    Sources {
        arguments,
        environment,
        file,
    }
    .resolve()
}

struct Sources<'a> {
    arguments: &'a ConfigurationArguments,
    environment: Environment<'a>,
    file: File,
}

impl Sources<'_> {
    fn resolve(&self) -> Result<Configuration, Invalid> {
        Ok(Configuration {
            domain: self
                .one(&options::DOMAIN, own_domain)?
                .unwrap_or_else(|| "localhost".to_owned()),
            transport: self
                .one(&options::TRANSPORT, transport)?
                .unwrap_or(Transport::Auto),
            threads: self.one(&options::THREADS, threads)?.unwrap_or_else(cores),
            limits: self.limits()?,
            tls: self.tls()?,
            accept: Accept {
                domains: self
                    .list(&options::ACCEPT_DOMAINS, domain)?
                    .unwrap_or_default(),
            },
            delivery: Delivery {
                target: self
                    .one(&options::DELIVER, delivery_target)?
                    .unwrap_or_else(|| DeliveryTarget::Maildir("./mail".into())),
                fsync: !self
                    .one(&options::NO_FSYNC, units::switch)?
                    .unwrap_or(false),
            },
            log: Log {
                format: self
                    .one(&options::LOG_FORMAT, log_format)?
                    .unwrap_or(LogFormat::Text),
                level: self
                    .one(&options::LOG_LEVEL, log_level)?
                    .unwrap_or(LogLevel::Info),
            },
            listeners: self.listeners()?,
        })
    }

    fn limits(&self) -> Result<Limits, Invalid> {
        let size = |text: &str| units::size(text, 1..=1 << 40);
        let rate = |text: &str| {
            units::size(text, 0..=1 << 30)
                .and_then(|rate| u32::try_from(rate).map_err(|error| error.to_string()))
        };
        Ok(Limits {
            max_connections: self
                .one(&options::MAX_CONNECTIONS, |text| {
                    units::count(text, 1..=1_000_000)
                })?
                .unwrap_or(100),
            max_message_size: self
                .one(&options::MAX_MESSAGE_SIZE, size)?
                .unwrap_or(10_485_760),
            max_recipients: self
                .one(&options::MAX_RECIPIENTS, |text| {
                    units::count(text, 1..=100_000)
                })?
                .unwrap_or(1000),
            max_errors: self
                .one(&options::MAX_ERRORS, |text| {
                    units::count(text, 1..=1_000_000)
                })?
                .unwrap_or(10),
            command_timeout: self
                .one(&options::COMMAND_TIMEOUT, |text| units::time(text, 1))?
                .unwrap_or(Duration::from_secs(300)),
            min_data_rate: self.one(&options::MIN_DATA_RATE, rate)?.unwrap_or(500),
            drain_timeout: self
                .one(&options::DRAIN_TIMEOUT, |text| units::time(text, 0))?
                .unwrap_or(Duration::from_secs(30)),
        })
    }

    /// Flags and variables replace the file's listeners of their kind, in clear or with TLS first.
    fn listeners(&self) -> Result<Vec<Listener>, Invalid> {
        let mut found = self.listeners_of_kind(&options::LISTEN, false)?;
        if found.is_empty() && self.file.listeners.is_none() {
            let port = self.one(&options::PORT, |text| units::count(text, 0..=u16::MAX))?;
            let address = ListenAddress::localhost(port.unwrap_or(DEFAULT_PORT));
            found.push((
                Origin::Flag("listen"),
                Listener {
                    address,
                    implicit_tls: false,
                },
            ));
        }
        found.extend(self.listeners_of_kind(&options::LISTEN_TLS, true)?);
        let mut listeners: Vec<Listener> = Vec::with_capacity(found.len());
        for (origin, listener) in found {
            let is_same = |other: &Listener| other.address == listener.address;
            if !listener.address.is_any_port() && listeners.iter().any(is_same) {
                return Err(
                    origin.invalid(format!("`{}` is there twice; remove one", listener.address))
                );
            }
            listeners.push(listener);
        }
        Ok(listeners)
    }

    fn listeners_of_kind(
        &self,
        option: &'static Opt,
        implicit_tls: bool,
    ) -> Result<Vec<(Origin, Listener)>, Invalid> {
        let tables = || {
            let tables = self.file.listeners.iter().flatten();
            tables
                .filter(|table| table.implicit_tls == implicit_tls)
                .map(|table| table.address.clone())
                .collect()
        };
        let given = self.flag_or_variable(option)?.unwrap_or_else(tables);
        let listener = |given: &Given| {
            let address = given.parse(|text| text.parse())?;
            Ok((
                given.origin.clone(),
                Listener {
                    address,
                    implicit_tls,
                },
            ))
        };
        given.iter().map(listener).collect()
    }

    fn tls(&self) -> Result<Tls, Invalid> {
        let path = |text: &str| match text {
            "" => Err("names no file; give its path".to_owned()),
            _ => Ok(PathBuf::from(text)),
        };
        let tls = Tls {
            cert: self.one(&options::TLS_CERT, path)?,
            key: self.one(&options::TLS_KEY, path)?,
            key_password_file: self.one(&options::TLS_KEY_PASSWORD_FILE, path)?,
            self_signed: self
                .one(&options::TLS_SELF_SIGNED, units::switch)?
                .unwrap_or(false),
            min_version: self
                .one(&options::TLS_MIN_VERSION, tls_version)?
                .unwrap_or(TlsVersion::Tls12),
            required: self
                .one(&options::TLS_REQUIRED, units::switch)?
                .unwrap_or(false),
            client_ca: self.one(&options::TLS_CLIENT_CA, path)?,
            client_auth: self
                .one(&options::TLS_CLIENT_AUTH, client_auth)?
                .unwrap_or(ClientAuth::Off),
        };
        self.check_tls(&tls)?;
        Ok(tls)
    }

    /// What is asked for needs what it is made of.
    fn check_tls(&self, tls: &Tls) -> Result<(), Invalid> {
        let certificate = "a certificate; add --tls-cert and --tls-key, or --tls-self-signed";
        let rules = [
            (
                &options::TLS_CERT,
                tls.cert.is_some() && tls.key.is_none(),
                "needs its private key; add --tls-key",
            ),
            (
                &options::TLS_KEY,
                tls.key.is_some() && tls.cert.is_none(),
                "needs its certificate; add --tls-cert",
            ),
            (
                &options::TLS_SELF_SIGNED,
                tls.self_signed && tls.cert.is_some(),
                "there is a certificate already; remove --tls-self-signed or --tls-cert",
            ),
            (
                &options::TLS_KEY_PASSWORD_FILE,
                tls.key_password_file.is_some() && tls.key.is_none(),
                "needs the key that it opens; add --tls-key",
            ),
            (
                &options::TLS_CLIENT_AUTH,
                tls.client_auth != ClientAuth::Off && tls.client_ca.is_none(),
                "needs the CA that vouches for clients; add --tls-client-ca",
            ),
            (
                &options::TLS_REQUIRED,
                tls.required && !tls.is_on(),
                &format!("needs {certificate}"),
            ),
            (
                &options::TLS_CLIENT_AUTH,
                tls.client_auth != ClientAuth::Off && !tls.is_on(),
                &format!("needs {certificate}"),
            ),
        ];
        for (option, broken, problem) in rules {
            if broken {
                return Err(self.origin(option)?.invalid(problem));
            }
        }
        if !tls.is_on()
            && let Some((origin, _)) = self.listeners_of_kind(&options::LISTEN_TLS, true)?.first()
        {
            return Err(origin.invalid(format!("needs {certificate}")));
        }
        Ok(())
    }

    /// Where an option was set.
    fn origin(&self, option: &'static Opt) -> Result<Origin, Invalid> {
        let given = self.given(option)?.unwrap_or_default();
        let named = Origin::Variable(option.variable);
        Ok(given.into_iter().next().map_or(named, |given| given.origin))
    }

    fn one<T>(
        &self,
        option: &'static Opt,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Invalid> {
        let given = self.given(option)?;
        given
            .as_deref()
            .and_then(|given| given.first())
            .map(|given| given.parse(parse))
            .transpose()
    }

    fn list<T>(
        &self,
        option: &'static Opt,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, Invalid> {
        let parse_all = |given: Vec<Given>| given.iter().map(|given| given.parse(&parse)).collect();
        self.given(option)?.map(parse_all).transpose()
    }

    /// What the first of the sources that know the option says.
    fn given(&self, option: &'static Opt) -> Result<Option<Vec<Given>>, Invalid> {
        Ok(match self.flag_or_variable(option)? {
            Some(given) => Some(given),
            None => self.file.get(option).map(<[Given]>::to_vec),
        })
    }

    fn flag_or_variable(&self, option: &'static Opt) -> Result<Option<Vec<Given>>, Invalid> {
        if let (Some(flag), Some(values)) = (option.flag, self.arguments.get(option)) {
            let given = values
                .iter()
                .flat_map(|value| pieces(option, value))
                .map(|text| given(text, Origin::Flag(flag)));
            return Ok(Some(given.collect()));
        }
        let origin = Origin::Variable(option.variable);
        match (self.environment)(option.variable).map(OsString::into_string) {
            None => Ok(None),
            // A variable that is set to nothing is how many tools write one that isn't set.
            Some(Ok(value)) if value.is_empty() => Ok(None),
            Some(Ok(value)) => Ok(Some(
                pieces(option, &value)
                    .into_iter()
                    .map(|text| given(text, origin.clone()))
                    .collect(),
            )),
            Some(Err(_)) => Err(origin.invalid("is not UTF-8; set it again")),
        }
    }
}

fn given(text: &str, origin: Origin) -> Given {
    Given {
        text: text.to_owned(),
        origin,
    }
}

/// The values of a list have commas between them. A comma too many is no value.
fn pieces<'a>(option: &Opt, value: &'a str) -> Vec<&'a str> {
    if option.kind != Kind::List {
        return vec![value];
    }
    let pieces: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|piece| !piece.is_empty())
        .collect();
    if pieces.is_empty() {
        vec![value]
    } else {
        pieces
    }
}

/// Clients read it before they can have asked for SMTPUTF8, so that it is ASCII (RFC 6531 section 3.7.1).
fn own_domain(text: &str) -> Result<String, String> {
    match domain(text) {
        Ok(domain) if !domain.is_ascii() => {
            Err(format!("`{text}` is not ASCII; give its form with xn--"))
        }
        result => result,
    }
}

/// A name, in any script, or an address literal (RFC 5321 section 4.1.2).
fn domain(text: &str) -> Result<String, String> {
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
        Err(format!(
            "`{text}` is not a domain name; give one like mx.example.com"
        ))
    }
}

fn delivery_target(text: &str) -> Result<DeliveryTarget, String> {
    text.parse()
        .map_err(|error: ParseTargetError| error.to_string())
}

fn tls_version(text: &str) -> Result<TlsVersion, String> {
    units::word(
        text,
        &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)],
    )
}

fn client_auth(text: &str) -> Result<ClientAuth, String> {
    units::word(
        text,
        &[
            ("off", ClientAuth::Off),
            ("request", ClientAuth::Request),
            ("require", ClientAuth::Require),
        ],
    )
}

fn transport(text: &str) -> Result<Transport, String> {
    units::word(
        text,
        &[
            ("auto", Transport::Auto),
            ("tokio", Transport::Tokio),
            ("raw", Transport::Raw),
        ],
    )
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    units::count(
        text,
        NonZeroUsize::MIN..=NonZeroUsize::MIN.saturating_add(1023),
    )
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    units::word(
        text,
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    )
}

fn log_level(text: &str) -> Result<LogLevel, String> {
    units::word(
        text,
        &[
            ("off", LogLevel::Off),
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ],
    )
}
