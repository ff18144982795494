//! `s3:`: object storage.

use std::sync::Arc;

use super::{Kind, PreparedTarget, Wanted};
use crate::{OpenError, S3, S3Options, S3Url};

pub(super) const S3_KIND: Kind = Kind {
    scheme: "s3",
    form: "s3://BUCKET/PREFIX",
    check: |text| super::parsed::<S3Url>(text),
    keys: &[
        "concurrency",
        "timeout",
        "final-timeout",
        "endpoint",
        "region",
        "path-style",
        "key",
        "tls-ca",
        "insecure",
    ],
    check_options: |_, _| Ok(()),
    is_relay: false,
    is_remote: true,
    prepare,
};

fn prepare(wanted: &Wanted<'_>) -> Result<PreparedTarget, OpenError> {
    let url: S3Url = super::url(wanted)?;
    let (given, usual) = (wanted.options, S3Options::default());
    let options = S3Options {
        name: wanted.name.to_owned(),
        domain: wanted.around.domain.clone(),
        endpoint: given.endpoint.clone(),
        region: given.region.clone(),
        path_style: given.path_style,
        key: given.key.clone().unwrap_or(usual.key),
        timeout: given.timeout.unwrap_or(usual.timeout),
        final_timeout: given.final_timeout.unwrap_or(usual.final_timeout),
        concurrency: given.concurrency.unwrap_or(usual.concurrency),
        tls_ca: given.tls_ca.clone(),
        insecure: given.insecure.unwrap_or(usual.insecure),
        ..usual
    };
    Ok(PreparedTarget::later(async move {
        let bucket = S3::open(&url, options).map_err(OpenError::remote)?;
        Ok(Arc::new(bucket) as _)
    }))
}
