//! Counts, sizes, times and switches as people write them.
//!
//! Every parser gives what is wrong and what would be right; the caller adds where it was written.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

const DAY: u64 = 86_400;

/// A whole number within bounds.
pub(crate) fn count<N>(text: &str, bounds: RangeInclusive<N>) -> Result<N, String>
where
    N: FromStr + PartialOrd + Display,
{
    let expected = || {
        format!(
            "give a whole number from {} to {}",
            bounds.start(),
            bounds.end()
        )
    };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` is not a whole number; {}", expected()));
    }
    // All digits: the parser's only objection is that they are too many.
    match text.parse() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(format!("{text} is out of range; {}", expected())),
    }
}

/// Octets: `10485760`, `10MB` (10^6) or `10MiB` (2^20).
pub(crate) fn size(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let expected = || {
        format!(
            "give {} to {}, in octets or with a unit (10MB, 10MiB)",
            bounds.start(),
            bounds.end()
        )
    };
    let unit = text
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
        .trim_start();
    // `10M` is 10^6 to some and 2^20 to others.
    if unit.len() == 1 && !unit.eq_ignore_ascii_case("B") {
        return Err(format!(
            "`{text}` leaves open whether {unit}B or {unit}iB is meant; {}",
            expected()
        ));
    }
    match text.parse::<ByteSize>() {
        Ok(size) if bounds.contains(&size.as_u64()) => Ok(size.as_u64()),
        Ok(_) => Err(format!("{text} is out of range; {}", expected())),
        Err(_) => Err(format!("`{text}` is not a size; {}", expected())),
    }
}

/// Whole seconds up to a day: `300`, `300s`, `5m` or `1h30m`.
pub(crate) fn time(text: &str, least: u64) -> Result<Duration, String> {
    let expected =
        || format!("give {least} to {DAY} whole seconds, or with units (90s, 5m, 1h30m)");
    let time = match text.parse().map(Duration::from_secs) {
        Ok(time) => time,
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Duration::MAX
        }
        Err(_) => match humantime::parse_duration(text) {
            Ok(time) => time,
            Err(humantime::DurationError::NumberOverflow) => Duration::MAX,
            Err(_) => return Err(format!("`{text}` is not a time; {}", expected())),
        },
    };
    if time.subsec_nanos() != 0 || !(least..=DAY).contains(&time.as_secs()) {
        return Err(format!("{text} is out of range; {}", expected()));
    }
    Ok(time)
}

/// Yes or no.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!(
            "`{text}` is neither yes nor no; give true or false (also 1, yes, on, 0, no, off)"
        )),
    }
}

/// One of a few words, in any case.
pub(crate) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text))
    {
        return Ok(*value);
    }
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(format!(
        "`{text}` is not known; give one of {}",
        words.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        assert_eq!(count("1", 1..=9), Ok(1));
        assert_eq!(count("009", 1..=9), Ok(9));
        for text in ["", "x", "-1", "+1", " 1", "1.0", "1e3", "0x10", "١"] {
            let expected =
                format!("`{text}` is not a whole number; give a whole number from 1 to 9");
            assert_eq!(count(text, 1..=9), Err(expected));
        }
        for text in ["0", "10", "99999999999999999999999999"] {
            let expected = format!("{text} is out of range; give a whole number from 1 to 9");
            assert_eq!(count(text, 1..=9), Err(expected));
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("1", 1),
            ("500B", 500),
            ("10kB", 10_000),
            ("10 KiB", 10_240),
            ("10MB", 10_000_000),
            ("10mib", 10_485_760),
            ("1.5MiB", 1_572_864),
            ("1GB", 1_000_000_000),
            ("1GiB", 1 << 30),
        ];
        for (text, octets) in cases {
            assert_eq!(size(text, 1..=u64::MAX), Ok(octets), "{text}");
        }
        for (text, problem) in [
            ("", "`` is not a size"),
            ("ten", "`ten` is not a size"),
            ("-1", "`-1` is not a size"),
            ("10 apples", "`10 apples` is not a size"),
            ("10M", "`10M` leaves open whether MB or MiB is meant"),
            ("0", "0 is out of range"),
            ("101", "101 is out of range"),
            (
                "99999999999999999999",
                "`99999999999999999999` is not a size",
            ),
            (
                "99999999999999999999EiB",
                "99999999999999999999EiB is out of range",
            ),
        ] {
            let expected =
                format!("{problem}; give 1 to 100, in octets or with a unit (10MB, 10MiB)");
            assert_eq!(size(text, 1..=100), Err(expected));
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [
            ("300", 300),
            ("300s", 300),
            ("5m", 300),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("1d", DAY),
            ("60000ms", 60),
        ] {
            assert_eq!(time(text, 1), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(time("0", 0), Ok(Duration::ZERO));
        for (text, problem) in [
            ("", "`` is not a time"),
            ("soon", "`soon` is not a time"),
            ("-5", "`-5` is not a time"),
            ("5 apples", "`5 apples` is not a time"),
            ("0", "0 is out of range"),
            ("1500ms", "1500ms is out of range"),
            ("2d", "2d is out of range"),
            (
                "99999999999999999999",
                "99999999999999999999 is out of range",
            ),
            (
                "99999999999999999999s",
                "99999999999999999999s is out of range",
            ),
        ] {
            let expected =
                format!("{problem}; give 1 to 86400 whole seconds, or with units (90s, 5m, 1h30m)");
            assert_eq!(time(text, 1), Err(expected), "{text}");
        }
    }

    #[test]
    fn switches() {
        for text in ["1", "true", "Yes", "ON"] {
            assert_eq!(switch(text), Ok(true));
        }
        for text in ["0", "false", "No", "off"] {
            assert_eq!(switch(text), Ok(false));
        }
        for text in ["", "2", "maybe"] {
            assert!(switch(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words() {
        let words = [("text", 1), ("json", 2)];
        assert_eq!(word("JSON", &words), Ok(2));
        assert_eq!(
            word("xml", &words),
            Err("`xml` is not known; give one of text, json".to_owned())
        );
    }
}
