//! Counts, sizes, times and switches as people write them.
//!
//! Every parser gives what is wrong and what would be right; the caller adds where it was written.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::given::Problem;

pub(crate) const DAY: u64 = 86_400;

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count<const MIN: u32, const MAX: u32>(u32);

/// Bytes within bounds: `10485760`, `10MB` (10^6) or `10MiB` (2^20).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size<const MIN: u64, const MAX: u64>(u64);

/// Whole seconds up to a day, or more where so many days make sense: `300`, `300s`, `5m` or
/// `1h30m`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds<const MIN: u64, const MAX: u64 = DAY>(u64);

impl<const MIN: u32, const MAX: u32> Count<MIN, MAX> {
    /// A default, which lies within the bounds as a rule.
    pub fn nearest(number: impl TryInto<u32>) -> Self {
        Self(number.try_into().unwrap_or(MAX).clamp(MIN, MAX))
    }

    pub const fn get(self) -> u32 {
        self.0
    }

    pub fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    pub fn nearest(bytes: u64) -> Self {
        Self(bytes.clamp(MIN, MAX))
    }

    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Seconds<MIN, MAX> {
    pub fn nearest(time: Duration) -> Self {
        Self(time.as_secs().clamp(MIN, MAX))
    }

    pub const fn get(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl<const MIN: u32, const MAX: u32> FromStr for Count<MIN, MAX> {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let expected = format!("give a whole number from {MIN} to {MAX}");
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("`{text}` is not a whole number; {expected}").into());
        }
        // All digits: the parser's only objection is that they are too many.
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(format!("{text} is out of range; {expected}").into()),
        }
    }
}

impl<const MIN: u64, const MAX: u64> FromStr for Size<MIN, MAX> {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Ok(Self(size(text, MIN..=MAX)?))
    }
}

/// Bytes within bounds that are known at run time.
pub fn size(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let (least, most) = (bounds.start(), bounds.end());
    let expected = format!("give {least} to {most}, in octets or with a unit (10MB, 10MiB)");
    let unit = text
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
        .trim_start();
    // `10M` is 10^6 to some and 2^20 to others.
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

impl<const MIN: u64, const MAX: u64> FromStr for Seconds<MIN, MAX> {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let expected = format!("give {MIN} to {MAX} whole seconds, or with units (90s, 5m, 1h30m)");
        let time = match text.parse().map(Duration::from_secs) {
            Ok(time) => time,
            Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Duration::MAX
            }
            Err(_) => match humantime::parse_duration(text) {
                Ok(time) => time,
                Err(humantime::DurationError::NumberOverflow) => Duration::MAX,
                Err(_) => return Err(format!("`{text}` is not a time; {expected}").into()),
            },
        };
        if time.subsec_nanos() != 0 || !(MIN..=MAX).contains(&time.as_secs()) {
            return Err(format!("{text} is out of range; {expected}").into());
        }
        Ok(Self(time.as_secs()))
    }
}

/// Yes or no.
pub fn switch(text: &str) -> Result<bool, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!(
            "`{text}` is neither yes nor no; give true or false (also 1, yes, on, 0, no, off)"
        )
        .into()),
    }
}

/// The opposite, for a flag that turns something off.
pub fn no(text: &str) -> Result<bool, Problem> {
    switch(text).map(|no| !no)
}

/// Reads a TOML integer, and a string where there are units.
struct Number<T> {
    expecting: &'static str,
    has_units: bool,
    kind: PhantomData<T>,
}

impl<T: FromStr<Err = Problem>> Number<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, has_units: bool) -> Result<T, D::Error> {
        let expecting = match has_units {
            true => "an integer, or a string with a unit",
            false => "an integer",
        };
        deserializer.deserialize_any(Self {
            expecting,
            has_units,
            kind: PhantomData,
        })
    }

    fn number<E: de::Error>(number: impl Display) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

impl<T: FromStr<Err = Problem>> de::Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Self::number(number)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Self::number(number)
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<T, E> {
        Self::number(number)
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> Result<T, E> {
        Self::number(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        match self.has_units {
            true => text.parse().map_err(E::custom),
            false => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
        }
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Number::read(deserializer, false)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Size<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Number::read(deserializer, true)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Seconds<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Number::read(deserializer, true)
    }
}

impl<const MIN: u32, const MAX: u32> Serialize for Count<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Size<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Seconds<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count<const MIN: u32, const MAX: u32>(text: &str) -> Result<u32, String> {
        let count = text.parse::<Count<MIN, MAX>>();
        count.map(Count::get).map_err(|problem| problem.to_string())
    }

    fn time<const MIN: u64>(text: &str) -> Result<Duration, String> {
        let time = text.parse::<Seconds<MIN>>();
        time.map(Seconds::get)
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn counts() {
        assert_eq!(count::<1, 9>("1"), Ok(1));
        assert_eq!(count::<1, 9>("009"), Ok(9));
        for text in ["", "x", "-1", "+1", " 1", "1.0", "1e3", "0x10", "١"] {
            let expected =
                format!("`{text}` is not a whole number; give a whole number from 1 to 9");
            assert_eq!(count::<1, 9>(text), Err(expected));
        }
        for text in ["0", "10", "99999999999999999999999999"] {
            let expected = format!("{text} is out of range; give a whole number from 1 to 9");
            assert_eq!(count::<1, 9>(text), Err(expected));
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
            assert_eq!(time::<1>(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(time::<0>("0"), Ok(Duration::ZERO));
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
            assert_eq!(time::<1>(text), Err(expected), "{text}");
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
}
