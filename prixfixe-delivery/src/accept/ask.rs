//! An HTTP server that is asked about each recipient.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use prixfixe_server::{Rcpt, Reply, reply};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::WebhookUrl;
use crate::target::UNREACHABLE;
use prixfixe_http::{Client, ClientOptions, HttpError, HttpSetupError, Part, Request, TlsFiles};

/// An HTTP server that is asked about each recipient: a `POST` of
/// `{"recipient", "sender", "peer", "helo", "user"}`.
///
/// | response | reply to RCPT |
/// |---|---|
/// | 2xx | accepted |
/// | 404 | `550 5.1.1` |
/// | 403 | `550 5.7.1` |
/// | anything else, or none within a second | `451 4.4.1`, or accepted ([`AskOptions::accept_on_failure`]) |
///
/// The first three answers are kept for 60 s, 16,384 of them at the most.
pub struct AskRecipients {
    client: Client,
    path: Uri,
    accept_on_failure: bool,
    places: Semaphore,
    known: Mutex<Known>,
}

/// How an HTTP server is asked about recipients.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AskOptions {
    /// Whether a recipient is accepted where there is no answer. By default: no, the client tries
    /// again later.
    pub accept_on_failure: bool,
    /// The roots that the server is verified against, in PEM. By default: the system's.
    pub tls_ca: Option<PathBuf>,
    /// Whether plaintext may go to another host. By default: no.
    pub insecure: bool,
}

#[derive(Serialize)]
struct Question<'a> {
    recipient: String,
    sender: String,
    peer: String,
    helo: Option<&'a str>,
    user: Option<&'a str>,
}

#[derive(Default)]
struct Known {
    answers: HashMap<Bytes, (Instant, Answer)>,
    /// The oldest first.
    order: VecDeque<(Bytes, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accepted,
    Unknown,
    Refused,
}

const PATIENCE: Duration = Duration::from_secs(1);

/// How long an answer is kept.
const AGE: Duration = Duration::from_secs(60);

const MOST: usize = 16_384;

/// Questions at once; others wait for their second.
const AT_ONCE: usize = 64;

const REFUSED: Reply = reply!(550 5.7.1 "Recipient refused");

impl AskRecipients {
    /// Reads the certificates, and asks nobody yet.
    ///
    /// # Errors
    ///
    /// The file that cannot be used, or plaintext to another host.
    pub fn new(url: &WebhookUrl, options: AskOptions) -> Result<Self, HttpSetupError> {
        let client = ClientOptions {
            connect_timeout: PATIENCE,
            max_idle: AT_ONCE,
            tls: TlsFiles {
                ca: options.tls_ca,
                identity: None,
            },
            insecure: options.insecure,
        };
        Ok(Self {
            client: Client::new(url.origin().clone(), &client)?,
            path: url.target(),
            accept_on_failure: options.accept_on_failure,
            places: Semaphore::new(AT_ONCE),
            known: Mutex::default(),
        })
    }

    /// The answer about a recipient.
    pub(super) async fn about(&self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        match self.answer(rcpt).await {
            Ok(Answer::Accepted) => Ok(()),
            Ok(Answer::Unknown) => Err(Reply::NO_SUCH_USER),
            Ok(Answer::Refused) => Err(REFUSED),
            Err(error) => {
                tracing::debug!(target: "prixfixe", %error, "recipient not looked up");
                match self.accept_on_failure {
                    true => Ok(()),
                    false => Err(UNREACHABLE),
                }
            }
        }
    }

    /// Whether the server knows a recipient. Without its answer nobody is known, and nobody is
    /// unknown.
    pub(super) async fn names(&self, rcpt: Rcpt<'_>) -> Result<bool, Reply> {
        match self.answer(rcpt).await {
            Ok(answer) => Ok(answer == Answer::Accepted),
            Err(error) => {
                tracing::debug!(target: "prixfixe", %error, "recipient not looked up");
                Err(UNREACHABLE)
            }
        }
    }

    async fn answer(&self, rcpt: Rcpt<'_>) -> Result<Answer, String> {
        let client = rcpt.client();
        let peer = client.peer();
        let question = Question {
            recipient: rcpt.path().to_string(),
            sender: rcpt.envelope().reverse_path().to_string(),
            // Without the port, so that the next connection is not another question.
            peer: peer
                .ip()
                .map_or_else(|| peer.to_string(), |ip| ip.to_string()),
            helo: client.helo(),
            user: client.identity().map(prixfixe_server::Identity::name),
        };
        let question = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
        let question = Bytes::from(question);
        let known = self.lock().get(&question, Instant::now());
        match known {
            Some(answer) => Ok(answer),
            None => self.ask(question).await,
        }
    }

    async fn ask(&self, question: Bytes) -> Result<Answer, String> {
        let request = Request::new(Method::POST, self.path.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .content(vec![Part::Bytes(question.clone())]);
        let asked = async {
            // It is never closed.
            let _place = self.places.acquire().await;
            let response = self.client.send(&request, PATIENCE).await?;
            let status = response.status();
            response.discard().await;
            Ok::<_, HttpError>(status)
        };
        let status = match timeout(PATIENCE, asked).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("no answer within a second".to_owned()),
        };
        let answer = match status {
            status if status.is_success() => Answer::Accepted,
            StatusCode::NOT_FOUND => Answer::Unknown,
            StatusCode::FORBIDDEN => Answer::Refused,
            status => return Err(format!("status {status}")),
        };
        self.lock().put(question, answer, Instant::now());
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn get(&self, question: &Bytes, now: Instant) -> Option<Answer> {
        let (at, answer) = self.answers.get(question)?;
        (now.saturating_duration_since(*at) < AGE).then_some(*answer)
    }

    fn put(&mut self, question: Bytes, answer: Answer, now: Instant) {
        self.order.push_back((question.clone(), now));
        self.answers.insert(question, (now, answer));
        while let Some((oldest, at)) = self.order.front() {
            let is_old = now.saturating_duration_since(*at) >= AGE;
            if !is_old && self.order.len() <= MOST {
                return;
            }
            // A newer answer to the same stays.
            if self.answers.get(oldest).is_some_and(|(kept, _)| kept == at) {
                self.answers.remove(oldest);
            }
            self.order.pop_front();
        }
    }
}

impl fmt::Debug for AskRecipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskRecipients").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_a_minute_and_their_number_is_bounded() {
        let start = Instant::now();
        let mut known = Known::default();
        let question = |number: usize| Bytes::from(number.to_string());
        known.put(question(0), Answer::Unknown, start);
        let just_before = start + AGE - Duration::from_millis(1);
        assert_eq!(known.get(&question(0), just_before), Some(Answer::Unknown));
        assert_eq!(known.get(&question(0), start + AGE), None);
        for number in 0..2 * MOST {
            known.put(question(number), Answer::Accepted, start);
        }
        assert_eq!((known.answers.len(), known.order.len()), (MOST, MOST));
        known.put(question(0), Answer::Accepted, start + AGE);
        assert_eq!((known.answers.len(), known.order.len()), (1, 1));
    }
}
