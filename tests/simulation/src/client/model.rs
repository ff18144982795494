//! What a client knows of its session, and so which replies it may get: the dialogue once more, as
//! plainly as can be.

use super::reply::Reply;
use crate::content::Verdict;
use crate::handler::{CONTENT_REFUSED, LATER, REFUSED};
use crate::runtime::Nanos;
use crate::scenario::{Answer, Handling, Limits};

/// What was sent and gets one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Nothing: the greeting is waited for.
    Connect(Answer),
    Hello,
    StartTls,
    Mail {
        answer: Answer,
        huge: bool,
        binary: bool,
    },
    Recipient(Answer),
    Data,
    Content {
        token: u32,
        verdict: Verdict,
        handling: Handling,
    },
    Chunk {
        token: u32,
        size: u64,
        last: bool,
        verdict: Verdict,
        handling: Handling,
    },
    Reset,
    Noop,
    Verify,
    Help,
    Quit,
    /// A command that earns this.
    Bad(u16, &'static str),
    Http,
    /// Half a command: there is no reply to it.
    Nothing,
}

/// Where the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Connect,
    Start,
    Ready,
    Mail,
    Recipients,
    Content,
    Chunks(u64),
    Failed,
    StartTls,
    Closed,
}

#[derive(Debug)]
pub struct Model {
    pub at: At,
    accepted: usize,
    binary: bool,
    errors: u32,
    /// Commands since the last message that brought none nearer.
    idle: u32,
    /// When the last message ended, or the connection began.
    pub idle_since: Nanos,
    pub tls_offered: bool,
}

/// What may have happened to the server or the network.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'c> {
    pub limits: &'c Limits,
    pub draining: bool,
    pub over_limit: bool,
    pub may_time_out: bool,
    pub now: Nanos,
    pub disk_may_fail: bool,
}

/// A reply that is allowed, and where it leads.
struct Allowed {
    code: u16,
    enhanced: &'static str,
    next: At,
    accepted: bool,
}

