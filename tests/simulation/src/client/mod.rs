//! Clients: each works through its steps, over as many connections as that takes.

mod model;
mod odd;
mod reply;
mod script;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;

use rustls::ClientConfig;

use self::model::{At, Circumstances, Model, Sent};
use self::reply::{Replies, Reply};
use self::script::{After, Phase};
use self::wire::Wire;
use crate::ledger::Ledger;
use crate::network::{Link, Way};
use crate::runtime::{MILLISECOND, Nanos, SECOND};
use crate::scenario::{ClientPlan, Limits, Security};
use crate::trace::Trace;
use crate::violation::Invariant;

/// What a client can see and touch in its turn.
pub struct View<'w> {
    pub now: Nanos,
    pub link: &'w mut Link,
    pub ledger: &'w mut Ledger,
    pub limits: &'w Limits,
    pub trace: &'w mut Trace,
    pub tls: &'w Arc<ClientConfig>,
    /// The server that it talks to is draining.
    pub draining: bool,
    /// The server that it talks to was killed, or had to end.
    pub gone: bool,
    /// It was one too many.
    pub over_limit: bool,
    /// The connection stalls for a while.
    pub stalled: bool,
    pub disk_may_fail: bool,
}

/// When a client wants its next turn, beside those that the network gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Wait(Option<Nanos>),
    /// The connection is over.
    Over,
}

pub struct Client {
    pub plan: ClientPlan,
    /// The step that is next, or under way.
    step: usize,
    /// How often it was tried in vain.
    tries: u32,
    /// Connections in a row that led to nothing.
    pub failures: u32,
    session: Option<Box<Session>>,
    pub link: Option<usize>,
    pub done: bool,
}

/// A connection as the client sees it.
struct Session {
    wire: Wire,
    out: Vec<u8>,
    sent: usize,
    /// So much leaves at once, so long after the last.
    pace: Option<(usize, Nanos)>,
    next_send: Nanos,
    replies: Replies,
    expected: VecDeque<Sent>,
    model: Model,
    phase: Phase,
    /// What to do when all that was to be sent has left.
    after: Option<After>,
    until: Option<Nanos>,
    /// Reads no more.
    deaf: bool,
    /// Sends no more.
    mute: bool,
    half_closed: bool,
    /// It ended in the middle of something.
    cut: bool,
    may_time_out: bool,
    last: Option<Reply>,
    octets: usize,
}

impl Client {
    pub fn new(plan: ClientPlan) -> Self {
        Self {
            plan,
            step: 0,
            tries: 0,
            failures: 0,
            session: None,
            link: None,
            done: false,
        }
    }

    /// How long to wait before the next attempt to connect.
    pub fn patience(&self) -> Nanos {
        let step = MILLISECOND * 500;
        (step << self.failures.min(7)).min(60 * SECOND)
            + (self.plan.number as u64 % 97) * MILLISECOND
    }

    /// A connection is there.
    pub fn connected(&mut self, link: usize, tls: &Arc<ClientConfig>, now: Nanos) {
        self.link = Some(link);
        let wire = match self.plan.security {
            Security::Implicit => Wire::tls(tls).unwrap_or(Wire::Clear),
            Security::Clear | Security::StartTls => Wire::Clear,
        };
        self.session = Some(Box::new(Session {
            wire,
            out: Vec::new(),
            sent: 0,
            pace: None,
            next_send: 0,
            replies: Replies::default(),
            expected: VecDeque::from([Sent::Connect(self.plan.connect)]),
            model: Model::new(now),
            phase: Phase::Greeting,
            after: None,
            until: None,
            deaf: false,
            mute: false,
            half_closed: false,
            cut: false,
            may_time_out: false,
            last: None,
            octets: 0,
        }));
    }

    /// Nothing answered.
    pub fn not_connected(&mut self) {
        self.failures += 1;
        if self.failures > 400 {
            self.done = true;
        }
    }

