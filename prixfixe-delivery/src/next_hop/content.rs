//! The content on its way, and what the next hop says about it.

use bytes::{Bytes, BytesMut};
use prixfixe_client::{Reply, ReplyBuf, Stage, Unsendable};
use prixfixe_server::{Body, BodyError, header_separator, reply};

use super::link::{Link, Said, now};
use super::transaction::EIGHT_BIT;
use super::trouble::{Trouble, is_about_mail, our_matter, said};
use crate::target::{Delivered, Failure, Outcomes};

/// A content goes to the next hop once so much of it is here. With the 64 KiB that a [`Body`] takes
/// from its client before it lets the client wait, that is 256 KiB.
pub(super) const FRONT: usize = 192 << 10;
/// A chunk of what follows.
const CHUNK: usize = 64 << 10;
/// Copies of short pieces are put together in blocks of this size.
const BLOCK: usize = 32 << 10;
/// How much of a content is given to the dialogue at once, and how much of it may wait there.
const STEP: usize = 16 << 10;
const WAITING: usize = 32 << 10;

/// A part of a content.
#[derive(Debug, Default)]
pub(super) struct Part {
    pieces: Vec<Bytes>,
    /// Copies of pieces that were short.
    block: BytesMut,
    length: usize,
    /// Nothing comes after it.
    is_last: bool,
}

impl Part {
    /// At least so much of the content, or all that is left of it.
    pub(super) async fn gather(body: &mut Body, least: usize) -> Result<Self, BodyError> {
        let mut part = Self::default();
        while part.length < least {
            match body.chunk().await? {
                Some(piece) => part.push(piece),
                None => {
                    part.is_last = true;
                    break;
                }
            }
        }
        part.close_block();
        Ok(part)
    }

    /// A piece may hold more memory than it has bytes, so only one that is alone is kept as it is.
    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if self.length == piece.len() {
            self.pieces.push(piece);
            return;
        }
        if self.block.capacity() == 0
            && let Some(first) = self.pieces.pop()
        {
            self.copy(&first);
        }
        self.copy(&piece);
    }

    fn copy(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.block.len() == self.block.capacity() {
                self.close_block();
                self.block = BytesMut::with_capacity(BLOCK);
            }
            let room = self.block.capacity() - self.block.len();
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.block.extend_from_slice(now);
            bytes = later;
        }
    }

    fn close_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            self.pieces.push(block.freeze());
        }
    }

    /// The first part of a content, behind the headers that were put before it.
    pub(super) fn behind(mut self, mut headers: Vec<u8>) -> Self {
        let first = self.pieces.first().map(|piece| &**piece);
        headers.extend_from_slice(header_separator(first.unwrap_or_default()));
        self.length += headers.len();
        self.pieces.insert(0, Bytes::from(headers));
        self
    }

    pub(super) fn is_ascii(&self) -> bool {
        self.pieces.iter().all(|piece| piece.is_ascii())
    }
}

/// Why a content was not sent to its end, or not answered.
#[derive(Debug)]
pub(super) enum Stop {
    /// The connection is of no use any more.
    Lost(Trouble),
    /// The rest of the content will not come, or cannot be sent.
    Broken(Failure),
}

impl Stop {
    /// What is wrong with the next hop, where that is it.
    pub(super) fn trouble(&self) -> Option<String> {
        match self {
            Self::Lost(trouble) if trouble.verdict().is_none() => Some(trouble.text().to_owned()),
            _ => None,
        }
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Lost(trouble)
    }
}

impl From<BodyError> for Stop {
    fn from(error: BodyError) -> Self {
        Self::Broken(Failure::said(error.into()))
    }
}

impl From<Unsendable> for Stop {
    fn from(error: Unsendable) -> Self {
        match error {
            Unsendable::BareLineEnd => Self::Broken(Failure::said(
                reply!(550 5.5.2 "Bare CR or LF in the message"),
            )),
            error => Self::Lost(Trouble::new(format!("the content cannot be sent: {error}"))),
        }
    }
}

/// Sends a content, of which the front is here, and waits for what the next hop says about it.
pub(super) async fn deliver(
    link: &mut Link,
    verdicts: &mut Verdicts,
    front: Part,
    body: &mut Body,
    is_strict: bool,
) -> Result<(), Stop> {
    let mut sender = Sender {
        link,
        verdicts,
        body,
        is_strict,
    };
    match sender.link.dialogue.extensions().chunking {
        true => sender.send_chunks(front).await?,
        false => sender.send_data(front).await?,
    }
    while !sender.verdicts.is_over {
        let said = sender.link.next().await?;
        sender.verdicts.take(said);
    }
    Ok(())
}

struct Sender<'a> {
    link: &'a mut Link,
    verdicts: &'a mut Verdicts,
    body: &'a mut Body,
    /// Bytes over 127 are refused.
    is_strict: bool,
}

