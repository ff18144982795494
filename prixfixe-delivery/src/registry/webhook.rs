//! `https:` and `http:`: a webhook.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::{Kind, PreparedTarget, Wanted};
use crate::{OpenError, TargetOptions, Webhook, WebhookOptions, WebhookUrl};

pub(super) const HTTPS: Kind = Kind {
    scheme: "https",
    form: "https://HOST/PATH",
    check: |text| super::parsed::<WebhookUrl>(text),
    keys: &[
        "concurrency",
        "timeout",
        "final-timeout",
        "username",
        "password-file",
        "tls-ca",
        "tls-cert",
        "tls-key",
        "secret-file",
        "format",
        "on-4xx",
        "header-file",
        "insecure",
    ],
    check_options: |_, options| match options_of("", options) {
        Ok(_) => Ok(()),
        Err(wrong) => Err(wrong),
    },
    is_relay: false,
    is_remote: true,
    prepare,
};

pub(super) const HTTP: Kind = Kind {
    scheme: "http",
    form: "http://127.0.0.1:PORT/PATH",
    ..HTTPS
};

fn prepare(wanted: &Wanted<'_>) -> Result<PreparedTarget, OpenError> {
    let url: WebhookUrl = super::url(wanted)?;
    let options = options_of(wanted.name, wanted.options).map_err(super::wrong_option)?;
    Ok(PreparedTarget::later(async move {
        let webhook = Webhook::open(&url, options).map_err(OpenError::remote)?;
        Ok(Arc::new(webhook) as _)
    }))
}

fn options_of(name: &str, given: &TargetOptions) -> Result<WebhookOptions, (&'static str, String)> {
    let usual = WebhookOptions::default();
    let word = |key: &'static str| move |error: crate::UnknownWord| (key, error.to_string());
    let mut options = WebhookOptions {
        name: name.to_owned(),
        secret_files: given.secret_file.iter().cloned().collect(),
        username: given.username.clone(),
        password_file: given.password_file.clone(),
        header_file: given.header_file.clone(),
        timeout: given.timeout.unwrap_or(usual.timeout),
        final_timeout: given.final_timeout.unwrap_or(usual.final_timeout),
        tls_ca: given.tls_ca.clone(),
        tls_cert: given.tls_cert.clone(),
        tls_key: given.tls_key.clone(),
        insecure: given.insecure.unwrap_or(usual.insecure),
        ..usual
    };
    if let Some(format) = &given.format {
        options.format = format.parse().map_err(word("format"))?;
    }
    if let Some(on_4xx) = &given.on_4xx {
        options.on_4xx = on_4xx.parse().map_err(word("on-4xx"))?;
    }
    if let Some(concurrency) = given.concurrency.and_then(NonZeroUsize::new) {
        options.concurrency = concurrency;
    }
    Ok(options)
}
