//! Where content leads, and the line behind a challenge.

use super::{Say, State, Step};
use crate::body::Progress;
use crate::chunk::Chunk;
use crate::{Event, Reply, Secret, replies};

impl State {
    /// The line behind a challenge came: a response, or what ends the login.
    pub(crate) fn response(self, response: Result<Secret, Reply>) -> (Self, Step<'static>) {
        match response {
            Ok(response) => (Self::AuthAsked, Step::ask(Event::AuthResponse(response))),
            Err(reply) => {
                let event = Some(Event::AuthAborted(reply.clone()));
                let say = Say::Reply(reply);
                (Self::Ready, Step { say, event })
            }
        }
    }

    /// Octets of a body came; small pieces of it are put together in the room, if there is some.
    /// `None`: they are used up, more are to follow.
    pub(crate) fn body<'i: 'r, 'r>(
        self,
        input: &mut &'i [u8],
        room: &mut &'r mut [u8],
    ) -> (Self, Option<Step<'r>>) {
        match self {
            Self::Data(mut body) => match body.read(input, room) {
                Progress::More => (Self::Data(body), None),
                Progress::Piece(piece) => (Self::Data(body), Some(Step::ask(Event::Body(piece)))),
                Progress::Refused(refusal) => {
                    (Self::Data(body), Some(Step::refused(refusal, Say::Nothing)))
                }
                Progress::End => match body.refusal() {
                    Some(refusal) => (Self::Ready, Some(Step::reply(refusal.reply()))),
                    None => (
                        Self::MessageAsked,
                        Some(Step::message_end(body.content().size())),
                    ),
                },
            },
            Self::InChunk(mut chunk, mut body) => match body.read(&mut chunk, input, room) {
                Progress::More => (Self::InChunk(chunk, body), None),
                Progress::Piece(piece) => (
                    Self::InChunk(chunk, body),
                    Some(Step::ask(Event::Body(piece))),
                ),
                Progress::Refused(refusal) => {
                    let reply = refusal.reply();
                    let say = Say::AfterChunk { chunk, reply };
                    (
                        Self::after_refused(chunk),
                        Some(Step::refused(refusal, say)),
                    )
                }
                Progress::End if chunk.is_last() => (
                    Self::MessageAsked,
                    Some(Step::message_end(body.content().size())),
                ),
                Progress::End => (
                    Self::BetweenChunks(body),
                    Some(Step::reply(replies::CHUNK_OK)),
                ),
            },
            other => (other, None),
        }
    }

    /// Where the refusal of a chunk leads: the last one ends what failed.
    pub(super) const fn after_refused(chunk: Chunk) -> Self {
        if chunk.is_last() {
            Self::Ready
        } else {
            Self::ChunkRefused
        }
    }
}
