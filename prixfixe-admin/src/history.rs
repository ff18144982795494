//! The last hour, for the plots of the status page: a reading every 2 seconds, kept small.
//!
//! A sample holds what each counter gained since the sample before it, and each gauge as it was.
//! Only what is not zero is kept, as pairs of a byte and a number of seven bits a byte (LEB128): an
//! idle server's sample takes about 30 bytes, a busy one's 150. However large the numbers are, all
//! samples together stay under [`MOST_BYTES`]: the oldest go first.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use super::reading::{Kind, Reading};

/// How often a sample is taken.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// An hour of them.
const MOST_SAMPLES: usize = 1800;

/// Memory that they may take together, in bytes: less than 500 KB with the names of the series.
const MOST_BYTES: usize = 470_000;

/// Series that are told apart; an index is one byte. The fixed ones are about a hundred.
const MOST_SERIES: usize = 255;

/// What an allocation takes beside its content.
const ALLOCATION: usize = 16;

/// The samples of the last hour.
#[derive(Debug, Default)]
pub(super) struct History {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    series: Vec<Series>,
    samples: VecDeque<Sample>,
    /// What the samples take.
    bytes: usize,
    /// The number of the latest sample; the first is 1.
    number: u64,
}

#[derive(Debug)]
struct Series {
    name: String,
    kind: Kind,
    /// The counter's value at the latest sample.
    last: u64,
}

#[derive(Debug)]
struct Sample {
    number: u64,
    milliseconds: i64,
    packed: Box<[u8]>,
}

/// The samples after one that was seen, as `/status.json` has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct HistoryReport {
    every_seconds: u64,
    /// What the indices of the samples stand for.
    series: Vec<String>,
    samples: Vec<SampleReport>,
}

/// In JSON one list: the number, the time in milliseconds since 1970, and then by turns an index
/// and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SampleReport {
    number: u64,
    milliseconds: i64,
    values: Vec<(u8, u64)>,
}

impl History {
    pub(super) fn add(&self, now: Timestamp, readings: Vec<Reading>) {
        self.lock().add(now.as_millisecond(), readings);
    }

    /// The samples with a higher number than `after`.
    pub(super) fn report(&self, after: u64) -> HistoryReport {
        let ring = self.lock();
        let samples = ring.samples.iter().filter(|it| it.number > after);
        HistoryReport {
            every_seconds: EVERY.as_secs(),
            series: ring.series.iter().map(|it| it.name.clone()).collect(),
            samples: samples.map(Sample::report).collect(),
        }
    }

    /// What the counters among `readings` gained in the last `seconds`, up to this reading of them.
    pub(super) fn gained(
        &self,
        now: Timestamp,
        seconds: u16,
        readings: &[Reading],
    ) -> Vec<(String, u64)> {
        let ring = self.lock();
        let since = now.as_millisecond() - i64::from(seconds) * 1000;
        let lately = ring.samples.iter().rev();
        let lately = lately.take_while(|it| it.milliseconds > since);
        let values: Vec<(u8, u64)> = lately.flat_map(|it| it.values()).collect();
        let gained = |reading: &Reading| {
            let place = ring.series.iter().position(|it| it.name == reading.name);
            let last = place.and_then(|place| ring.series.get(place));
            let unsampled = reading
                .value
                .saturating_sub(last.map_or(0, |series| series.last));
            let index = place.and_then(|place| u8::try_from(place).ok());
            let sampled = values.iter().filter(|(it, _)| Some(*it) == index);
            let sampled: u64 = sampled.map(|(_, value)| *value).sum();
            (reading.name.clone(), sampled + unsampled)
        };
        readings.iter().map(gained).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn add(&mut self, milliseconds: i64, readings: Vec<Reading>) {
        let mut packed = Vec::new();
        for reading in readings {
            let Some((index, series)) = self.series(reading.name, reading.kind) else {
                continue;
            };
            let value = match series.kind {
                Kind::Gauge => reading.value,
                Kind::Counter => reading.value.saturating_sub(series.last),
            };
            series.last = reading.value;
            if value > 0 {
                packed.push(index);
                push_number(&mut packed, value);
            }
        }
        self.number += 1;
        let sample = Sample {
            number: self.number,
            milliseconds,
            packed: packed.into(),
        };
        self.bytes += sample.size();
        self.samples.push_back(sample);
        while self.samples.len() > MOST_SAMPLES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.samples.pop_front() else {
                return;
            };
            self.bytes -= oldest.size();
        }
    }

