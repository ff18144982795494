//! Names that no other delivery has, on this host or another.

use std::ffi::OsStr;
use std::fmt::Write;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::process;

/// A name by the Maildir convention, `seconds.MmicrosecondsPpidQcountRrandom.host`.
///
/// Time, process and host alone make the convention's promise; they fail it in containers that all
/// run as process 1 under one host name, and when a clock is set back. The 64 random bits of each
/// process hold it there too. So a rename to such a name replaces nothing. Where the system tells,
/// `BworldSstart` stands behind the random bits, so that a process that is gone can be told from
/// one that runs. The microseconds have all six digits, so that names sort in the order of arrival.
pub(crate) fn unique(now: SystemTime) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static RANDOM: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!(
        "{}.M{:06}P{}Q{}R{:016x}{}.{}",
        since.as_secs(),
        since.subsec_micros(),
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed),
        *RANDOM,
        *process::MARK,
        *HOST,
    )
}

static HOST: LazyLock<String> = LazyLock::new(|| escape_host(&host_name()));

/// True for a name that a process of this host gave which is surely gone. In doubt it is not.
pub(crate) fn is_of_a_dead_process(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let mut parts = name.splitn(3, '.');
    let (Some(_), Some(unique), Some(host)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    host == *HOST && process::is_dead(unique)
}

/// True for a name that some program's Maildir delivery may have given a file in `tmp/`: digits, a
/// dot, something unique, a dot, a host. Anything else that lies there is not ours to sweep.
pub(crate) fn is_unique_name(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let mut parts = name.splitn(3, '.');
    let (seconds, unique, host) = (parts.next(), parts.next(), parts.next());
    seconds.is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    }) && unique.is_some_and(|part| !part.is_empty())
        && host.is_some_and(|part| !part.is_empty())
}

/// The longest host part: with the rest a name stays well under the 255 octets that file systems
/// take.
const HOST_LENGTH: usize = 128;

/// `/` would be a directory and `:` begins the flags in `cur/`: the convention writes them `\057`
/// and `\072`. Control characters and spaces are written that way too, so that a name is one word
/// in any listing.
fn escape_host(host: &str) -> String {
    let mut escaped = String::new();
    for byte in host.bytes() {
        if escaped.len() + 4 > HOST_LENGTH {
            break;
        }
        match byte {
            b'/' | b':' | b'\\' | 0..=b' ' | 0x7F.. => {
                // Writing to a String does not fail.
                let _ = write!(escaped, "\\{byte:03o}");
            }
            _ => escaped.push(char::from(byte)),
        }
    }
    if escaped.is_empty() {
        String::from("localhost")
    } else {
        escaped
    }
}

#[cfg(unix)]
fn host_name() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_host_name_cannot_be_a_directory_or_flags() {
        let long = "x".repeat(300);
        let cases = [
            ("mx.example.com", "mx.example.com"),
            ("a/b:c", "a\\057b\\072c"),
            ("a\\b c\n", "a\\134b\\040c\\012"),
            ("", "localhost"),
        ];
        for (host, escaped) in cases {
            assert_eq!(escape_host(host), escaped);
        }
        assert!(escape_host(&long).len() <= HOST_LENGTH);
    }

    #[test]
    fn names_of_one_instant_and_of_a_clock_before_1970_differ() {
        let instants = [
            UNIX_EPOCH,
            UNIX_EPOCH,
            UNIX_EPOCH - Duration::from_secs(1),
            SystemTime::now(),
        ];
        let names: HashSet<String> = instants.into_iter().map(unique).collect();
        assert_eq!(names.len(), instants.len());
        for name in names {
            assert!(is_unique_name(OsStr::new(&name)), "{name}");
            assert!(name.len() < 255 && !name.contains(['/', ':']), "{name}");
        }
    }

    #[test]
    fn names_sort_in_the_order_of_arrival() {
        let second = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let names = [0, 9, 983, 18_381, 999_999, 1_000_000]
            .map(|micros| unique(second + Duration::from_micros(micros)));
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn only_delivery_names_look_like_temporaries() {
        for name in [
            "1700000000.M1P2Q3.host",
            "1.x.y",
            "1700000000.12345_1.mx.example.com,S=12",
        ] {
            assert!(is_unique_name(OsStr::new(name)), "{name}");
        }
        for name in [
            "",
            "notes.txt",
            ".keep",
            "1700000000",
            "1700000000.host",
            "1..host",
            "1.x.",
            "x1.y.z",
            "-1.y.z",
        ] {
            assert!(!is_unique_name(OsStr::new(name)), "{name}");
        }
    }
}
