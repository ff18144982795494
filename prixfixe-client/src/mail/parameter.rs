//! Values of parameters.

use std::io::Write as _;

use super::InvalidArgument;

/// RFC 3461 section 4.4.
pub(super) const MAX_ENVID: usize = 100;
/// RFC 3461 section 4.2.
pub(super) const MAX_ORCPT: usize = 500;

/// What a content is made of (RFC 6152, RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BodyType {
    /// Lines of ASCII.
    #[default]
    SevenBit,
    /// Lines of any bytes.
    EightBitMime,
    /// Any bytes. It can only be sent with BDAT.
    BinaryMime,
}

/// What a notification of a failure returns (RFC 3461 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// When a notification is wanted (RFC 3461 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notify {
    success: bool,
    failure: bool,
    delay: bool,
}

impl Ret {
    pub(super) const fn parameter(self) -> &'static [u8] {
        match self {
            Self::Full => b" RET=FULL",
            Self::Headers => b" RET=HDRS",
        }
    }
}

impl Notify {
    /// Never.
    pub const NEVER: Self = Self {
        success: false,
        failure: false,
        delay: false,
    };
    /// When the message was delivered.
    pub const SUCCESS: Self = Self {
        success: true,
        ..Self::NEVER
    };
    /// When it was not, and will not be.
    pub const FAILURE: Self = Self {
        failure: true,
        ..Self::NEVER
    };
    /// When it is late.
    pub const DELAY: Self = Self {
        delay: true,
        ..Self::NEVER
    };

    /// In either case.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            success: self.success || other.success,
            failure: self.failure || other.failure,
            delay: self.delay || other.delay,
        }
    }

    pub(super) fn encode(self, output: &mut Vec<u8>) {
        output.extend_from_slice(b" NOTIFY=");
        if self == Self::NEVER {
            return output.extend_from_slice(b"NEVER");
        }
        let words = [
            (self.success, "SUCCESS"),
            (self.failure, "FAILURE"),
            (self.delay, "DELAY"),
        ];
        let mut separator: &[u8] = b"";
        for (_, word) in words.iter().filter(|(wanted, _)| *wanted) {
            output.extend_from_slice(separator);
            output.extend_from_slice(word.as_bytes());
            separator = b",";
        }
    }
}

/// Accepts printable ASCII of at most so many bytes.
pub(super) fn check(text: &str, longest: usize) -> Result<(), InvalidArgument> {
    if text.is_empty() || text.len() > longest {
        return Err(InvalidArgument::Length);
    }
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        Ok(())
    } else {
        Err(InvalidArgument::Character)
    }
}

/// RFC 3461 section 4: `xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for
/// "+" and "="`.
pub(super) fn write_xtext(text: &str, output: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' | b' ' => {
                // Writing to a Vec cannot fail.
                let _ = write!(output, "+{byte:02X}");
            }
            byte => output.push(byte),
        }
    }
}
