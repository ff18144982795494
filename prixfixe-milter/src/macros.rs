//! Macros: what a server tells of a client beside the commands, by the names that Sendmail gave.

/// A stage that macros belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The connection.
    Connect,
    /// HELO or EHLO.
    Hello,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The end of the header.
    EndOfHeader,
    /// The end of the message.
    EndOfMessage,
}

impl Stage {
    pub(crate) const ALL: [Self; 7] = [
        Self::Connect,
        Self::Hello,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::EndOfHeader,
        Self::EndOfMessage,
    ];

    /// The number that it has where a milter says which macros it wants (`SMFIM_…`).
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Connect => 0,
            Self::Hello => 1,
            Self::Mail => 2,
            Self::Rcpt => 3,
            Self::Data => 4,
            Self::EndOfMessage => 5,
            Self::EndOfHeader => 6,
        }
    }

    /// What Sendmail and Postfix tell at this stage unless a milter says what it wants.
    const fn usual(self) -> &'static [&'static str] {
        match self {
            Self::Connect => &[
                "j",
                "_",
                "v",
                "{daemon_name}",
                "{daemon_addr}",
                "{daemon_port}",
                "{if_name}",
                "{if_addr}",
                "{client_addr}",
                "{client_name}",
                "{client_port}",
                "{client_ptr}",
            ],
            Self::Hello => &[
                "{tls_version}",
                "{cipher}",
                "{cipher_bits}",
                "{cert_subject}",
                "{cert_issuer}",
            ],
            Self::Mail => &[
                "{auth_type}",
                "{auth_authen}",
                "{auth_author}",
                "{mail_mailer}",
                "{mail_host}",
                "{mail_addr}",
            ],
            Self::Rcpt => &["{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"],
            Self::Data | Self::EndOfHeader | Self::EndOfMessage => &["i"],
        }
    }
}

/// The macros that have a value now. A name of more than one letter stands in braces, as
/// `{client_addr}`.
#[derive(Debug, Clone, Default)]
pub struct Macros(Vec<(&'static str, String)>);

impl Macros {
    /// Gives a macro a value. What cannot stand in a packet, a NUL, is left out.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        let mut value = value.into();
        value.retain(|c| c != '\0');
        match self.0.iter_mut().find(|(it, _)| *it == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes a macro's value away.
    pub fn unset(&mut self, name: &str) {
        self.0.retain(|(it, _)| *it != name);
    }

    /// A macro's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(it, _)| *it == name)?;
        Some(value)
    }
}

/// Which macros a milter wants, where it has said so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted([Option<Vec<Box<str>>>; 7]);

impl Wanted {
    /// Names are separated by blanks, and stand with or without their braces.
    pub(crate) fn set(&mut self, stage: Stage, names: &str) {
        let names = names.split([' ', ',', '\t']).filter(|it| !it.is_empty());
        let braced = |name: &str| match name.len() == 1 || name.starts_with('{') {
            true => Box::from(name),
            false => format!("{{{name}}}").into_boxed_str(),
        };
        let place = Stage::ALL.iter().position(|it| *it == stage);
        if let Some(place) = place.and_then(|place| self.0.get_mut(place)) {
            *place = Some(names.map(braced).collect());
        }
    }

    /// Names and values for a stage, each with its NUL.
    pub(crate) fn select(&self, stage: Stage, macros: &Macros) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut tell = |name: &str| {
            if let Some(value) = macros.get(name) {
                fields.extend_from_slice(name.as_bytes());
                fields.push(0);
                fields.extend_from_slice(value.as_bytes());
                fields.push(0);
            }
        };
        let place = Stage::ALL.iter().position(|it| *it == stage);
        match place.and_then(|place| self.0.get(place)?.as_ref()) {
            Some(names) => names.iter().for_each(|name| tell(name)),
            None => stage.usual().iter().for_each(|name| tell(name)),
        }
        fields
    }
}
