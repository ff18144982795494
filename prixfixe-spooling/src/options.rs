//! What the library is told of a configuration.

use std::collections::HashMap;
use std::sync::Arc;

use prixfixe_config::{Configuration, Spool};
use prixfixe_delivery::bounce::Reports;
use prixfixe_delivery::{FleetOptions, NatsOptions, RetrySchedule, SpoolOptions};

/// Of a spool on a disk.
pub(crate) fn of_disk(configuration: &Configuration, reports: &Reports) -> SpoolOptions {
    let spool = &configuration.spool;
    let mut options = SpoolOptions::default();
    options.log.max_size = spool.max_size.get();
    options.retry = RetrySchedule::new(spool.pauses());
    options.give_up_after = spool.give_up_after.get();
    options.min_free = configuration.delivery.min_free();
    options.bouncer = Arc::new(reports.clone());
    options.concurrency_of = concurrency_of(configuration);
    options
}

/// Of a fleet's spool.
pub(crate) fn of_fleet(spool: &Spool) -> FleetOptions {
    let mut options = FleetOptions::default();
    options.stream = spool.stream().to_owned();
    options.replicas = spool.replicas();
    options.partitions = spool.partitions();
    options.max_size = spool.max_size.get();
    options.retry = RetrySchedule::new(spool.pauses());
    options.give_up_after = spool.give_up_after.get();
    let mut connection = NatsOptions::default();
    connection.name = "spool".to_owned();
    connection.username = spool.username.clone();
    connection.password_file = spool.password_file.clone();
    connection.creds_file = spool.creds_file.clone();
    connection.tls = spool.tls();
    connection.tls_ca = spool.tls_ca.clone();
    connection.tls_cert = spool.tls_cert.clone();
    connection.tls_key = spool.tls_key.clone();
    options.connection = connection;
    options
}

/// Of targets that have one of their own.
pub(crate) fn concurrency_of(configuration: &Configuration) -> HashMap<String, usize> {
    let targets = configuration.routed_targets().into_iter();
    targets
        .filter_map(|target| Some((target.name, target.concurrency?.size())))
        .collect()
}
