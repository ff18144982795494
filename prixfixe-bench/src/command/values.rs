//! Values of the options of `prixfixe bench` as people write them.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;

use crate::plan::Content;

/// More connections than this are a slip of the pen: a worker is memory whether it connects or not.
pub(super) const MOST_CONNECTIONS: i64 = 200_000;

/// Messages are made in memory.
const MOST_BYTES: u64 = 1 << 30;

/// One `--source`.
#[derive(Debug, Clone)]
pub(super) struct Sources(pub(super) Vec<IpAddr>);

impl Sources {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        sources(text).map(Self)
    }
}

/// `30s`, `5m`, `1h 30m`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|_| "not a time; write 30s, 5m or 1h".to_owned())
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than nothing".to_owned()),
        time => Ok(time),
    }
}

pub(super) fn at_most<const MOST: i64>(text: &str) -> Result<NonZeroU32, String> {
    match text.parse::<NonZeroU32>() {
        Ok(number) if i64::from(number.get()) <= MOST => Ok(number),
        _ => Err(format!("not a number between 1 and {MOST}")),
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e8).contains(&rate) => Ok(rate),
        _ => Err("not a number of messages a second between 0.001 and 100000000".to_owned()),
    }
}

pub(super) fn chunk(text: &str) -> Result<NonZeroU64, String> {
    let size = bytes(text, 1..=MOST_BYTES)?;
    NonZeroU64::new(size).ok_or_else(|| "must be more than nothing".to_owned())
}

pub(super) fn size(text: &str) -> Result<Content, String> {
    /// A CRLF: the smallest message.
    const LEAST: u64 = 2;
    let bytes = |text| bytes(text, LEAST..=MOST_BYTES);
    let Some((least, most)) = text.split_once('-') else {
        return Ok(Content::Size(bytes(text)?));
    };
    let (least, most) = (bytes(least)?, bytes(most)?);
    if least > most {
        Err(format!("the range {text} is upside down"))
    } else {
        Ok(Content::Sizes(least..=most))
    }
}

/// Bytes with or without a unit, in the words of the server's own sizes.
fn bytes(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let (least, most) = (bounds.start(), bounds.end());
    let expected = format!("give {least} to {most}, in octets or with a unit (10MB, 10MiB)");
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    // `10M` is 10^6 to some and 2^20 to others.
    let unit = unit.trim_start();
    if unit.len() == 1 && !unit.eq_ignore_ascii_case("B") {
        return Err(format!(
            "`{text}` leaves open whether {unit}B or {unit}iB is meant; {expected}"
        ));
    }
    match text.parse::<ByteSize>() {
        Ok(size) if bounds.contains(&size.as_u64()) => Ok(size.as_u64()),
        Ok(_) => Err(format!("{text} is out of range; {expected}")),
        Err(_) => Err(format!("`{text}` is not a size; {expected}")),
    }
}

/// Source addresses: one, or a range of IPv4 addresses such as `127.0.0.1-127.0.0.20`.
pub(super) fn sources(text: &str) -> Result<Vec<IpAddr>, String> {
    /// A range that is larger is a slip of the pen.
    const MOST: u32 = 65_536;
    let Some((first, last)) = text.split_once('-') else {
        return text
            .parse()
            .map(|address| vec![address])
            .map_err(|_| format!("`{text}` is no IP address"));
    };
    let parse = |text: &str| {
        text.parse::<Ipv4Addr>()
            .map(u32::from)
            .map_err(|_| format!("`{text}` is no IPv4 address"))
    };
    let (first, last) = (parse(first)?, parse(last)?);
    if last < first || last - first >= MOST {
        return Err(format!("`{text}` is no range of up to {MOST} addresses"));
    }
    Ok((first..=last)
        .map(|address| IpAddr::V4(address.into()))
        .collect())
}

/// What goes into a command: anything else could make two of one.
pub(super) fn address(text: &str) -> Result<String, String> {
    if text
        .bytes()
        .any(|byte| byte.is_ascii_control() || matches!(byte, b'<' | b'>' | b' '))
    {
        return Err("no spaces, control characters or angle brackets".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_carry_a_command() {
        assert!(address("a@b>\r\nRSET").is_err());
        assert!(address("user{n}@example.com").is_ok());
    }

    #[test]
    fn a_size_has_a_unit_that_means_one_thing() {
        assert_eq!(bytes("10KiB", 1..=MOST_BYTES), Ok(10_240));
        assert_eq!(bytes("10 kB", 1..=MOST_BYTES), Ok(10_000));
        for (text, problem) in [
            ("10M", "`10M` leaves open whether MB or MiB is meant"),
            ("0", "0 is out of range"),
            ("ten", "`ten` is not a size"),
        ] {
            let expected =
                format!("{problem}; give 1 to 9, in octets or with a unit (10MB, 10MiB)");
            assert_eq!(bytes(text, 1..=9), Err(expected));
        }
    }

    #[test]
    fn sources_are_addresses_and_ranges() {
        assert_eq!(sources("::1").unwrap().len(), 1);
        assert_eq!(sources("127.0.0.1-127.0.1.0").unwrap().len(), 256);
        for bad in ["x", "127.0.0.2-127.0.0.1", "::1-::2", "1.0.0.0-2.0.0.0"] {
            assert!(sources(bad).is_err(), "{bad:?}");
        }
    }
}
