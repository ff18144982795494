//! Contents of messages, made anew from a few numbers wherever they are needed.

use std::fmt;

use memchr::memmem;

/// What a content is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines of letters.
    Text,
    /// Lines that begin with dots, or are nothing else.
    Dots,
    /// One line.
    LongLine,
    /// Lines of any octets but CR, LF and NUL.
    EightBit,
    /// Any octets at all. Only by BDAT with BODY=BINARYMIME.
    Binary,
}

/// What is wrong with a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A LF without CR.
    BareLf,
    /// A CR without LF.
    BareCr,
    /// LF dot CR LF: an end of the message for some servers, and a command behind it.
    Smuggled,
    /// A hundred and one Received headers.
    Loop,
}

/// A content, given by what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub form: Form,
    /// About so many octets.
    pub size: usize,
    pub fault: Option<Fault>,
}

/// How the server has to take a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Sound,
    Bare,
    TooLarge,
    /// Both faults are so near each other that either may be seen first.
    BareOrTooLarge,
    Loop,
}

impl Content {
    /// The octets, which end with CR LF unless they are binary. The salt makes them differ.
    #[must_use]
    pub fn octets(&self, salt: u32) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.size + 128);
        if self.fault == Some(Fault::Loop) {
            for _ in 0..101 {
                octets.extend_from_slice(b"Received: from here by here\r\n");
            }
        }
        let mut state = salt.wrapping_mul(2_654_435_761) | 1;
        let mut number = 0_u32;
        while octets.len() < self.size {
            self.line(&mut octets, number, &mut state);
            number += 1;
        }
        if self.form == Form::LongLine && self.size > 0 {
            octets.extend_from_slice(b"\r\n");
        }
        let place = self.fault_place();
        let fault: &[u8] = match self.fault {
            Some(Fault::BareLf) => b"\n",
            Some(Fault::BareCr) => b"\r",
            Some(Fault::Smuggled) => b"x\n.\r\nMAIL FROM:<ok.store.0@smuggled.example>\r\n",
            Some(Fault::Loop) | None => b"",
        };
        if !fault.is_empty() {
            let text = b"fault here: ".iter().chain(fault).chain(b"!\r\n");
            let place = if octets.len() <= 2 {
                0
            } else {
                line_start(&octets, place)
            };
            octets.splice(place..place, text.copied());
        }
        octets
    }

    fn fault_place(&self) -> usize {
        self.size / 2
    }

    fn line(&self, octets: &mut Vec<u8>, number: u32, state: &mut u32) {
        let mut next = || {
            *state ^= *state << 13;
            *state ^= *state >> 17;
            *state ^= *state << 5;
            *state
        };
        match self.form {
            Form::Text => {
                octets.extend_from_slice(b"A line of text that is as long as such lines are: ");
                octets.extend_from_slice(&next().to_be_bytes().map(|byte| b'a' + byte % 26));
                octets.extend_from_slice(b"\r\n");
            }
            Form::Dots => {
                let lines: [&[u8]; 6] = [
                    b".\r\n", b"..\r\n", b".x\r\n", b"\r\n", b"x.\r\n", b". \r\n",
                ];
                octets.extend_from_slice(lines[(next() as usize + number as usize) % lines.len()]);
            }
            Form::LongLine => {
                octets.extend_from_slice(&next().to_be_bytes().map(|byte| b'a' + byte % 26))
            }
            Form::EightBit => {
                for _ in 0..16 {
                    let bytes = next().to_be_bytes();
                    octets.extend(bytes.map(|byte| {
                        if matches!(byte, 0 | b'\r' | b'\n') {
                            0xE4
                        } else {
                            byte
                        }
                    }));
                }
                octets.extend_from_slice(b"\r\n");
            }
            Form::Binary => octets.extend_from_slice(&next().to_be_bytes()),
        }
    }
}

/// The start of the line in which a place is.
fn line_start(octets: &[u8], place: usize) -> usize {
    let before = octets.get(..place).unwrap_or(octets);
    before
        .windows(2)
        .rposition(|pair| pair == b"\r\n")
        .map_or(0, |at| at + 2)
}

/// How a content has to be taken where the limit is this.
#[must_use]
pub fn verdict(octets: &[u8], binary: bool, limit: u64) -> Verdict {
    let received = memmem::find_iter(octets, b"\r\nReceived:").count()
        + usize::from(octets.starts_with(b"Received:"));
    if received > 100 {
        return Verdict::Loop;
    }
    let bare = if binary { None } else { first_bare(octets) };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match bare {
        Some(at) if at + 4 < limit => Verdict::Bare,
        Some(at) if octets.len() > limit && at <= limit.saturating_add(4) => {
            Verdict::BareOrTooLarge
        }
        Some(_) if octets.len() <= limit => Verdict::Bare,
        _ if octets.len() > limit => Verdict::TooLarge,
        _ => Verdict::Sound,
    }
}

fn first_bare(octets: &[u8]) -> Option<usize> {
    (0..octets.len()).find(|&at| match octets[at] {
        b'\r' => octets.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || octets[at - 1] != b'\r',
        _ => false,
    })
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} octets", self.form, self.size)?;
        match self.fault {
            Some(fault) => write!(f, " with {fault:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_seen_and_sound_contents_are_sound() {
        let limit = 100_000;
        for form in [Form::Text, Form::Dots, Form::LongLine, Form::EightBit] {
            for size in [0, 1, 50, 5000] {
                let of = |fault| verdict(&Content { form, size, fault }.octets(3), false, limit);
                assert_eq!(of(None), Verdict::Sound, "{form:?} {size}");
                for fault in [Fault::BareLf, Fault::BareCr, Fault::Smuggled] {
                    assert_eq!(of(Some(fault)), Verdict::Bare, "{form:?} {size} {fault:?}");
                }
                assert_eq!(of(Some(Fault::Loop)), Verdict::Loop);
            }
        }
    }
}