impl Model {
    pub fn new(now: Nanos) -> Self {
        Self {
            at: At::Connect,
            accepted: 0,
            binary: false,
            errors: 0,
            idle: 0,
            idle_since: now,
            tls_offered: false,
        }
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.at, At::Connect | At::Start | At::Ready | At::Failed)
    }

    /// A reply came to what was sent. An error: it is not one that may come.
    pub fn reply(
        &mut self,
        sent: Sent,
        reply: &Reply,
        now: Circumstances<'_>,
    ) -> Result<(), String> {
        let allowed = self.allowed(sent, now);
        let status = reply.enhanced.as_str();
        if let Some(met) = allowed
            .iter()
            .find(|it| it.code == reply.code && it.enhanced == status)
        {
            if is_error(sent, self.at, met) {
                if self.errors >= now.limits.max_errors {
                    return Err(format!(
                        "{sent:?} is one bad command too many, and was told {} {status}",
                        reply.code
                    ));
                }
                self.errors += 1;
            }
            if is_idle(sent, met) {
                if self.has_idled(now.limits) {
                    return Err(format!(
                        "{sent:?} is one idle command too many, and was told {} {status}",
                        reply.code
                    ));
                }
                self.idle += 1;
            }
            if ends_message(sent, self.at, met) {
                self.idle = 0;
                self.idle_since = now.now;
            }
            if met.accepted {
                self.take(sent);
            }
            self.at = met.next;
            return Ok(());
        }
        let closes = match (reply.code, status) {
            // RFC 5321 section 3.8: a command that gives up a transaction may be told in place of
            // its own reply, too.
            (421, "4.3.2") => {
                let idle = self.is_idle() || matches!(sent, Sent::Reset | Sent::Hello | Sent::Quit);
                (now.draining && idle) || (now.over_limit && self.at == At::Connect)
            }
            (421, "4.4.2") => now.may_time_out || self.may_idle_out(now),
            (421, "4.7.0") => allowed.iter().any(|it| {
                (self.errors >= now.limits.max_errors && is_error(sent, self.at, it))
                    || (self.has_idled(now.limits) && is_idle(sent, it))
            }),
            _ => false,
        };
        if closes {
            self.at = At::Closed;
            return Ok(());
        }
        let wanted: Vec<String> = allowed
            .iter()
            .map(|it| format!("{} {}", it.code, it.enhanced))
            .collect();
        Err(format!(
            "{sent:?} in {:?} was told {} {status} and not {}",
            self.at,
            reply.code,
            wanted.join(" or ")
        ))
    }

    /// A reply came to nothing that was sent.
    pub fn unasked(&mut self, reply: &Reply, now: Circumstances<'_>) -> Result<(), String> {
        let closes = match (reply.code, reply.enhanced.as_str()) {
            (421, "4.3.2") => now.draining && self.is_idle(),
            (421, "4.4.2") => now.may_time_out || self.may_idle_out(now),
            _ => false,
        };
        let before = std::mem::replace(&mut self.at, At::Closed);
        if closes {
            Ok(())
        } else {
            Err(format!(
                "{} {} came unasked in {before:?}",
                reply.code, reply.enhanced
            ))
        }
    }

    /// One more command that brings no message nearer is too many.
    fn has_idled(&self, limits: &Limits) -> bool {
        limits.max_idle_commands > 0 && self.idle >= limits.max_idle_commands
    }

    /// So long without a message that the server may have had enough, as far as the client can tell
    /// from its end.
    pub fn may_idle_out(&self, now: Circumstances<'_>) -> bool {
        now.now - self.idle_since >= now.limits.idle_timeout / 10 * 9
    }

    fn take(&mut self, sent: Sent) {
        match sent {
            Sent::Mail { binary, .. } => {
                self.accepted = 0;
                self.binary = binary;
            }
            Sent::Recipient(_) => self.accepted += 1,
            _ => {}
        }
    }

    fn allowed(&self, sent: Sent, now: Circumstances<'_>) -> Vec<Allowed> {
        let at = self.at;
        let one = |code, enhanced, next| {
            vec![Allowed {
                code,
                enhanced,
                next,
                accepted: true,
            }]
        };
        let refused = |code, enhanced, next| {
            vec![Allowed {
                code,
                enhanced,
                next,
                accepted: false,
            }]
        };
        let misplaced = || refused(503, "5.5.1", at);
        match sent {
            Sent::Connect(answer) => match answer {
                Answer::Yes | Answer::Slow => one(220, "", At::Start),
                other => refusal(other, At::Closed),
            },
            Sent::Hello => one(250, "", At::Ready),
            Sent::StartTls => match at {
                At::Start | At::Ready | At::Failed if self.tls_offered => {
                    one(220, "2.0.0", At::StartTls)
                }
                _ => refused(502, "5.5.1", at),
            },
            Sent::Mail { answer, huge, .. } => match at {
                At::Ready | At::Failed if huge => refused(552, "5.3.4", at),
                At::Ready | At::Failed => match answer {
                    Answer::Yes | Answer::Slow => one(250, "2.1.0", At::Mail),
                    other => refusal(other, At::Ready),
                },
                _ => misplaced(),
            },
            Sent::Recipient(answer) => match at {
                At::Mail | At::Recipients if self.accepted >= now.limits.max_recipients => {
                    refused(452, "4.5.3", at)
                }
                At::Mail | At::Recipients => match answer {
                    Answer::Yes | Answer::Slow => one(250, "2.1.5", At::Recipients),
                    other => refusal(other, at),
                },
                _ => misplaced(),
            },
            Sent::Data => match at {
                At::Recipients if !self.binary => one(354, "", At::Content),
                _ => misplaced(),
            },
            Sent::Content {
                verdict, handling, ..
            } => content(verdict, handling, now, At::Ready),
            Sent::Chunk {
                size,
                last,
                verdict,
                handling,
                ..
            } => self.chunk(size, last, verdict, handling, now),
            Sent::Reset => one(
                250,
                "2.0.0",
                if at == At::Start {
                    At::Start
                } else {
                    At::Ready
                },
            ),
            Sent::Noop => one(250, "2.0.0", at),
            Sent::Verify => one(252, "2.0.0", at),
            Sent::Help => one(214, "2.0.0", at),
            Sent::Quit => one(221, "2.0.0", At::Closed),
            Sent::Bad(code, enhanced) => refused(code, enhanced, at),
            Sent::Http => refused(554, "5.7.0", At::Closed),
            Sent::Nothing => Vec::new(),
        }
    }

    fn chunk(
        &self,
        size: u64,
        last: bool,
        verdict: Verdict,
        handling: Handling,
        now: Circumstances<'_>,
    ) -> Vec<Allowed> {
        let failed = if last { At::Ready } else { At::Failed };
        let refused = |code, enhanced, next| Allowed {
            code,
            enhanced,
            next,
            accepted: false,
        };
        let before = match self.at {
            At::Recipients => 0,
            At::Chunks(before) => before,
            At::Failed => return vec![refused(503, "5.5.1", failed)],
            at => return vec![refused(503, "5.5.1", at)],
        };
        let total = before + size;
        if total > now.limits.max_message_size {
            return vec![refused(552, "5.3.4", failed)];
        }
        match verdict {
            // Which chunk shows it depends on where the content was cut.
            Verdict::Bare | Verdict::BareOrTooLarge | Verdict::Loop => {
                let mut allowed = content(verdict, handling, now, failed);
                if !last {
                    allowed.push(Allowed {
                        code: 250,
                        enhanced: "2.0.0",
                        next: At::Chunks(total),
                        accepted: true,
                    });
                }
                allowed
            }
            Verdict::Sound | Verdict::TooLarge if last => {
                content(Verdict::Sound, handling, now, At::Ready)
            }
            Verdict::Sound | Verdict::TooLarge => {
                vec![Allowed {
                    code: 250,
                    enhanced: "2.0.0",
                    next: At::Chunks(total),
                    accepted: true,
                }]
            }
        }
    }
}

