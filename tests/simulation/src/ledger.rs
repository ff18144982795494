//! Who sent what, and what became of it.

use std::collections::HashMap;

use prixfixe_server::header_separator;

use crate::content::Content;
use crate::disk::DiskEvent;
use crate::runtime::Nanos;
use crate::violation::{Invariant, Violation};

/// One attempt to send a message.
#[derive(Debug)]
pub struct Transmission {
    pub client: usize,
    pub content: Content,
    /// Those that are to be in the envelope.
    pub recipients: Vec<String>,
    pub sender: String,
    /// All of it was given to the network.
    pub complete: bool,
    pub acknowledged: bool,
    /// It was refused for good, so that it may not be stored.
    pub refused: bool,
    /// Its files in `new/`.
    files: Vec<usize>,
    durable: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    transmissions: Vec<Transmission>,
    by_file: HashMap<usize, u32>,
    fsync: bool,
    power_was_lost: bool,
    pub acknowledged: u64,
    pub violations: Vec<Violation>,
}

impl Ledger {
    pub fn new(fsync: bool) -> Self {
        Self {
            fsync,
            ..Self::default()
        }
    }

    /// The number of the next transmission.
    pub fn next(&self) -> u32 {
        self.transmissions.len() as u32
    }

    pub fn begin(
        &mut self,
        client: usize,
        sender: String,
        recipients: Vec<String>,
        content: Content,
    ) -> u32 {
        let token = self.next();
        self.transmissions.push(Transmission {
            client,
            content,
            recipients,
            sender,
            complete: false,
            acknowledged: false,
            refused: false,
            files: Vec::new(),
            durable: false,
        });
        token
    }

    fn get(&mut self, token: u32) -> &mut Transmission {
        &mut self.transmissions[token as usize]
    }

    pub fn completed(&mut self, token: u32) {
        self.get(token).complete = true;
    }

    pub fn refused(&mut self, token: u32) {
        self.get(token).refused = true;
    }

    /// The client has read the `250`.
    pub fn acknowledged(&mut self, token: u32, now: Nanos) {
        self.acknowledged += 1;
        let fsync = self.fsync;
        let transmission = self.get(token);
        transmission.acknowledged = true;
        let (files, durable, client) = (
            transmission.files.len(),
            transmission.durable,
            transmission.client,
        );
        if !fsync && self.power_was_lost {
            // Without fsync nothing is promised for that.
            return;
        }
        if files != 1 {
            self.violated(
                Invariant::Acknowledged,
                now,
                format!("c{client} was told 250 for message {token}, of which {files} are stored"),
            );
        } else if fsync && !durable {
            self.violated(
                Invariant::Acknowledged,
                now,
                format!(
                    "c{client} was told 250 for message {token}, which a loss of power would take"
                ),
            );
        }
    }

    pub fn violated(&mut self, invariant: Invariant, at: Nanos, detail: String) {
        self.violations.push(Violation {
            invariant,
            at,
            detail,
        });
    }

    pub fn disk(&mut self, event: DiskEvent, now: Nanos) {
        match event {
            DiskEvent::Published {
                inode,
                content,
                whole,
            } => self.published(inode, &content, whole, now),
            DiskEvent::Removed { inode } => {
                if let Some(&token) = self.by_file.get(&inode) {
                    self.get(token).files.retain(|file| *file != inode);
                }
            }
            DiskEvent::Durable { inode } => {
                if let Some(&token) = self.by_file.get(&inode) {
                    self.get(token).durable = true;
                }
            }
        }
    }

    fn published(&mut self, inode: usize, file: &[u8], whole: bool, now: Nanos) {
        if !whole {
            self.violated(
                Invariant::Whole,
                now,
                String::from("a file is visible of which a loss of power would leave a part"),
            );
        }
        match parse(file) {
            Some(stored) if (stored.token as usize) < self.transmissions.len() => {
                self.by_file.insert(inode, stored.token);
                let transmission = self.get(stored.token);
                transmission.files.push(inode);
                if let Some(wrong) = stored.differs_from(transmission) {
                    let client = transmission.client;
                    self.violated(
                        Invariant::Whole,
                        now,
                        format!("message {} of c{client} is stored, {wrong}", stored.token),
                    );
                }
            }
            _ => self.violated(
                Invariant::Whole,
                now,
                format!(
                    "a file in new/ is no message: {:?}",
                    String::from_utf8_lossy(&file[..file.len().min(300)])
                ),
            ),
        }
    }

