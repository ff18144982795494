//! Numbers as text.
//!
//! As the standard library writes them. Its formatter costs several times as much, and in a line
//! there are always some. Fractions are those of a second in microseconds.

use std::fmt::Write as _;

/// What a fraction of a second is counted in.
const MICROS: u32 = 1_000_000;

/// Digits of such a fraction.
const FRACTION: usize = 6;

/// Up to here, each number of millionths is told apart by a float, and by the shortest text of one:
/// it has fewer than 16 digits.
const MOST_MICROS: f64 = 1e15;

/// Writes a whole number.
pub(super) fn write_unsigned(out: &mut String, number: u64) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Writes all six digits of a number of millionths.
pub(super) fn write_fraction(out: &mut String, micros: u32) {
    push(out, &fraction(micros));
}

/// Writes a number that may have a fraction.
pub(super) fn write_float(out: &mut String, number: f64) {
    // A duration is one of whole microseconds, and not below 0.
    let micros = (number * f64::from(MICROS)).round();
    let is_short = (0.0..MOST_MICROS).contains(&micros)
        && micros / f64::from(MICROS) == number
        && number.is_sign_positive();
    if !is_short {
        // A string takes all.
        let _ = write!(out, "{number}");
        return;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 1e15"
    )]
    let micros = micros as u64;
    write_unsigned(out, micros / u64::from(MICROS));
    let rest = u32::try_from(micros % u64::from(MICROS)).unwrap_or_default();
    if rest > 0 {
        let digits = fraction(rest);
        let zeros = digits.iter().rev().take_while(|&&it| it == b'0').count();
        out.push('.');
        push(out, digits.get(..FRACTION - zeros).unwrap_or_default());
    }
}

fn fraction(micros: u32) -> [u8; FRACTION] {
    let mut digits = [b'0'; FRACTION];
    let mut rest = micros;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    digits
}

fn push(out: &mut String, digits: &[u8]) {
    out.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn floats_at_the_ends_are_those_of_the_standard_library() {
        for number in [
            0.0,
            -0.0,
            1.0,
            0.25,
            1e-6,
            9e-7,
            0.1 + 0.2,
            0.000_123,
            -1.5,
            999_999_999.999_999,
            1e9,
            1e15,
            1e300,
            f64::MIN_POSITIVE,
            f64::MAX,
        ] {
            assert_eq!(written(|out| write_float(out, number)), number.to_string());
        }
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_the_standard_library(
            whole in any::<u64>(),
            places in 0_u32..64,
            float in any::<f64>(),
            micros in 0_u64..2_000_000_000_000_000,
        ) {
            let whole = whole >> places;
            prop_assert_eq!(written(|out| write_unsigned(out, whole)), whole.to_string());
            let micros = (micros >> (places % 50)) as f64 / 1e6;
            for number in [float, micros, float % 1e6] {
                prop_assert_eq!(written(|out| write_float(out, number)), number.to_string());
            }
        }
    }
}
