//! Answers to the open question, and what the client is told of them.

use std::time::Instant;

use super::reply::Outcome;
use super::{Connection, RefusedChunk};
use crate::state::{Say, Text};
use crate::{Abort, Answer, Protocol, Question, Reply, idle, replies};

impl Connection {
    /// Answers the open question. Without one, nothing happens: the session may have been closed by
    /// then.
    pub fn answer(&mut self, now: Instant, answer: Answer, output: &mut Vec<u8>) {
        if matches!(answer, Answer::Accept)
            && let Some((state, line)) = self.state.accepted_as_usual()
        {
            self.state = state;
            output.extend_from_slice(line);
            self.unit.next(now);
            return self.watch_idleness(now);
        }
        self.answer_at_length(now, answer, output);
    }

    fn answer_at_length(&mut self, now: Instant, answer: Answer, output: &mut Vec<u8>) {
        let question = self.question();
        let (answer, each) = match answer {
            Answer::Each(replies) => self.outcomes(replies),
            answer => (answer, Vec::new()),
        };
        let Some((state, say)) = self.state.answered(answer, &self.config) else {
            return;
        };
        self.state = state;
        let is_positive = matches!(&say, Say::Reply(reply) if reply.is_positive());
        // A refusal by the handler is no bad command, so it is not counted as one.
        match say {
            Say::Reply(reply) if self.idles_by_refusal(question, &reply) => {
                self.refuse_idleness(&[], output);
            }
            Say::Reply(_) if !each.is_empty() => {
                for reply in &each {
                    reply.encode(output);
                }
            }
            Say::Reply(reply) => {
                reply.encode(output);
                if question == Some(Question::Message) {
                    self.repeat(&reply, output);
                }
            }
            Say::Refusal(reply) => match self.reply(&reply, output) {
                Outcome::Done => {}
                Outcome::Refused => self.untold = Some(Abort::Refused(reply)),
                Outcome::SessionEnded => {
                    self.untold = Some(Abort::Refused(replies::TOO_MANY_ERRORS))
                }
            },
            Say::AfterChunk { chunk, reply } => {
                self.refused_chunk = Some(RefusedChunk {
                    chunk,
                    reply,
                    forgiven: true,
                    ends_message: true,
                    of_message: true,
                });
            }
            Say::Text(Text::Greeting) if self.shutting_down => {}
            Say::Text(text) => self.say(text, output),
            Say::Nothing => {}
        }
        match question {
            Some(Question::Auth) => self.authenticated = is_positive,
            Some(Question::Data) if self.state.takes_body() => self.idle.message_begins(now),
            Some(Question::Message) => self.idle.begin_anew(now),
            _ => {}
        }
        self.unit.next(now);
        if self.refused_chunk.is_some() {
            self.unit.refuse(now);
        }
        self.leave_if_idle(output);
        self.watch_idleness(now);
    }

    /// The answer to the dialogue, and the replies to the recipients where they differ.
    ///
    /// In the middle of several replies the session cannot end, so that one which would end it
    /// becomes 451.
    #[cold]
    fn outcomes(&self, mut replies: Vec<Reply>) -> (Answer, Vec<Reply>) {
        let is_lmtp = self.protocol == Protocol::Lmtp;
        if !is_lmtp
            || self.question() != Some(Question::Message)
            || u32::try_from(replies.len()) != Ok(self.recipients)
        {
            return (Answer::Each(replies), Vec::new());
        }
        for reply in &mut replies {
            let is_outcome = reply.is_positive() || reply.is_transient() || reply.is_permanent();
            if !is_outcome || reply.code() == 421 || reply.closes() {
                *reply = replies::LOCAL_ERROR;
            }
        }
        (Answer::Accept, replies)
    }

    /// The reply to the data has left: in LMTP that was the first recipient's, and the others get
    /// theirs (RFC 2033 section 4.2). A 421 ends the session and is said once.
    pub(super) fn repeat(&self, reply: &Reply, output: &mut Vec<u8>) {
        if self.protocol == Protocol::Lmtp && reply.code() != 421 {
            for _ in 1..self.recipients {
                reply.encode(output);
            }
        }
    }

    /// An answer to MAIL or RCPT that is one refusal too many since the last message.
    fn idles_by_refusal(&mut self, question: Option<Question>, reply: &Reply) -> bool {
        matches!(question, Some(Question::Mail | Question::Rcpt))
            && !self.is_closed()
            && idle::counts_refusal(reply)
            && !self.idle.allows_command(self.config.max_idle_commands)
    }
}
