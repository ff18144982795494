//! What a milter answers, and what it wants changed.

use crate::packet::{Packet, number, text};
use crate::{Actions, CustomReply, MilterError};

/// What a milter has said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The negotiation is over: commands can be sent.
    Negotiated,
    /// It is still at work; whoever has a clock starts it anew.
    Progress,
    /// It wants something changed in the message. The answer comes after all changes.
    Change(Modification),
    /// It has answered the last command.
    Answer(Answer),
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Go on.
    Continue,
    /// No further questions: of the connection, where it answers a connection or HELO, otherwise of
    /// the message.
    Accept,
    /// No further questions of this kind in this message.
    Skip,
    /// Refuse for good: the connection, the recipient, the message.
    Reject,
    /// Refuse for now.
    TempFail,
    /// Refuse in the milter's own words.
    Reply(CustomReply),
    /// Take the message and throw it away.
    Discard,
    /// Close the client's connection, with 421.
    Shutdown,
}

/// A change of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Modification {
    /// A header field behind the others.
    AddHeader {
        /// The field's name.
        name: String,
        /// What stands behind the colon.
        value: String,
    },
    /// A header field at a place.
    InsertHeader {
        /// The place: 0 is before all others.
        at: u32,
        /// The field's name.
        name: String,
        /// What stands behind the colon.
        value: String,
    },
    /// Another value for a header field, or none: then it is removed.
    ChangeHeader {
        /// The field's name.
        name: String,
        /// Which field of that name, counted from 1.
        occurrence: u32,
        /// What stands behind the colon; empty: the field is removed.
        value: String,
    },
    /// Another sender.
    ChangeSender {
        /// The address, mostly in angle brackets.
        address: String,
        /// Parameters of MAIL.
        parameters: String,
    },
    /// One recipient more.
    AddRecipient {
        /// The address, mostly in angle brackets.
        address: String,
        /// Parameters of RCPT.
        parameters: String,
    },
    /// One recipient less.
    RemoveRecipient {
        /// The address, mostly in angle brackets.
        address: String,
    },
    /// A piece of the body that takes the place of the client's. All pieces together are the body.
    ReplaceBody(Vec<u8>),
    /// The message is suspicious; the reason is for people.
    Quarantine {
        /// Why.
        reason: String,
    },
}

/// A packet in its meaning.
pub(crate) enum Said {
    Answer(Answer),
    Change(Modification, Actions),
    Progress,
    ConnectionFails,
}

/// Reads a packet that is no negotiation.
pub(crate) fn read(packet: &Packet) -> Result<Said, MilterError> {
    let mut fields = &*packet.fields;
    let malformed = MilterError::Malformed(packet.command);
    let mut take = || text(&mut fields).map(lossy).ok_or(malformed.clone());
    let (change, action) = match packet.command {
        b'c' => return Ok(Said::Answer(Answer::Continue)),
        b'a' => return Ok(Said::Answer(Answer::Accept)),
        b's' => return Ok(Said::Answer(Answer::Skip)),
        b'r' => return Ok(Said::Answer(Answer::Reject)),
        b't' => return Ok(Said::Answer(Answer::TempFail)),
        b'd' => return Ok(Said::Answer(Answer::Discard)),
        b'4' => return Ok(Said::Answer(Answer::Shutdown)),
        b'y' => return CustomReply::read(&packet.fields).map(|it| Said::Answer(Answer::Reply(it))),
        b'p' => return Ok(Said::Progress),
        b'f' => return Ok(Said::ConnectionFails),
        b'h' => {
            let (name, value) = (take()?, take().unwrap_or_default());
            (
                Modification::AddHeader { name, value },
                Actions::ADD_HEADERS,
            )
        }
        b'i' | b'm' => return read_numbered(packet),
        b'e' => {
            let (address, parameters) = (take()?, take().unwrap_or_default());
            let change = Modification::ChangeSender {
                address,
                parameters,
            };
            (change, Actions::CHANGE_SENDER)
        }
        b'+' => {
            let (address, parameters) = (take()?, String::new());
            let change = Modification::AddRecipient {
                address,
                parameters,
            };
            (change, Actions::ADD_RECIPIENT)
        }
        b'2' => {
            let (address, parameters) = (take()?, take().unwrap_or_default());
            let change = Modification::AddRecipient {
                address,
                parameters,
            };
            (change, Actions::ADD_RECIPIENT_WITH_PARAMETERS)
        }
        b'-' => {
            let address = take()?;
            (
                Modification::RemoveRecipient { address },
                Actions::DELETE_RECIPIENT,
            )
        }
        b'b' => (
            Modification::ReplaceBody(packet.fields.clone()),
            Actions::CHANGE_BODY,
        ),
        b'q' => {
            let reason = take().unwrap_or_default();
            (Modification::Quarantine { reason }, Actions::QUARANTINE)
        }
        other => return Err(MilterError::Unexpected(other)),
    };
    Ok(Said::Change(change, action))
}

/// Changes of header fields that have a place.
fn read_numbered(packet: &Packet) -> Result<Said, MilterError> {
    let mut fields = &*packet.fields;
    let malformed = || MilterError::Malformed(packet.command);
    let place = number(&mut fields).ok_or_else(malformed)?;
    let name = text(&mut fields).map(lossy).ok_or_else(malformed)?;
    let value = text(&mut fields).map(lossy).unwrap_or_default();
    Ok(match packet.command {
        b'i' => {
            let change = Modification::InsertHeader {
                at: place,
                name,
                value,
            };
            Said::Change(change, Actions::ADD_HEADERS)
        }
        _ => {
            // libmilter sends 0 for the first one too.
            let occurrence = place.max(1);
            let change = Modification::ChangeHeader {
                name,
                occurrence,
                value,
            };
            Said::Change(change, Actions::CHANGE_HEADERS)
        }
    })
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
