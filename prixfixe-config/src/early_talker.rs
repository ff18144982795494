//! How long a client has to keep quiet.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::given::Problem;
use super::units::Seconds;

/// A time that clients wait for a greeting, or `off`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EarlyTalker(Duration);

impl EarlyTalker {
    pub const OFF: Self = Self(Duration::ZERO);

    /// RFC 5321 section 4.5.3.2.1 has clients wait for 5 minutes, and many are less patient.
    const LONGEST: u64 = 30;

    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for EarlyTalker {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::OFF);
        }
        let longest = Self::LONGEST;
        let time = text.parse::<Seconds<0>>().map(Seconds::get).ok();
        match time.filter(|time| time.as_secs() <= longest) {
            Some(time) => Ok(Self(time)),
            None => {
                Err(format!("`{text}` is no time to wait; give off, or 1s to {longest}s").into())
            }
        }
    }
}

impl fmt::Display for EarlyTalker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => f.write_str("off"),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

impl Serialize for EarlyTalker {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EarlyTalker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// What a file may have there.
struct Written;

impl Visitor<'_> for Written {
    type Value = EarlyTalker;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, or a string with a unit")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<EarlyTalker, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<EarlyTalker, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_that_clients_wait_for() {
        for (text, shown) in [("off", "off"), ("0", "off"), ("2s", "2s"), ("30", "30s")] {
            assert_eq!(text.parse::<EarlyTalker>().unwrap().to_string(), shown);
        }
        for text in ["31s", "500ms", "-1", "on", ""] {
            assert!(text.parse::<EarlyTalker>().is_err(), "{text}");
        }
    }
}
