//! The `[auth]` table: who may log in.

use std::path::PathBuf;

use clap::ValueEnum;
use prixfixe_server::{AuthMode, AuthSender};
use serde::{Deserialize, Serialize};

use super::given::Invalid;
use super::sources::Sources;
use super::tls::CERTIFICATE;
use super::units::Count;
use super::words::{Word, path, read};

/// What a login needs where it is asked for.
const BACK_END: &str =
    "needs somebody who checks logins; add --auth-users or --auth-dovecot, or set auth.issuer";

#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Auth {
    /// Whether clients may or must log in, under TLS; any accepts every password, for tests
    #[arg(id = "auth.mode", long = "auth", value_name = "off|offer|require|any", value_parser = Word::<Mode>::default())]
    #[serde(deserialize_with = "read::word")]
    pub mode: Mode,
    /// File of users that may log in; `prixfixe password` prints its lines
    #[arg(id = "auth.users", long = "auth-users", value_name = "FILE", value_parser = path)]
    #[serde(deserialize_with = "read::path")]
    pub users: Option<PathBuf>,
    /// Socket of Dovecot's auth-client protocol, where logins are checked
    #[arg(id = "auth.dovecot", long = "auth-dovecot", value_name = "SOCKET", value_parser = path)]
    #[serde(deserialize_with = "read::path")]
    pub dovecot: Option<PathBuf>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::issuer"
    )]
    pub issuer: Option<String>,
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    #[arg(skip)]
    #[serde(deserialize_with = "read::word")]
    pub sender: Sender,
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<Failures>,
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_client_failures: Option<Failures>,
}

/// Failed logins in ten minutes; 0 is no limit.
type Failures = Count<0, 1_000_000>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Off,
    Offer,
    Require,
    Any,
}

/// What a client that has logged in may send as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    #[default]
    Any,
    Own,
}

impl Mode {
    /// Whether passwords are checked, and so kept from others' eyes.
    pub fn is_checked(self) -> bool {
        matches!(self, Self::Offer | Self::Require)
    }
}

impl From<Mode> for AuthMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Off => Self::Off,
            Mode::Offer => Self::Offer,
            Mode::Require => Self::Require,
            Mode::Any => Self::Any,
        }
    }
}

impl From<Sender> for AuthSender {
    fn from(sender: Sender) -> Self {
        match sender {
            Sender::Any => Self::Any,
            Sender::Own => Self::Own,
        }
    }
}

impl Auth {
    /// What a mode needs, wherever it was written.
    pub(super) fn needs(&self, mode: Mode, has_certificate: bool) -> Option<String> {
        let has_back_end = self.users.is_some() || self.dovecot.is_some() || self.issuer.is_some();
        if !mode.is_checked() {
            None
        } else if !has_back_end {
            Some(BACK_END.to_owned())
        } else if !has_certificate {
            Some(format!("needs {CERTIFICATE}"))
        } else {
            None
        }
    }

    pub(super) fn check(
        &self,
        sources: &Sources<'_>,
        has_certificate: bool,
    ) -> Result<(), Invalid> {
        if self.users.is_some() && self.dovecot.is_some() {
            let problem = "logins are checked at one place; remove --auth-users or --auth-dovecot";
            return Err(Invalid::new(sources.place("auth.dovecot"), problem));
        }
        self.check_tokens(sources)?;
        match self.needs(self.mode, has_certificate) {
            Some(problem) => Err(Invalid::new(sources.place("auth.mode"), problem)),
            None => Ok(()),
        }
    }

    /// A token is for somebody: without a name, one for any other service of the issuer's would do.
    fn check_tokens(&self, sources: &Sources<'_>) -> Result<(), Invalid> {
        let of_tokens = [("audience", &self.audience), ("claim", &self.claim)];
        for (key, value) in of_tokens {
            let problem = match (value, &self.issuer) {
                (Some(text), _) if text.is_empty() => "is empty",
                (Some(_), None) => "is about tokens; set auth.issuer too",
                (None, Some(_)) if key == "audience" => {
                    let problem = "needs auth.audience: whom its tokens are for";
                    return Err(Invalid::new(sources.place("auth.issuer"), problem));
                }
                _ => continue,
            };
            return Err(Invalid::new(sources.place(&format!("auth.{key}")), problem));
        }
        Ok(())
    }
}
