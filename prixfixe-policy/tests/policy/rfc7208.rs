//! The test suite of RFC 7208, as pyspf has it: every case.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use mail_auth::hickory_resolver::proto::rr::rdata::{CNAME, MX, PTR};
use mail_auth::hickory_resolver::proto::rr::{Name, RData, RecordType};
use prixfixe_policy::Resolver;
use prixfixe_test_support::{has, run};
use serde_json::Value;

use crate::dns::{Dns, Known};

/// Where `.ci/packages` puts it.
const SUITE: &str = "/usr/local/lib/prixfixe-tools/rfc7208-tests.yml";

const AS_JSON: &str = "import json, sys, yaml
print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1], 'rb')))))";

fn suite() -> Option<Vec<Value>> {
    let path = PathBuf::from(SUITE);
    if !path.is_file() {
        let required = std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_some();
        assert!(!required, "{SUITE} is not installed");
        eprintln!("skipped: {SUITE} is not installed");
        return None;
    }
    if !has("prixfixe-policy-python") {
        return None;
    }
    let json = run(Command::new("prixfixe-policy-python").args(["-c", AS_JSON, SUITE]));
    serde_json::from_str(&json).ok()
}

fn name(text: &str) -> Option<Name> {
    let labels = text.trim_end_matches('.').split('.').map(str::as_bytes);
    Name::from_labels(labels).ok()
}

/// One record of the suite's zones.
fn data(kind: &str, value: &Value) -> Option<RData> {
    let text = value.as_str();
    Some(match kind {
        "TXT" => match value {
            Value::Array(strings) => {
                let mut strings: Vec<_> = strings.iter().filter_map(Value::as_str).collect();
                // A text without any string cannot be sent.
                if strings.is_empty() {
                    strings.push("");
                }
                use mail_auth::hickory_resolver::proto::rr::rdata::TXT;
                RData::TXT(TXT::from_bytes(
                    strings.iter().map(|it| it.as_bytes()).collect(),
                ))
            }
            _ => crate::dns::txt(text?),
        },
        "A" => RData::A(text?.parse::<std::net::Ipv4Addr>().ok()?.into()),
        "AAAA" => RData::AAAA(text?.parse::<std::net::Ipv6Addr>().ok()?.into()),
        "CNAME" => RData::CNAME(CNAME(name(text?)?)),
        "PTR" => RData::PTR(PTR(name(text?)?)),
        "MX" => {
            let preference = value.get(0)?.as_u64()?;
            let host = value.get(1)?.as_str()?;
            RData::MX(MX::new(u16::try_from(preference).ok()?, name(host)?))
        }
        _ => return None,
    })
}

/// A zone of the suite. Where a name has records of type SPF and none of type TXT, they are meant
/// as both.
fn zone(dns: &Dns, zone: &Value) {
    for (owner, records) in zone.as_object().into_iter().flatten() {
        let records = records.as_array().cloned().unwrap_or_default();
        let is = |record: &Value, kind: &str| record.get(kind).is_some();
        let has_txt = records.iter().any(|record| is(record, "TXT"));
        for record in &records {
            if record == "TIMEOUT" {
                dns.knows(owner, Known::Silence(None));
                continue;
            }
            for (kind, value) in record.as_object().into_iter().flatten() {
                let kind = match &**kind {
                    "SPF" if !has_txt => "TXT",
                    kind => kind,
                };
                if value == "TIMEOUT" {
                    if let Ok(kind) = kind.parse::<RecordType>() {
                        dns.knows(owner, Known::Silence(Some(kind)));
                    }
                } else if value != "NONE"
                    && let Some(data) = data(kind, value)
                {
                    dns.knows(owner, Known::Record(data));
                }
            }
        }
    }
}

fn words(expected: &Value) -> Vec<&str> {
    match expected {
        Value::Array(any) => any.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_suite() {
    let Some(suite) = suite() else { return };
    let mut wrong = Vec::new();
    let mut cases = 0;
    for scenario in &suite {
        let dns = Dns::start();
        zone(&dns, &scenario["zonedata"]);
        let resolver = Resolver::with_servers([dns.address()]).unwrap();
        let resolver = resolver.timeout(Duration::from_secs(3));
        for (case, test) in scenario["tests"].as_object().into_iter().flatten() {
            let text = |key: &str| test[key].as_str().unwrap_or_default();
            let client: IpAddr = text("host").parse().unwrap();
            let outcome = resolver.check_host(client, text("helo"), text("mailfrom"));
            let outcome = outcome.await;
            cases += 1;
            let expected = words(&test["result"]);
            if !expected.contains(&outcome.as_str()) {
                wrong.push(format!("{case}: {outcome} instead of {expected:?}"));
            }
        }
    }
    assert!(cases > 150, "{cases}");
    assert_eq!(wrong, [""; 0], "{} of {cases}", wrong.len());
}
