//! Logins: what a hook or a back end asks of the client while it speaks a mechanism, and what comes
//! of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use prixfixe_core::{Answer, Mechanism, Reply, Secret};

use super::counting::as_sent;
use super::{Pending, SmtpSession};
use crate::conversation::{self, About, LoginQuestion, Panicked, Question};
use crate::log::What;
use crate::login::{Exchange, Request};
use crate::metrics::AuthMechanism;
use crate::observe::{Observation, Refusal};
use crate::{AuthMode, AuthResult, AuthSender, Client, IncidentKind, replies};

/// A login under way.
pub(super) struct Login {
    exchange: Arc<Exchange>,
    mechanism: AuthMechanism,
    /// Whose it claims to be, once that is known.
    user: Option<Box<str>>,
    /// When the application's time is over. `None`: it waits for the client.
    pub(super) deadline: Option<Instant>,
}

impl SmtpSession {
    /// What the client is offered may depend on its TLS connection.
    pub(super) fn offer_mechanisms(&mut self) {
        let auth = &self.shared.auth;
        if let (AuthMode::Offer | AuthMode::Require, Some(authenticator)) =
            (auth.mode, &auth.authenticator)
        {
            let mechanisms = authenticator.mechanisms_of(&self.client);
            self.connection.set_auth_mechanisms(mechanisms);
        }
    }

    pub(super) fn begin_login(
        &mut self,
        now: Instant,
        mechanism: Mechanism,
        initial_response: Option<Secret>,
        cx: &mut Context<'_>,
    ) {
        let exchange = Arc::new(Exchange::default());
        self.pending = Pending::Login(Box::new(Login {
            exchange: Arc::clone(&exchange),
            mechanism: AuthMechanism::of(&mechanism),
            user: None,
            deadline: None,
        }));
        if self.has_failed_too_often(now, None) {
            return self.end_login(now, Err(replies::TOO_MANY_FAILED_LOGINS));
        }
        let question = Question::Login(Box::new(LoginQuestion {
            mechanism,
            initial_response,
            exchange,
            authenticator: self.shared.auth.authenticator.clone(),
        }));
        let polled = self.conversation.ask(question, cx);
        self.login_polled(now, polled, cx);
    }

    /// The client has answered a challenge.
    pub(super) fn continue_login(&mut self, now: Instant, response: Secret, cx: &mut Context<'_>) {
        if let Pending::Login(login) = &self.pending {
            login.exchange.answer(Ok(response));
            self.poll_login(now, cx);
        }
    }

    /// Lets the application work on the login.
    pub(super) fn poll_login(&mut self, now: Instant, cx: &mut Context<'_>) {
        let polled = self.conversation.poll(cx);
        self.login_polled(now, polled, cx);
    }

    fn login_polled(
        &mut self,
        now: Instant,
        mut polled: Poll<Result<conversation::Answer, Panicked>>,
        cx: &mut Context<'_>,
    ) {
        loop {
            if let Poll::Ready(outcome) = polled {
                return self.settle_login(now, outcome);
            }
            let Pending::Login(login) = &mut self.pending else {
                return;
            };
            match login.exchange.take_request() {
                None => {
                    let deadline = now + self.shared.handler_timeout;
                    login.deadline.get_or_insert(deadline);
                    return;
                }
                Some(Request::Challenge(data)) => {
                    login.deadline = None;
                    return self.challenge(now, data, cx);
                }
                Some(Request::Claim(user)) => {
                    let exchange = Arc::clone(&login.exchange);
                    login.user = Some(user.clone());
                    exchange.answer(match self.has_failed_too_often(now, Some(&user)) {
                        true => Err(replies::TOO_MANY_FAILED_LOGINS),
                        false => Ok(Secret::default()),
                    });
                    polled = self.conversation.poll(cx);
                }
            }
        }
    }

    fn challenge(&mut self, now: Instant, data: Vec<u8>, cx: &mut Context<'_>) {
        let answer = Answer::Challenge(data);
        self.connection.answer(now, answer, self.output.back());
        // It was too long for a line, or the server is going away.
        if self.connection.max_line() != prixfixe_core::MAX_LOGIN_LINE {
            self.drop_login(now, cx);
        }
    }

