//! Packets: a length in four bytes, a command in one, and its fields.

use crate::MilterError;

/// How much room a length takes.
const LENGTH: usize = 4;

/// Puts bytes together to packets.
#[derive(Debug)]
pub(crate) struct Packets {
    received: Vec<u8>,
    /// How much of that was taken already.
    taken: usize,
    /// The largest packet, without its length.
    limit: u32,
}

/// A packet that is there whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) command: u8,
    pub(crate) fields: Vec<u8>,
}

impl Packets {
    pub(crate) const fn new(limit: u32) -> Self {
        Self {
            received: Vec::new(),
            taken: 0,
            limit,
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.received.drain(..self.taken.min(self.received.len()));
        self.taken = 0;
        self.received.extend_from_slice(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.received.len() <= self.taken
    }

    /// The next packet, once it is complete. A length that is not taken is an error before its
    /// packet comes.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, MilterError> {
        let rest = self.received.get(self.taken..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        if length == 0 || length > self.limit {
            return Err(MilterError::PacketSize(length));
        }
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((&command, fields)) = rest.get(..size).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        let fields = fields.to_vec();
        self.taken += LENGTH + size;
        Ok(Some(Packet { command, fields }))
    }
}

/// Appends a packet. Fields never reach 4 GB: commands are cut to what a milter takes.
pub(crate) fn write(output: &mut Vec<u8>, command: u8, fields: &[&[u8]]) {
    let size: usize = fields.iter().map(|field| field.len()).sum();
    let length = u32::try_from(size.saturating_add(1)).unwrap_or(u32::MAX);
    output.extend_from_slice(&length.to_be_bytes());
    output.push(command);
    fields.iter().for_each(|it| output.extend_from_slice(it));
}

/// Takes a text and its NUL from the front. The NUL may be missing behind the last one.
pub(crate) fn text<'a>(fields: &mut &'a [u8]) -> Option<&'a [u8]> {
    if fields.is_empty() {
        return None;
    }
    let end = fields.iter().position(|byte| *byte == 0);
    let (text, rest) = fields.split_at_checked(end.unwrap_or(fields.len()))?;
    *fields = rest.get(1..).unwrap_or_default();
    Some(text)
}

/// Takes a number from the front.
pub(crate) fn number(fields: &mut &[u8]) -> Option<u32> {
    let (number, rest) = fields.split_first_chunk::<4>()?;
    *fields = rest;
    Some(u32::from_be_bytes(*number))
}
