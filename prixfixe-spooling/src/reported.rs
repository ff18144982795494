//! Targets whose refusals senders may hear of.

use std::sync::Arc;

use prixfixe_delivery::bounce::ReportedTarget;

use crate::OpenedTargets;

/// Mail servers: what they refuse their senders may hear of.
pub(crate) fn reported(opened: &OpenedTargets) -> Vec<(String, ReportedTarget)> {
    let targets = opened.iter().filter_map(|(name, (target, opened))| {
        let url = target.url.as_ref()?;
        let is_final = match url.scheme() {
            "lmtp" => true,
            "smtp" | "smtps" => false,
            _ => return None,
        };
        let host = host(url.as_str());
        let target = ReportedTarget::new(host, is_final, Arc::clone(opened));
        Some((name.clone(), target))
    });
    targets.collect()
}

/// The name of a next hop, without its port.
fn host(url: &str) -> &str {
    let place = url.split_once(':').map_or(url, |(_, place)| place);
    match place.rsplit_once(':') {
        // A socket of this host.
        _ if place.starts_with('/') => "localhost",
        Some(("unix", _)) => "localhost",
        Some((host, port)) if port.bytes().all(|it| it.is_ascii_digit()) => host,
        _ => place,
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn a_report_names_the_host() {
        for (url, expected) in [
            ("smtp:relay.example.com:587", "relay.example.com"),
            ("smtps:relay.example.com", "relay.example.com"),
            ("smtp:[2001:db8::1]:25", "[2001:db8::1]"),
            ("smtp:[2001:db8::1]", "[2001:db8::1]"),
            ("lmtp:/run/dovecot/lmtp", "localhost"),
            ("lmtp:unix:/run/dovecot/lmtp", "localhost"),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
