//! The time of a line.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use super::number;

/// Writes times. What is the same for a whole second is kept.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<u64>,
    /// `2026-11-28T03:05:13`.
    until_second: String,
}

impl Clock {
    /// Writes a time as RFC 3339 with microseconds, in UTC: always 27 octets.
    pub(super) fn write(&mut self, out: &mut String, now: SystemTime) {
        // A clock before 1970 is not set yet.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            self.second = Some(since.as_secs());
            let second = i64::try_from(since.as_secs()).map(Timestamp::from_second);
            let second = second.map(Result::unwrap_or_default).unwrap_or_default();
            self.until_second = second.to_string();
            self.until_second.truncate("2026-11-28T03:05:13".len());
        }
        out.push_str(&self.until_second);
        out.push('.');
        number::write_fraction(out, since.subsec_micros());
        out.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_another_library() {
        let mut clock = Clock::default();
        let times = [
            0,
            1,
            999_999,
            1_000_000,
            951_782_399_999_999,
            951_782_400_000_000,
            951_782_400_000_001,
            1_795_835_113_681_202,
            1_795_835_113_681_203,
            0,
        ];
        for time in times {
            let time = UNIX_EPOCH + Duration::from_micros(time);
            let mut text = String::new();
            clock.write(&mut text, time);
            assert_eq!(text, humantime::format_rfc3339_micros(time).to_string());
        }
    }

    #[test]
    fn times_that_cannot_be_take_as_much_room() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let late = UNIX_EPOCH + Duration::from_secs(1 << 40);
        for time in [before, late] {
            let mut text = String::new();
            Clock::default().write(&mut text, time);
            assert_eq!(text, "1970-01-01T00:00:00.000000Z");
        }
    }
}