impl Sender<'_> {
    /// With BDAT (RFC 3030).
    async fn send_chunks(&mut self, front: Part) -> Result<(), Stop> {
        self.link.dialogue.bdat(now())?;
        let mut part = front;
        loop {
            let length = part.length as u64;
            match self.link.dialogue.lend_chunk(now(), length, part.is_last) {
                Ok(()) => {}
                // A chunk before it was refused.
                Err(Unsendable::Failed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            part.pieces
                .into_iter()
                .for_each(|piece| self.link.lent.push(piece));
            if part.is_last {
                return Ok(());
            }
            if self.flush().await? {
                return Ok(());
            }
            part = Part::gather(self.body, CHUNK).await?;
            self.check(part.is_ascii())?;
        }
    }

    /// With DATA.
    async fn send_data(&mut self, front: Part) -> Result<(), Stop> {
        self.link.dialogue.data(now())?;
        loop {
            match self.link.next().await? {
                Said::Content => break,
                said => self.verdicts.take(said),
            }
            if self.verdicts.is_over {
                return Ok(());
            }
        }
        let is_whole = front.is_last;
        for piece in front.pieces {
            if self.give(&piece).await? {
                return Ok(());
            }
        }
        if !is_whole && self.send_rest().await? {
            return Ok(());
        }
        self.link.dialogue.finish_content(now())?;
        Ok(())
    }

    /// What comes behind the front. True when the transaction has ended meanwhile.
    async fn send_rest(&mut self) -> Result<bool, Stop> {
        loop {
            // Nothing that is here waits for what is not.
            if self.flush().await? {
                return Ok(true);
            }
            let Some(piece) = self.body.chunk().await? else {
                return Ok(false);
            };
            self.check(piece.is_ascii())?;
            if self.give(&piece).await? {
                return Ok(true);
            }
        }
    }

    /// Gives a piece to the dialogue. True when the transaction has ended meanwhile.
    async fn give(&mut self, piece: &[u8]) -> Result<bool, Stop> {
        let mut waiting = 0;
        for step in piece.chunks(STEP) {
            if waiting >= WAITING {
                if self.flush().await? {
                    return Ok(true);
                }
                waiting = 0;
            }
            let mut step = step;
            while !step.is_empty() {
                let taken = self.link.dialogue.send_content(now(), step)?;
                if taken == 0 && self.flush().await? {
                    return Ok(true);
                }
                waiting += taken;
                step = step.get(taken..).unwrap_or_default();
            }
        }
        Ok(false)
    }

    /// Sends all there is. True when the transaction has ended meanwhile.
    async fn flush(&mut self) -> Result<bool, Stop> {
        while let Some(said) = self.link.flush().await? {
            self.verdicts.take(said);
            if self.verdicts.is_over {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn check(&self, is_ascii: bool) -> Result<(), Stop> {
        match self.is_strict && !is_ascii {
            true => Err(Stop::Broken(Failure::said(EIGHT_BIT))),
            false => Ok(()),
        }
    }
}

/// What the next hop has said about a content.
#[derive(Debug)]
pub(super) struct Verdicts {
    is_lmtp: bool,
    /// Recipients, as the dialogue counts them, with what became of them.
    recipients: Vec<(usize, Option<Result<Delivered, Failure>>)>,
    is_over: bool,
    /// What is wrong with the next hop.
    trouble: Option<String>,
}

impl Verdicts {
    pub(super) fn new(is_lmtp: bool, accepted: Vec<usize>) -> Self {
        Self {
            is_lmtp,
            recipients: accepted.into_iter().map(|number| (number, None)).collect(),
            is_over: false,
            trouble: None,
        }
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Data(reply) => self.judge(Stage::Data, None, &reply),
            Said::Chunk(Err(reply)) => self.judge(Stage::Content, None, &reply),
            Said::Message(recipient, reply) => self.judge(Stage::Content, recipient, &reply),
            Said::Done => self.is_over = true,
            _ => {}
        }
    }

    fn judge(&mut self, stage: Stage, recipient: Option<usize>, reply: &ReplyBuf) {
        let (code, reply) = (reply.code(), reply.as_reply());
        let result = match code {
            200..=299 => Ok(Delivered::saying(shown(reply))),
            _ if is_about_mail(stage, code) => Err(said(reply)),
            _ => {
                let text = our_matter(stage, reply);
                self.trouble = Some(text.clone());
                Err(Failure::unreachable(text))
            }
        };
        let concerned = |number: usize| recipient.is_none_or(|recipient| recipient == number);
        for (number, outcome) in &mut self.recipients {
            if outcome.is_none() && concerned(*number) {
                *outcome = Some(result.clone());
            }
        }
    }

    /// Nothing more will be said.
    pub(super) fn stop(&mut self, stop: Stop) {
        let failure = match stop {
            Stop::Lost(trouble) => trouble.verdict().unwrap_or_else(|| trouble.failure()),
            Stop::Broken(failure) => failure,
        };
        for (_, outcome) in &mut self.recipients {
            outcome.get_or_insert_with(|| Err(failure.clone()));
        }
    }

    pub(super) fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    pub(super) fn finish(&mut self) -> Outcomes {
        let nothing = || Err(Failure::unreachable("the server said nothing about it"));
        let recipients = std::mem::take(&mut self.recipients);
        let mut each = recipients
            .into_iter()
            .map(|(_, outcome)| outcome.unwrap_or_else(nothing));
        match self.is_lmtp {
            true => Outcomes::Each(each.collect()),
            false => Outcomes::All(each.next().unwrap_or_else(nothing)),
        }
    }
}

/// The next hop's words for the log.
fn shown(reply: Reply<'_>) -> String {
    let mut text = reply.to_string();
    if let Some((end, _)) = text.char_indices().nth(400) {
        text.truncate(end);
    }
    text
}
