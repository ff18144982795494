//! `lmtp:`, `smtp:` and `smtps:`: another mail server.

use std::sync::Arc;

use super::{Kind, PreparedTarget, Wanted};
use crate::{NextHop, NextHopOptions, NextHopUrl, OpenError};

pub(super) const LMTP: Kind = Kind {
    scheme: "lmtp",
    form: "lmtp:HOST:PORT",
    check: |text| super::parsed::<NextHopUrl>(text),
    keys: &[
        "concurrency",
        "timeout",
        "final-timeout",
        "username",
        "password-file",
        "tls",
        "tls-ca",
        "tls-cert",
        "tls-key",
        "strict-8bit",
    ],
    check_options: |_, _| Ok(()),
    is_relay: false,
    is_remote: true,
    prepare,
};

pub(super) const SMTP: Kind = Kind {
    scheme: "smtp",
    form: "smtp:HOST:PORT",
    is_relay: true,
    ..LMTP
};

pub(super) const SMTPS: Kind = Kind {
    scheme: "smtps",
    form: "smtps:HOST",
    ..SMTP
};

fn prepare(wanted: &Wanted<'_>) -> Result<PreparedTarget, OpenError> {
    let url: NextHopUrl = super::url(wanted)?;
    let (given, mut options) = (wanted.options, NextHopOptions::default());
    wanted.name.clone_into(&mut options.name);
    options.own_domain.clone_from(&wanted.around.domain);
    options.concurrency = given.concurrency.unwrap_or(options.concurrency);
    options.timeout = given.timeout.unwrap_or(options.timeout);
    options.final_timeout = given.final_timeout.unwrap_or(options.final_timeout);
    options.username.clone_from(&given.username);
    options.password_file.clone_from(&given.password_file);
    options.tls = given.tls;
    options.tls_ca.clone_from(&given.tls_ca);
    options.tls_cert.clone_from(&given.tls_cert);
    options.tls_key.clone_from(&given.tls_key);
    options.strict_8bit = given.strict_8bit.unwrap_or(options.strict_8bit);
    Ok(PreparedTarget::later(async move {
        let hop = NextHop::open(&url, options).map_err(OpenError::remote)?;
        Ok(Arc::new(hop) as _)
    }))
}
