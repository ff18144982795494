//! What a milter may do, and which steps of the protocol it wants.

use std::ops::{BitAnd, BitOr};

macro_rules! flags {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $flag:ident = $value:literal;)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(u32);

        impl $name {
            /// None of them.
            pub const NONE: Self = Self(0);
            $($(#[$doc])* pub const $flag: Self = Self($value);)*
            /// All of them.
            pub const ALL: Self = Self(0 $(| $value)*);

            /// Those of a number in a packet.
            #[must_use]
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            /// The number that goes into a packet.
            #[must_use]
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Whether all of these are among them.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
        }

        impl BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl BitAnd for $name {
            type Output = Self;

            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }
    };
}

flags! {
    /// What a milter may do (`SMFIF_…`).
    Actions {
        /// Add and insert header fields.
        ADD_HEADERS = 0x001;
        /// Replace the body.
        CHANGE_BODY = 0x002;
        /// Add recipients.
        ADD_RECIPIENT = 0x004;
        /// Remove recipients.
        DELETE_RECIPIENT = 0x008;
        /// Change and remove header fields.
        CHANGE_HEADERS = 0x010;
        /// Quarantine the message.
        QUARANTINE = 0x020;
        /// Change the sender.
        CHANGE_SENDER = 0x040;
        /// Add recipients with parameters.
        ADD_RECIPIENT_WITH_PARAMETERS = 0x080;
        /// Say which macros it wants.
        SET_MACROS = 0x100;
    }
}

flags! {
    /// Steps that a milter leaves out, does not answer, or wants in another form (`SMFIP_…`).
    Steps {
        /// It is not told of connections.
        NO_CONNECT = 0x0000_0001;
        /// It is not told of HELO.
        NO_HELO = 0x0000_0002;
        /// It is not told of MAIL.
        NO_MAIL = 0x0000_0004;
        /// It is not told of RCPT.
        NO_RCPT = 0x0000_0008;
        /// It gets no body.
        NO_BODY = 0x0000_0010;
        /// It gets no header fields.
        NO_HEADERS = 0x0000_0020;
        /// It is not told of the end of the header.
        NO_END_OF_HEADER = 0x0000_0040;
        /// It does not answer header fields.
        SILENT_HEADER = 0x0000_0080;
        /// It is not told of unknown commands.
        NO_UNKNOWN = 0x0000_0100;
        /// It is not told of DATA.
        NO_DATA = 0x0000_0200;
        /// It may skip the rest of what is of one kind.
        SKIP = 0x0000_0400;
        /// It does not answer connections.
        SILENT_CONNECT = 0x0000_1000;
        /// It does not answer HELO.
        SILENT_HELO = 0x0000_2000;
        /// It does not answer MAIL.
        SILENT_MAIL = 0x0000_4000;
        /// It does not answer RCPT.
        SILENT_RCPT = 0x0000_8000;
        /// It does not answer DATA.
        SILENT_DATA = 0x0001_0000;
        /// It does not answer unknown commands.
        SILENT_UNKNOWN = 0x0002_0000;
        /// It does not answer the end of the header.
        SILENT_END_OF_HEADER = 0x0004_0000;
        /// It does not answer pieces of the body.
        SILENT_BODY = 0x0008_0000;
        /// Values of header fields have the blank that stands behind the colon.
        LEADING_SPACE = 0x0010_0000;
    }
}