    /// The client does not go on with its login, and was told this.
    pub(super) fn abort_login(&mut self, now: Instant, reply: &Reply, cx: &mut Context<'_>) {
        self.shared.counts.command_refused(reply.code());
        if let Some(login) = self.drop_login(now, cx) {
            self.shared
                .counts
                .login(login.mechanism, AuthResult::Aborted);
            self.log_failed_login(now, login.user.as_deref(), reply);
        }
        if self.connection.is_closed() {
            self.record.end = super::EndReason::TooManyErrors;
        }
    }

    /// The hook is dropped.
    fn drop_login(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Box<Login>> {
        let login = self.take_login()?;
        let abandoned = self.conversation.abandon(cx).map(drop);
        self.close_if_broken(now, abandoned);
        Some(login)
    }

    fn take_login(&mut self) -> Option<Box<Login>> {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Login(login) => Some(login),
            pending => {
                self.pending = pending;
                None
            }
        }
    }

    /// The application has decided, or will not any more.
    pub(super) fn settle_login(
        &mut self,
        now: Instant,
        outcome: Result<conversation::Answer, Panicked>,
    ) {
        let result = match outcome {
            Ok(answer) => match (answer.result, answer.about) {
                (Ok(_), About::Client(client)) => Ok(client),
                (Ok(_), _) => Err(replies::LOCAL_ERROR),
                (Err(reply), _) => Err(reply),
            },
            Err(Panicked) => {
                let question = self.connection.question();
                self.record
                    .handler_panicked(&self.shared.log, now, &self.client, question);
                Err(replies::HANDLER_PANICKED)
            }
        };
        self.end_login(now, result);
    }

    fn end_login(&mut self, now: Instant, result: Result<Client, Reply>) {
        let Some(login) = self.take_login() else {
            return;
        };
        let user = login.user.as_deref();
        // Whatever the hook makes of what it is told about that name.
        let result = match self.has_failed_too_often(now, user) {
            true => Err(replies::TOO_MANY_FAILED_LOGINS),
            false => result.map_err(|reply| self.count_failure(now, user, reply)),
        };
        let outcome = result.as_ref().err().map_or(AuthResult::Ok, AuthResult::of);
        self.shared.counts.login(login.mechanism, outcome);
        self.refused = result.is_err();
        self.count_answer(now, result.as_ref().err());
        let answer = match result {
            Ok(client) => {
                self.client = client;
                Answer::Accept
            }
            Err(reply) => {
                self.log_failed_login(now, user, as_sent(&reply));
                Answer::Refuse(reply)
            }
        };
        self.say_answer(now, answer);
    }

    /// The reply to a failed login: that, or that it was one too many.
    fn count_failure(&self, now: Instant, user: Option<&str>, reply: Reply) -> Reply {
        let Some(client) = self.counted_client().filter(|_| reply.code() == 535) else {
            return reply;
        };
        let (failures, limits) = (&self.shared.failures, self.shared.auth.limits);
        failures.add(now, limits, client, user);
        match failures.are_too_many(now, limits, client, user) {
            true => replies::TOO_MANY_FAILED_LOGINS,
            false => reply,
        }
    }

    fn has_failed_too_often(&self, now: Instant, user: Option<&str>) -> bool {
        let limits = self.shared.auth.limits;
        self.counted_client()
            .is_some_and(|client| self.shared.failures.are_too_many(now, limits, client, user))
    }

    fn counted_client(&self) -> Option<IpAddr> {
        self.client.peer().ip()
    }

    fn log_failed_login(&self, now: Instant, user: Option<&str>, reply: &Reply) {
        let refusal = Refusal {
            user,
            ..Refusal::new(IncidentKind::LoginFailed, What::Auth, reply)
        };
        self.observe(now, &Observation::Refused(refusal));
    }

    /// Whether a client that has logged in sends as somebody else, where it may not.
    pub(super) fn is_another_sender(&self, sender: &prixfixe_core::ReversePath) -> bool {
        let (AuthSender::Own, Some(identity)) = (self.shared.auth.sender, self.client.identity())
        else {
            return false;
        };
        let Some(mailbox) = sender.mailbox() else {
            return false;
        };
        let (local, domain) = match identity.name().rsplit_once('@') {
            Some(parts) => parts,
            None => (identity.name(), &*self.shared.domain),
        };
        !(mailbox.local_part().eq_ignore_ascii_case(local) && mailbox.domain() == *domain)
    }
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;