    /// These files are there after a loss of power.
    pub fn power_lost(&mut self, survivors: &[(usize, bool)], now: Nanos) {
        self.power_was_lost = true;
        for transmission in &mut self.transmissions {
            transmission.files.clear();
        }
        for &(file, whole) in survivors {
            if let Some(&token) = self.by_file.get(&file) {
                self.get(token).files.push(file);
                if !whole && self.fsync {
                    self.violated(
                        Invariant::Whole,
                        now,
                        format!("a loss of power has left a part of message {token}"),
                    );
                }
            }
        }
        if !self.fsync {
            return;
        }
        let lost: Vec<usize> = (0..self.transmissions.len())
            .filter(|&token| {
                self.transmissions[token].acknowledged && self.transmissions[token].files.len() != 1
            })
            .collect();
        for token in lost {
            self.violated(
                Invariant::Survives,
                now,
                format!("message {token} was acknowledged, and a loss of power took it"),
            );
        }
    }

    /// At the end of a run.
    pub fn close(&mut self, now: Nanos, power_was_lost: bool) {
        let mut found = Vec::new();
        for (token, transmission) in self.transmissions.iter().enumerate() {
            let files = transmission.files.len();
            if transmission.acknowledged && files != 1 && (self.fsync || !power_was_lost) {
                found.push((
                    Invariant::Acknowledged,
                    format!("message {token} was acknowledged and is there {files} times"),
                ));
            }
            if transmission.refused && files > 0 {
                found.push((
                    Invariant::Refused,
                    format!("message {token} was refused and is stored"),
                ));
            }
            if files > 1 {
                found.push((
                    Invariant::Acknowledged,
                    format!("message {token} is stored {files} times"),
                ));
            }
        }
        for (invariant, detail) in found {
            self.violated(invariant, now, detail);
        }
    }

    pub fn transmissions(&self) -> usize {
        self.transmissions.len()
    }
}

/// A file in the Maildir.
struct Stored<'f> {
    token: u32,
    sender: &'f str,
    recipients: Vec<&'f str>,
    content: &'f [u8],
}

impl Stored<'_> {
    fn differs_from(&self, transmission: &Transmission) -> Option<String> {
        if !transmission.complete {
            return Some(String::from("but its end was never sent"));
        }
        if self.sender != transmission.sender {
            return Some(format!(
                "from {}, and not from {}",
                self.sender, transmission.sender
            ));
        }
        if self.recipients != transmission.recipients {
            return Some(format!(
                "to {:?}, and not to {:?}",
                self.recipients, transmission.recipients
            ));
        }
        let sent = transmission.content.octets(self.token);
        // A content that would go on with the trace headers is kept apart from them.
        let content = match header_separator(&sent) {
            [] => self.content,
            separator => self.content.strip_prefix(separator).unwrap_or(self.content),
        };
        if content != sent {
            return Some(format!(
                "with {} octets, of {} that were sent",
                self.content.len(),
                sent.len()
            ));
        }
        if transmission.content.fault.is_some() {
            return Some(String::from("but has a fault"));
        }
        None
    }
}

/// Takes the trace headers apart. `None`: these are none of ours.
fn parse(file: &[u8]) -> Option<Stored<'_>> {
    let mut rest = file;
    let mut line = || {
        let end = memchr::memmem::find(rest, b"\r\n")?;
        let (line, behind) = rest.split_at(end + 2);
        rest = behind;
        std::str::from_utf8(&line[..end]).ok()
    };
    let sender = line()?.strip_prefix("Return-Path: <")?.strip_suffix('>')?;
    let token = sender.split('@').next()?.split('.').nth(2)?.parse().ok()?;
    let mut recipients = Vec::new();
    let mut received = line()?;
    while let Some(recipient) = received.strip_prefix("Delivered-To: ") {
        recipients.push(recipient);
        received = line()?;
    }
    received.strip_prefix("Received: from ")?;
    // The date, behind the semicolon, is its last line.
    while !line()?.ends_with(';') {}
    line()?.strip_prefix('\t')?;
    Some(Stored {
        token,
        sender,
        recipients,
        content: rest,
    })
}