/// What a handler's refusal of a command looks like.
fn refusal(answer: Answer, next: At) -> Vec<Allowed> {
    let (code, enhanced, next) = match answer {
        Answer::Yes | Answer::Slow => return Vec::new(),
        Answer::No => (REFUSED.0, REFUSED.1, next),
        Answer::Later => (LATER.0, LATER.1, next),
        Answer::Hangs => (451, "4.3.0", next),
        Answer::Panics => (421, "4.3.0", At::Closed),
    };
    vec![Allowed {
        code,
        enhanced,
        next,
        accepted: false,
    }]
}

/// What comes at the end of a message.
fn content(verdict: Verdict, handling: Handling, now: Circumstances<'_>, next: At) -> Vec<Allowed> {
    let refused = |code, enhanced| Allowed {
        code,
        enhanced,
        next,
        accepted: false,
    };
    let bare = refused(550, "5.5.2");
    let large = refused(552, "5.3.4");
    match verdict {
        Verdict::Bare => return vec![bare],
        Verdict::TooLarge => return vec![large],
        Verdict::BareOrTooLarge => return vec![bare, large],
        Verdict::Loop => return vec![refused(554, "5.4.6")],
        Verdict::Sound => {}
    }
    match handling {
        Handling::Store | Handling::StoreSlowly | Handling::StoreAside | Handling::TargetLate => {
            let mut allowed = vec![Allowed {
                code: 250,
                enhanced: "2.0.0",
                next,
                accepted: true,
            }];
            if now.disk_may_fail {
                allowed.extend([refused(451, "4.3.0"), refused(452, "4.3.1")]);
            }
            allowed
        }
        Handling::Refuse | Handling::RefuseUnread => {
            vec![refused(CONTENT_REFUSED.0, CONTENT_REFUSED.1)]
        }
        Handling::Hang | Handling::HangUnread | Handling::TargetStalls => {
            vec![refused(451, "4.3.0")]
        }
        Handling::TargetDies | Handling::TargetUnsure => {
            let mut allowed = vec![refused(451, "4.4.1")];
            if now.disk_may_fail {
                allowed.extend([refused(451, "4.3.0"), refused(452, "4.3.1")]);
            }
            allowed
        }
        Handling::Panic => vec![Allowed {
            code: 421,
            enhanced: "4.3.0",
            next: At::Closed,
            accepted: false,
        }],
    }
}

/// It counts as a bad command. A chunk behind one that failed does not: its client could not know.
fn is_error(sent: Sent, at: At, reply: &Allowed) -> bool {
    let forgiven = matches!(sent, Sent::Chunk { .. }) && at == At::Failed;
    matches!(reply.code, 500..=504 | 555) && !forgiven
}

/// It counts as a command that brings no message nearer. A recipient too many does not.
fn is_idle(sent: Sent, reply: &Allowed) -> bool {
    match sent {
        Sent::Hello | Sent::Reset | Sent::Noop | Sent::Verify | Sent::Help | Sent::Bad(..) => true,
        Sent::Mail { .. } | Sent::Recipient(_) => {
            reply.code >= 400 && (reply.code, reply.enhanced) != (452, "4.5.3")
        }
        _ => false,
    }
}

/// The data of a message has come to its end.
fn ends_message(sent: Sent, at: At, reply: &Allowed) -> bool {
    match sent {
        Sent::Content { .. } => true,
        Sent::Chunk { .. } => {
            matches!(at, At::Recipients | At::Chunks(_)) && !matches!(reply.next, At::Chunks(_))
        }
        _ => false,
    }
}
