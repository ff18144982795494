//! Logins without a client, for tests of hooks and back ends.

use std::collections::VecDeque;
use std::fmt;

use prixfixe_core::{Mechanism, Reply, Secret, replies};

use super::{Login, Other};
use crate::Client;

/// The client's side of a [`Login`] of a test's: it says the responses that are given, one for each
/// challenge, and then cancels.
///
/// ```
/// use prixfixe_server::{Client, Login, Mechanism};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let client = Client::builder().build();
/// let mut login = Login::builder(&client, Mechanism::LOGIN).response(b"ann").response(b"secret").build();
/// let given = login.password().await.unwrap();
/// assert_eq!((given.user(), given.password()), ("ann", &b"secret"[..]));
/// assert_eq!(login.claimed(), Some("ann"));
/// # });
/// ```
#[must_use = "`build` makes the login"]
pub struct LoginBuilder<'a> {
    client: &'a Client,
    mechanism: Mechanism,
    initial_response: Option<Secret>,
    channel_binding: Option<[u8; 32]>,
    script: Script<'a>,
}

/// From a challenge to the response, or to none.
type Answers<'a> = dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'a;

/// What a client of a test's answers.
#[derive(Default)]
pub(super) struct Script<'a> {
    responses: VecDeque<Secret>,
    answers: Option<Box<Answers<'a>>>,
}

impl<'a> LoginBuilder<'a> {
    pub(super) fn new(client: &'a Client, mechanism: Mechanism) -> Self {
        Self {
            client,
            mechanism,
            initial_response: None,
            channel_binding: client.channel_binding(),
            script: Script::default(),
        }
    }

    /// What the client sends with AUTH.
    pub fn initial_response(mut self, response: impl AsRef<[u8]>) -> Self {
        self.initial_response = Some(response.as_ref().into());
        self
    }

    /// One more response, to the next challenge.
    pub fn response(mut self, response: impl AsRef<[u8]>) -> Self {
        self.script.responses.push_back(response.as_ref().into());
        self
    }

    /// What the client answers to each challenge behind the responses that are given. `None`: it
    /// cancels.
    pub fn answers(mut self, answers: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'a) -> Self {
        self.script.answers = Some(Box::new(answers));
        self
    }

    /// The channel binding of its TLS connection, in place of the client's own.
    pub fn channel_binding(mut self, binding: [u8; 32]) -> Self {
        self.channel_binding = Some(binding);
        self
    }

    /// The login.
    #[must_use]
    pub fn build(self) -> Login<'a> {
        Login {
            client: self.client,
            mechanism: self.mechanism,
            initial_response: self.initial_response,
            channel_binding: self.channel_binding,
            user: None,
            other: Other::Script(self.script),
        }
    }
}

impl Script<'_> {
    pub(super) fn challenge(&mut self, data: &[u8]) -> Result<Secret, Reply> {
        if let Some(response) = self.responses.pop_front() {
            return Ok(response);
        }
        let answer = self.answers.as_mut().and_then(|answers| answers(data));
        answer.map(Secret::from).ok_or(replies::LOGIN_CANCELLED)
    }
}

impl fmt::Debug for LoginBuilder<'_> {
    /// Without what the client says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginBuilder")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}
