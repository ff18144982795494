//! What comes of a command, of a piece of a body or of an answer.

use crate::body::Refusal;
use crate::chunk::Chunk;
use crate::{Abort, Event, Reply};

/// What comes of a command, or of a piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step<'i> {
    pub(crate) say: Say,
    pub(crate) event: Option<Event<'i>>,
}

/// What the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Say {
    /// Nothing yet.
    Nothing,
    Text(Text),
    Reply(Reply),
    /// The caller refused a command that is none of SMTP's: one bad command more.
    Refusal(Reply),
    /// The rest of the chunk is skipped before it gets its reply: it is not to be run as commands.
    AfterChunk {
        chunk: Chunk,
        reply: Reply,
    },
}

/// What has no enhanced status code, and a form of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    Greeting,
    Hello,
    ExtendedHello,
    StartMailInput,
    Challenge(Vec<u8>),
}

impl<'i> Step<'i> {
    pub(super) fn reply(reply: Reply) -> Self {
        let say = Say::Reply(reply);
        Self { say, event: None }
    }

    pub(super) fn ask(event: Event<'i>) -> Self {
        Self {
            say: Say::Nothing,
            event: Some(event),
        }
    }

    pub(super) fn nothing() -> Self {
        Self {
            say: Say::Nothing,
            event: None,
        }
    }

    pub(super) fn after_chunk(chunk: Chunk, reply: Reply, event: Option<Event<'i>>) -> Self {
        let say = Say::AfterChunk { chunk, reply };
        Self { say, event }
    }

    pub(super) fn refused(refusal: Refusal, say: Say) -> Self {
        let event = Some(Event::MessageAborted(Abort::Refused(refusal.reply())));
        Self { say, event }
    }

    pub(super) fn message_end(size: u64) -> Self {
        Self::ask(Event::MessageEnd { size })
    }
}