    /// None where there are too many.
    fn series(&mut self, name: String, kind: Kind) -> Option<(u8, &mut Series)> {
        let known = self.series.iter().position(|it| it.name == name);
        let place = known.unwrap_or(self.series.len());
        if known.is_none() && self.series.len() < MOST_SERIES {
            let last = 0;
            self.series.push(Series { name, kind, last });
        }
        let index = u8::try_from(place).ok()?;
        Some((index, self.series.get_mut(place)?))
    }
}

impl Sample {
    fn size(&self) -> usize {
        size_of::<Self>() + ALLOCATION + self.packed.len()
    }

    fn report(&self) -> SampleReport {
        SampleReport {
            number: self.number,
            milliseconds: self.milliseconds,
            values: self.values().collect(),
        }
    }

    fn values(&self) -> impl Iterator<Item = (u8, u64)> {
        let mut rest = self.packed.iter();
        std::iter::from_fn(move || {
            let index = *rest.next()?;
            let mut value = 0;
            for (place, byte) in rest.by_ref().enumerate() {
                value |= u64::from(byte & 0x7F) << (7 * place);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            Some((index, value))
        })
    }
}

/// Seven bits a byte, the lowest first; all bytes but the last have the highest bit set.
fn push_number(packed: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        packed.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    packed.push(value as u8);
}

impl Serialize for SampleReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(2 + 2 * self.values.len()))?;
        list.serialize_element(&self.number)?;
        list.serialize_element(&self.milliseconds)?;
        for (index, value) in &self.values {
            list.serialize_element(index)?;
            list.serialize_element(value)?;
        }
        list.end()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn counter(name: &str, value: u64) -> Reading {
        Reading::new(name.to_owned(), Kind::Counter, value)
    }

    fn gauge(name: &str, value: u64) -> Reading {
        Reading::new(name.to_owned(), Kind::Gauge, value)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_counter_is_what_it_gained_and_a_gauge_what_it_is() {
        let history = History::default();
        for (second, a, b) in [(0, 5, 7), (2, 5, 0), (4, 300, 1 << 40)] {
            history.add(at(second), vec![counter("a", a), gauge("b", b)]);
        }
        let json = serde_json::to_string(&history.report(0)).unwrap();
        assert_eq!(
            json,
            r#"{"every_seconds":2,"series":["a","b"],"samples":[[1,0,0,5,1,7],[2,2000],[3,4000,0,295,1,1099511627776]]}"#
        );
        assert_eq!(history.report(2).samples.len(), 1);
        assert_eq!(history.report(3).samples.len(), 0);
    }

    #[test]
    fn what_came_lately_is_told_up_to_now() {
        let history = History::default();
        for second in 0..100 {
            let readings = vec![counter("a", 10 * second), counter("b", 1)];
            history.add(at(second.try_into().unwrap()), readings);
        }
        let readings = [counter("a", 1000), counter("b", 1), counter("new", 3)];
        let gained = history.gained(at(100), 60, &readings);
        // Of the samples those of seconds 41 to 99, and what came after them.
        let expected = [("a", 600), ("b", 0), ("new", 3)];
        assert_eq!(gained, expected.map(|(name, gained)| (name.into(), gained)));
    }

    #[test]
    fn an_hour_is_kept_in_under_500_kilobytes_however_large_the_numbers_are() {
        let usual = History::default();
        let worst = History::default();
        for second in 0..4000_u64 {
            let time = at((2 * second).try_into().unwrap());
            // A busy server: 40 series that move, by some thousands.
            let readings = (0..110_u64).map(|number| match number {
                0..40 => counter(&number.to_string(), second * 9000),
                _ => counter(&number.to_string(), 0),
            });
            usual.add(time, readings.collect());
            let readings = (0..300).map(|number| gauge(&format!("series {number}"), u64::MAX));
            worst.add(time, readings.collect());
        }
        for history in [&usual, &worst] {
            let ring = history.lock();
            let names: usize = ring.series.iter().map(|it| it.name.capacity()).sum();
            let series = ring.series.capacity() * size_of::<Series>() + names;
            let spare = ring.samples.capacity() - ring.samples.len();
            let all = ring.bytes + spare * size_of::<Sample>() + series;
            assert!(all < 500_000, "{all}");
        }
        assert_eq!(usual.report(0).samples.len(), MOST_SAMPLES);
        assert!(!worst.report(0).samples.is_empty());
    }
}
