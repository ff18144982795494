//! Internationalised labels as ASCII (RFC 3492).
//!
//! Only this way round is needed: domains are compared as A-labels, and one that is an A-label
//! already stays as it is. So a forged A-label, which decodes to something else than it was made
//! of, is equal to nothing but itself.

const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_N: u32 = 0x80;

/// Appends the encoded label, without `xn--` (RFC 3492 section 6.3). `None`: it is too long to be
/// encoded, and what was appended is of no use.
pub(crate) fn encode(label: &str, output: &mut String) -> Option<()> {
    output.extend(label.chars().filter(char::is_ascii));
    let basic = u32::try_from(label.chars().filter(char::is_ascii).count()).ok()?;
    if basic > 0 {
        output.push('-');
    }
    let length = u32::try_from(label.chars().count()).ok()?;
    let (mut next, mut delta, mut bias, mut handled) = (INITIAL_N, 0_u32, INITIAL_BIAS, basic);
    while handled < length {
        let codes = label.chars().map(u32::from);
        let least = codes.clone().filter(|code| *code >= next).min()?;
        delta = delta.checked_add((least - next).checked_mul(handled + 1)?)?;
        next = least;
        for code in codes {
            if code < next {
                delta = delta.checked_add(1)?;
            } else if code == next {
                push_delta(delta, bias, output);
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        next += 1;
    }
    Some(())
}

/// A number of variable length, which says itself where it ends.
fn push_delta(delta: u32, bias: u32, output: &mut String) {
    let mut rest = delta;
    let mut k = BASE;
    loop {
        let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
        if rest < threshold {
            output.push(digit(rest));
            return;
        }
        output.push(digit(threshold + (rest - threshold) % (BASE - threshold)));
        rest = (rest - threshold) / (BASE - threshold);
        k += BASE;
    }
}

/// Section 6.1.
fn adapt(delta: u32, points: u32, is_first: bool) -> u32 {
    let mut delta = delta / if is_first { DAMP } else { 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

/// `a` to `z`, then `0` to `9`.
fn digit(value: u32) -> char {
    let first = if value < 26 {
        u32::from(b'a')
    } else {
        u32::from(b'0') - 26
    };
    char::from_u32(first + value).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3492 section 7.1, in lower case.
    #[test]
    fn the_samples_of_the_rfc() {
        for (label, encoded) in [
            ("ليهمابتكلموشعربي؟", "egbpdaj6bu4bxfgehfvwxn"),
            ("他们为什么不说中文", "ihqwcrb4cv8a8dqg056pqjye"),
            ("Pročprostěnemluvíčesky", "Proprostnemluvesky-uyb24dma41a"),
            (
                "почемужеонинеговорятпорусски",
                "b1abfaaepdrnnbgefbadotcwatmq2g4l",
            ),
            ("3年b組金八先生", "3b-ww4c5e180e575a65lsy2b"),
            ("ひとつ屋根の下2", "2-u9tlzr9756bt3uc0v"),
            ("パフィーdeルンバ", "de-jg4avhby1noc0d"),
            ("そのスピードで", "d9juau41awczczp"),
            ("bücher", "bcher-kva"),
        ] {
            let mut output = String::new();
            let done = encode(label, &mut output);
            assert_eq!(
                (done, output.to_lowercase()),
                (Some(()), encoded.to_lowercase()),
                "{label}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_not_encoded() {
        let label = format!("{}\u{10ffff}", "x".repeat(10_000));
        assert_eq!(encode(&label, &mut String::new()), None);
    }
}