    pub fn turn(&mut self, view: &mut View<'_>) -> Next {
        let Some(mut session) = self.session.take() else {
            return Next::Over;
        };
        session.wire.flush(&mut session.out);
        if self.listen(&mut session, view) {
            return self.over(*session, view);
        }
        loop {
            if !session.transmit(view) {
                break;
            }
            if let Some(after) = session.after.take() {
                if self.finish(&mut session, after, view) {
                    return self.over(*session, view);
                }
                continue;
            }
            if !self.proceed(&mut session, view) {
                break;
            }
        }
        let wait = [
            session.until,
            (session.sent < session.out.len() && session.next_send > view.now)
                .then_some(session.next_send),
        ];
        let next = wait.into_iter().flatten().filter(|at| *at > view.now).min();
        self.session = Some(session);
        Next::Wait(next)
    }

    /// Reads what has come. True: the connection is over.
    fn listen(&mut self, session: &mut Session, view: &mut View<'_>) -> bool {
        if session.deaf {
            return !view.link.server_open || view.link.is_reset(Way::ToClient);
        }
        let mut buffer = [0; 4096];
        let mut clear = Vec::new();
        loop {
            match view.link.receive(Way::ToClient, &mut buffer, view.now) {
                Ok(0) => {
                    self.end(session, "closed", view);
                    return true;
                }
                Ok(count) => {
                    clear.clear();
                    if let Err(error) = session.wire.receive(&buffer[..count], &mut clear) {
                        if !view.gone && !session.may_time_out {
                            self.violated(view, format!("TLS broke: {error}"));
                        }
                        return true;
                    }
                    session.replies.extend(&clear);
                    session.wire.flush(&mut session.out);
                    if !self.take_replies(session, view) {
                        return true;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                Err(_) => {
                    self.end(session, "reset", view);
                    return true;
                }
            }
        }
    }

    /// False: something came that is no reply.
    fn take_replies(&mut self, session: &mut Session, view: &mut View<'_>) -> bool {
        loop {
            let reply = match session.replies.next() {
                Ok(Some(reply)) => reply,
                Ok(None) => return true,
                Err(error) => {
                    self.violated(view, error);
                    return false;
                }
            };
            let number = self.plan.number;
            view.trace.line(view.now, || {
                format!("c{number} <- {} {}", reply.code, reply.enhanced)
            });
            let now = circumstances(session, view);
            if session.model.at == At::Closed {
                self.violated(
                    view,
                    format!("{} {} came after the end", reply.code, reply.enhanced),
                );
                return false;
            }
            let checked = match session.expected.pop_front() {
                Some(Sent::Nothing) | None => session.model.unasked(&reply, now),
                Some(sent) => {
                    let checked = session.model.reply(sent, &reply, now);
                    if checked.is_ok() {
                        settle(sent, &reply, view);
                    }
                    checked
                }
            };
            if let Err(error) = checked {
                self.violated(view, error);
                return false;
            }
            session.last = Some(reply);
        }
    }

    /// The server has closed.
    fn end(&mut self, session: &mut Session, how: &str, view: &mut View<'_>) {
        let number = self.plan.number;
        view.trace
            .line(view.now, || format!("c{number} connection {how}"));
        if session.replies.has_rest() && !view.gone && !view.stalled {
            self.violated(view, String::from("the connection ended within a reply"));
        }
        let said = session.model.at == At::Closed;
        let waits = session.expected.iter().any(|sent| *sent != Sent::Nothing);
        let excused = view.gone
            // It was under way when the listener closed.
            || (view.over_limit && how == "reset" && session.model.at == At::Connect)
            // It may have stalled past the server's last word and its patience.
            || view.stalled
            || (view.over_limit && self.plan.security == Security::Implicit)
            // The server reads on for a while after its last word, and no longer.
            || (how == "reset" && session.octets > 100_000)
            // A handshake that takes too long ends without a word.
            || (session.may_time_out && (session.wire.is_handshaking() || session.model.at == At::StartTls))
            || (view.draining && session.wire.is_handshaking())
            || ((session.may_time_out || session.model.may_idle_out(circumstances(session, view)))
                && how == "reset");
        if said || excused {
            return;
        }
        if session.half_closed {
            if waits && !session.cut {
                self.violated(
                    view,
                    format!(
                        "{how} with {:?} unanswered, after the end of the input",
                        session.expected
                    ),
                );
            }
            return;
        }
        self.violated(
            view,
            format!(
                "{how} without a word in {:?}, {:?} unanswered",
                session.model.at, session.expected
            ),
        );
    }

    fn violated(&self, view: &mut View<'_>, detail: String) {
        view.ledger.violated(
            Invariant::Replies,
            view.now,
            format!("c{}: {detail}", self.plan.number),
        );
    }

    /// The connection is over; so is the step that it was in, unless it may be tried again.
    fn over(&mut self, session: Session, view: &mut View<'_>) -> Next {
        view.link.client_open = false;
        if !view.link.vanished {
            view.link.finish(Way::ToServer, view.now);
        }
        self.link = None;
        let progressed = !matches!(session.phase, Phase::Greeting | Phase::Introduction);
        if progressed {
            self.failures = 0;
        } else {
            self.not_connected();
        }
        match session.phase {
            Phase::Leaving => self.done = true,
            Phase::Greeting => {
                // A client that the handler refuses comes again in vain.
                let wanted = matches!(
                    self.plan.connect,
                    crate::scenario::Answer::Yes | crate::scenario::Answer::Slow
                );
                self.done |= !wanted && !view.over_limit && !view.gone && !view.draining;
            }
            Phase::Message(_) if !session.cut && self.tries < 2 => self.tries += 1,
            Phase::Message(_) | Phase::Odd => self.next_step(),
            Phase::Ready | Phase::Introduction => {}
        }
        if self.step >= self.plan.steps.len() {
            self.done = true;
        }
        Next::Over
    }

    fn next_step(&mut self) {
        self.step += 1;
        self.tries = 0;
    }

    /// It is connected by this link, reads, and has nothing under way: a server that goes away
    /// tells it at once.
    pub fn is_idle(&self, link: usize) -> bool {
        self.link == Some(link)
            && self.session.as_ref().is_some_and(|session| {
                session.model.is_idle()
                    && session.expected.is_empty()
                    && session.sent == session.out.len()
                    && !session.deaf
                    && !session.mute
            })
    }

    /// For whoever looks for the reason why nothing goes on.
    pub fn describe(&self) -> String {
        match &self.session {
            None => format!("c{} at step {}, not connected", self.plan.number, self.step),
            Some(session) => format!(
                "c{} at step {} in {:?}, waits for {:?}, {} octets to send",
                self.plan.number,
                self.step,
                session.model.at,
                session.expected,
                session.out.len() - session.sent
            ),
        }
    }
}

fn circumstances<'v>(session: &Session, view: &View<'v>) -> Circumstances<'v> {
    Circumstances {
        limits: view.limits,
        draining: view.draining,
        over_limit: view.over_limit,
        may_time_out: session.may_time_out || view.stalled,
        now: view.now,
        disk_may_fail: view.disk_may_fail,
    }
}

