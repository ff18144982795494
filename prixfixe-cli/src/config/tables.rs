//! The arrays of tables in the file: `[[listener]]` and `[[tls.certificate]]`.

use toml::de::{DeTable, DeValue};

use super::file::{Reader, Value, in_order};
use super::given::{Given, Invalid, Origin};
use super::mistakes::{unknown, wrong_type};
use super::options;

pub(super) const LISTENER: &str = "listener";
pub(super) const CERTIFICATE: &str = "tls.certificate";

/// One `[[listener]]` table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListenerTable {
    pub(crate) address: Given,
    /// `tls = "implicit"`.
    pub(crate) implicit_tls: bool,
    pub(crate) proxy_protocol_from: Vec<Given>,
}

/// One `[[tls.certificate]]` table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CertificateTable {
    /// Of the table itself.
    pub(crate) origin: Origin,
    pub(crate) cert: Given,
    pub(crate) key: Given,
    pub(crate) key_password_file: Option<Given>,
}

/// The names of the arrays and the dotted keys of their tables.
pub(super) fn keys() -> impl Iterator<Item = String> {
    let of = |table: &'static str, keys: &'static [&'static str]| {
        let keys = keys.iter().map(move |key| format!("{table}.{key}"));
        keys.chain([table.to_owned()])
    };
    of(LISTENER, options::LISTENER_KEYS).chain(of(CERTIFICATE, options::CERTIFICATE_KEYS))
}

impl Reader<'_> {
    pub(super) fn read_listeners(
        &self,
        origin: &Origin,
        value: &Value<'_>,
    ) -> Result<Vec<ListenerTable>, Invalid> {
        self.read_tables(LISTENER, origin, value, Self::read_listener)
    }

    pub(super) fn read_certificates(
        &self,
        origin: &Origin,
        value: &Value<'_>,
    ) -> Result<Vec<CertificateTable>, Invalid> {
        self.read_tables(CERTIFICATE, origin, value, Self::read_certificate)
    }

    /// `read` gets each table with its place.
    fn read_tables<T>(
        &self,
        name: &str,
        origin: &Origin,
        value: &Value<'_>,
        read: impl Fn(&Self, Origin, &DeTable<'_>) -> Result<T, Invalid>,
    ) -> Result<Vec<T>, Invalid> {
        let DeValue::Array(tables) = value.get_ref() else {
            return Err(origin.invalid(format!(
                "is an array of tables; write [[{name}]] with two brackets"
            )));
        };
        if tables.is_empty() {
            return Err(origin.invalid("is empty; add a table, or leave it out"));
        }
        let read = |value: &Value<'_>| {
            let origin = self.moved(origin, value.span());
            match value.get_ref() {
                DeValue::Table(table) => read(self, origin, table),
                other => Err(wrong_type(&origin, "a table", other)),
            }
        };
        tables.iter().map(read).collect()
    }

    fn read_listener(&self, origin: Origin, table: &DeTable<'_>) -> Result<ListenerTable, Invalid> {
        let (mut address, mut implicit_tls) = (None, false);
        let mut proxy_protocol_from = Vec::new();
        for (name, value) in in_order(table) {
            let key = format!("{LISTENER}.{}", name.get_ref());
            let origin = self.origin(name.span(), &key);
            match name.get_ref().as_ref() {
                "address" => address = Some(string(origin, value)?),
                "tls" => {
                    let word = string(origin, value)?;
                    if word.text != "implicit" {
                        return Err(word.origin.invalid(format!(
                            "`{}` is not known; write \"implicit\", or leave it out for STARTTLS",
                            word.text
                        )));
                    }
                    implicit_tls = true;
                }
                "proxy-protocol-from" => proxy_protocol_from = self.read_list(&origin, value)?,
                _ => return Err(unknown(&origin, &key)),
            }
        }
        let address =
            address.ok_or_else(|| origin.invalid("has no address; add address = \"ADDR:PORT\""))?;
        Ok(ListenerTable {
            address,
            implicit_tls,
            proxy_protocol_from,
        })
    }

    fn read_certificate(
        &self,
        origin: Origin,
        table: &DeTable<'_>,
    ) -> Result<CertificateTable, Invalid> {
        let (mut cert, mut key, mut key_password_file) = (None, None, None);
        for (name, value) in in_order(table) {
            let dotted = format!("{CERTIFICATE}.{}", name.get_ref());
            let origin = self.origin(name.span(), &dotted);
            match name.get_ref().as_ref() {
                "cert" => cert = Some(string(origin, value)?),
                "key" => key = Some(string(origin, value)?),
                "key-password-file" => key_password_file = Some(string(origin, value)?),
                _ => return Err(unknown(&origin, &dotted)),
            }
        }
        let missing = |key| origin.invalid(format!("has no {key}; add {key} = \"FILE\""));
        Ok(CertificateTable {
            cert: cert.ok_or_else(|| missing("cert"))?,
            key: key.ok_or_else(|| missing("key"))?,
            key_password_file,
            origin,
        })
    }
}

fn string(origin: Origin, value: &Value<'_>) -> Result<Given, Invalid> {
    match value.get_ref() {
        DeValue::String(text) => Ok(Given {
            text: text.to_string(),
            origin,
        }),
        other => Err(wrong_type(&origin, "a string", other)),
    }
}
