//! The `[accept]` table.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::words::{Word, read};

#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Accept {
    /// Recipient domain to accept, or *.NAME for its subdomains; repeatable. Without it every
    /// recipient is accepted
    #[arg(id = "accept.domains", long = "accept-domain", value_name = "NAME")]
    #[serde(deserialize_with = "read::accepted_domains")]
    pub(crate) domains: Vec<String>,
    /// Whether to refuse a message with a bare CR or LF, or to turn each into CRLF
    #[arg(id = "accept.bare-line-ends", long = "bare-line-ends", value_name = "refuse|repair", value_parser = Word::<BareLineEnds>::default())]
    #[serde(deserialize_with = "read::word")]
    pub(crate) bare_line_ends: BareLineEnds,
}

/// What becomes of a message with a bare CR or LF.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BareLineEnds {
    #[default]
    Refuse,
    Repair,
}
