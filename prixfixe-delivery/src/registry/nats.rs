//! `nats:`: NATS JetStream.

use std::sync::Arc;

use super::{Kind, PreparedTarget, Wanted};
use crate::{Nats, NatsOptions, NatsUrl, OpenError};

pub(super) const NATS: Kind = Kind {
    scheme: "nats",
    form: "nats://HOST:PORT/SUBJECT",
    check: |text| super::parsed::<NatsUrl>(text),
    keys: &[
        "concurrency",
        "timeout",
        "final-timeout",
        "username",
        "password-file",
        "creds-file",
        "tls",
        "tls-ca",
        "tls-cert",
        "tls-key",
        "min-replicas",
        "objects",
    ],
    check_options: |_, _| Ok(()),
    is_relay: false,
    is_remote: true,
    prepare,
};

fn prepare(wanted: &Wanted<'_>) -> Result<PreparedTarget, OpenError> {
    let url: NatsUrl = super::url(wanted)?;
    let options = options_of(wanted);
    Ok(PreparedTarget::later(async move {
        let nats = Nats::open(&url, options).await.map_err(OpenError::remote)?;
        Ok(Arc::new(nats) as _)
    }))
}

fn options_of(wanted: &Wanted<'_>) -> NatsOptions {
    let (given, usual) = (wanted.options, NatsOptions::default());
    NatsOptions {
        name: wanted.name.to_owned(),
        domain: wanted.around.domain.clone(),
        concurrency: given.concurrency.unwrap_or(usual.concurrency),
        timeout: given.timeout.unwrap_or(usual.timeout),
        final_timeout: given.final_timeout.unwrap_or(usual.final_timeout),
        username: given.username.clone(),
        password_file: given.password_file.clone(),
        creds_file: given.creds_file.clone(),
        tls: given.tls,
        tls_ca: given.tls_ca.clone(),
        tls_cert: given.tls_cert.clone(),
        tls_key: given.tls_key.clone(),
        min_replicas: given.min_replicas.unwrap_or(usual.min_replicas),
        objects: given.objects.clone().unwrap_or(usual.objects),
    }
}
