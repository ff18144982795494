//! The numbers as the Prometheus text format.

use std::fmt;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::histogram::DurationHistogram;
use super::{Exposition, Metrics, MetricsSnapshot};

/// Codes that have a series from the start, those of the dialogue's own refusals: a rate over a
/// series that begins at 1 would miss its first.
const CODES: [u16; 18] = [
    421, 450, 451, 452, 454, 500, 501, 502, 503, 504, 530, 535, 538, 550, 552, 553, 554, 555,
];

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer { encoder };
        let snapshot = &self.snapshot;
        writer.messages(snapshot)?;
        writer.connections(snapshot)?;
        writer.refusals(snapshot)?;
        writer.process(snapshot)?;
        writer.about(self)
    }
}

/// For a registry of an application's own.
impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.exposition().encode(encoder)
    }
}

struct Writer<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Writer<'_> {
    fn messages(&mut self, snapshot: &MetricsSnapshot) -> fmt::Result {
        self.counter(
            "smtp_messages_received",
            "Messages whose content began: success plus failed",
            snapshot.messages_received(),
        )?;
        self.counter(
            "smtp_messages_success",
            "Messages that were accepted",
            snapshot.messages_succeeded,
        )?;
        let failed = snapshot.messages_failed.iter();
        self.counters(
            "smtp_messages_failed",
            "Messages that were not accepted",
            failed.map(|(reason, count)| ([("reason", reason.as_str())], *count)),
        )?;
        self.gauge(
            "smtp_messages_per_second",
            "Messages a second over the last 10 s",
            snapshot.messages_per_second,
        )?;
        self.gauge(
            "smtp_success_rate",
            "Share of the messages of the last minute that were accepted, 1 without any",
            snapshot.success_rate,
        )?;
        self.histogram(
            "smtp_message_processing_duration_seconds",
            "From MAIL to the reply that ends the transaction",
            &snapshot.processing,
        )?;
        self.histogram(
            "smtp_delivery_duration_seconds",
            "From the end of the content to the answer of the delivery",
            &snapshot.delivery,
        )?;
        self.counter(
            "smtp_bytes_received",
            "Octets that clients sent, commands and content, without what TLS adds",
            snapshot.bytes_received,
        )
    }

    fn connections(&mut self, snapshot: &MetricsSnapshot) -> fmt::Result {
        self.gauge(
            "smtp_active_connections",
            "Connections that are open",
            snapshot.active_connections as f64,
        )?;
        self.gauge(
            "smtp_max_connections",
            "Connections that may be open at once",
            snapshot.max_connections as f64,
        )?;
        let connections = snapshot.connections.iter();
        self.counters(
            "smtp_connections",
            "TCP connections by what became of them",
            connections.map(|(result, count)| ([("result", result.as_str())], *count)),
        )?;
        let established = snapshot.tls_handshakes.iter();
        let established = established.map(|(version, count)| ("ok", version.as_str(), *count));
        let failed = snapshot.tls_handshake_failures.iter();
        let failed = failed.map(|(failure, count)| (failure.as_str(), "none", *count));
        self.counters(
            "smtp_tls_handshakes",
            "TLS handshakes by how they ended and what was agreed on",
            established.chain(failed).map(|(result, version, count)| {
                ([("result", result), ("version", version)], count)
            }),
        )
    }

    fn refusals(&mut self, snapshot: &MetricsSnapshot) -> fmt::Result {
        let counted = |code: u16| {
            let found = snapshot.command_errors.iter().find(|(it, _)| *it == code);
            found.map_or(0, |(_, count)| *count)
        };
        let mut codes = CODES.to_vec();
        codes.extend(snapshot.command_errors.iter().map(|(code, _)| *code));
        codes.sort_unstable();
        codes.dedup();
        self.counters(
            "smtp_command_errors",
            "Commands that were refused, by reply code",
            codes
                .into_iter()
                .map(|code| ([("code", u32::from(code))], counted(code))),
        )?;
        let logins = snapshot.logins.iter().map(|(mechanism, result, count)| {
            let labels = [
                ("mechanism", mechanism.as_str()),
                ("result", result.as_str()),
            ];
            (labels, *count)
        });
        self.counters(
            "smtp_auth",
            "Logins by mechanism and what became of them",
            logins,
        )?;
        self.counter(
            "smtp_timeouts",
            "Sessions that ended because the client took too long",
            snapshot.timeouts,
        )?;
        let phases = snapshot.timeouts_by_phase.iter();
        self.counters(
            "smtp_timeouts_by_phase",
            "The same, by what the client took too long over",
            phases.map(|(phase, count)| ([("phase", phase.as_str())], *count)),
        )
    }

    fn process(&mut self, snapshot: &MetricsSnapshot) -> fmt::Result {
        let Some(usage) = &snapshot.process else {
            return Ok(());
        };
        self.gauge(
            "smtp_memory_bytes",
            "Resident memory of the process",
            usage.memory_bytes as f64,
        )?;
        self.gauge(
            "smtp_cpu_usage_percent",
            "Use of the processor by the process, of one core all the time is 100",
            usage.cpu_percent,
        )
    }

    fn about(&mut self, exposition: &Exposition) -> fmt::Result {
        self.gauges(
            "smtp_transport_info",
            "What moves the bytes",
            [([("transport", exposition.transport)], 1.0)],
        )?;
        self.gauges(
            "prixfixe_build_info",
            "The version of PrixFixe",
            [([("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        )?;
        let certificates = &exposition.snapshot.certificates;
        if certificates.is_empty() {
            return Ok(());
        }
        let series = certificates.iter().map(|(name, not_after)| {
            let seconds = not_after
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs() as f64);
            ([("name", name.as_str())], seconds)
        });
        self.gauges(
            "smtp_tls_certificate_expiry_timestamp_seconds",
            "When the certificate in use for a name expires, in seconds since 1970",
            series,
        )
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self.describe(name, help, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    fn counters<'l, V, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, V); N], u64)>,
    ) -> fmt::Result
    where
        V: prometheus_client::encoding::EncodeLabelValue,
    {
        let mut encoder = self.describe(name, help, MetricType::Counter)?;
        for (labels, value) in series {
            ConstCounter::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let encoder = self.describe(name, help, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], f64)>,
    ) -> fmt::Result {
        let mut encoder = self.describe(name, help, MetricType::Gauge)?;
        for (labels, value) in series {
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, durations: &DurationHistogram) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = durations
            .buckets()
            .map(|(bound, count)| (bound.map_or(f64::INFINITY, |it| it.as_secs_f64()), count))
            .collect();
        self.describe(name, help, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(
                durations.sum().as_secs_f64(),
                durations.count(),
                &buckets,
                None,
            )
    }

    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.encoder.encode_descriptor(name, help, None, kind)
    }
}