/// What a reply means for the message that it was about.
fn settle(sent: Sent, reply: &Reply, view: &mut View<'_>) {
    let (token, kept) = match sent {
        Sent::Content {
            token, handling, ..
        }
        | Sent::Chunk {
            token,
            last: true,
            handling,
            ..
        } => {
            use crate::scenario::Handling;
            (
                token,
                matches!(
                    handling,
                    Handling::Store
                        | Handling::StoreSlowly
                        | Handling::StoreAside
                        | Handling::TargetLate
                        | Handling::TargetUnsure
                ),
            )
        }
        _ => return,
    };
    match reply.code {
        250 => view.ledger.acknowledged(token, view.now),
        // The session ended for another reason, or the disk may have kept it.
        421 | 451 | 452 if kept => {}
        _ => view.ledger.refused(token),
    }
}

impl Session {
    fn push(&mut self, bytes: &[u8], sent: Sent) {
        self.wire.send(bytes, &mut self.out);
        self.expected.push_back(sent);
    }

    /// Sends what the network takes. True: all has left.
    fn transmit(&mut self, view: &mut View<'_>) -> bool {
        if self.mute {
            return false;
        }
        while self.sent < self.out.len() {
            if self.next_send > view.now {
                return false;
            }
            let end = match self.pace {
                Some((piece, _)) => (self.sent + piece).min(self.out.len()),
                None => self.out.len(),
            };
            let Some(count) = view
                .link
                .send(Way::ToServer, &self.out[self.sent..end], view.now)
            else {
                return false;
            };
            self.sent += count;
            self.octets += count;
            if let Some((_, interval)) = self.pace {
                self.next_send = view.now + interval;
            }
        }
        self.out.clear();
        self.sent = 0;
        true
    }
}
