//! The `[accept]` table.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::words::{Word, check_url, path, read};

#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Accept {
    /// Recipient domain to accept, or *.NAME for its subdomains; repeatable. Without it every
    /// recipient is accepted
    #[arg(id = "accept.domains", long = "accept-domain", value_name = "NAME")]
    #[serde(deserialize_with = "read::accepted_domains")]
    pub domains: Vec<String>,
    /// File of recipients to accept: addresses, or @DOMAIN, one per line; read again when it
    /// changes
    #[arg(id = "accept.recipients-file", long = "accept-recipients", value_name = "FILE", value_parser = path)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub recipients_file: Option<PathBuf>,
    /// HTTP server to ask about each recipient
    #[arg(id = "accept.check", long = "check-recipients", value_name = "URL", value_parser = check_url)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::check_url"
    )]
    pub check: Option<String>,
    /// What becomes of a recipient that it gives no answer about.
    #[arg(skip)]
    #[serde(deserialize_with = "read::word")]
    pub on_failure: OnFailure,
    /// Who may send to anybody, whatever the rest of this table says.
    #[arg(skip)]
    #[serde(deserialize_with = "read::word")]
    pub relay: Relay,
    /// Whether to refuse a message with a bare CR or LF, or to turn each into CRLF
    #[arg(id = "accept.bare-line-ends", long = "bare-line-ends", value_name = "refuse|repair", value_parser = Word::<BareLineEnds>::default())]
    #[serde(deserialize_with = "read::word")]
    pub bare_line_ends: BareLineEnds,
}

/// What becomes of a recipient that `accept.check` gives no answer about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    #[default]
    Defer,
    Accept,
}

/// Who may send to anybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Relay {
    #[default]
    None,
    /// Clients that have logged in.
    Authenticated,
}

/// What becomes of a message with a bare CR or LF.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BareLineEnds {
    #[default]
    Refuse,
    Repair,
}
