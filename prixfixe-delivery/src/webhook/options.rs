//! How a webhook works.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How a [`Webhook`](super::Webhook) works. Files are read when it is opened and again when they
/// change, those of TLS when it is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WebhookOptions {
    /// What log, metrics and health call it. By default: `webhook`.
    pub name: String,
    /// Files of secrets, one on each line: `whsec_…` and `whsk_…`. Every secret signs, so that one
    /// can be replaced by another while both are known. By default there is none, and nothing is
    /// signed.
    pub secret_files: Vec<PathBuf>,
    /// What is posted. By default: [`WebhookFormat::Json`].
    pub format: WebhookFormat,
    /// The name for HTTP's Basic authentication.
    pub username: Option<String>,
    /// A file whose first line is the password for it.
    pub password_file: Option<PathBuf>,
    /// A file with headers to add, `Name: value` on each line.
    pub header_file: Option<PathBuf>,
    /// What a status between 400 and 499 means. By default: [`On4xx::Defer`].
    pub on_4xx: On4xx,
    /// For a connection. By default: 30 s.
    pub timeout: Duration,
    /// For the answer, from the last piece of the request that was taken. By default: 30 s.
    pub final_timeout: Duration,
    /// Messages that are posted at once. By default: 16.
    pub concurrency: NonZeroUsize,
    /// The roots that the endpoint is verified against, in PEM. By default: the system's.
    pub tls_ca: Option<PathBuf>,
    /// Our own certificate, in PEM. It needs `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// Its key, in PEM and not encrypted.
    pub tls_key: Option<PathBuf>,
    /// Whether plaintext may go to another host. By default: no. TLS is verified all the same.
    pub insecure: bool,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            name: String::from("webhook"),
            secret_files: Vec::new(),
            format: WebhookFormat::default(),
            username: None,
            password_file: None,
            header_file: None,
            on_4xx: On4xx::default(),
            timeout: Duration::from_secs(30),
            final_timeout: Duration::from_secs(30),
            concurrency: NonZeroUsize::MIN.saturating_add(15),
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            insecure: false,
        }
    }
}

/// What is posted to an endpoint. `docs/WEBHOOK.md` has each in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WebhookFormat {
    /// Envelope, header, texts and attachments as JSON.
    #[default]
    Json,
    /// The message as it came, with the envelope in headers: what Rails' Action Mailbox takes as a
    /// relay's.
    Raw,
    /// What Postmark posts for inbound mail.
    Postmark,
    /// What a route of Mailgun's posts.
    Mailgun,
    /// What SendGrid's Inbound Parse posts.
    Sendgrid,
}

/// What a status between 400 and 499 of an endpoint means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum On4xx {
    /// Trouble that is mended: clients send again.
    #[default]
    Defer,
    /// The endpoint's judgement of the message: clients bounce it.
    Reject,
}

/// A word that is none of those that an option takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is none of {expected}")]
pub struct UnknownWord {
    found: String,
    expected: &'static str,
}

const FORMATS: [(&str, WebhookFormat); 5] = [
    ("json", WebhookFormat::Json),
    ("raw", WebhookFormat::Raw),
    ("postmark", WebhookFormat::Postmark),
    ("mailgun", WebhookFormat::Mailgun),
    ("sendgrid", WebhookFormat::Sendgrid),
];

const ON_4XX: [(&str, On4xx); 2] = [("defer", On4xx::Defer), ("reject", On4xx::Reject)];

impl FromStr for WebhookFormat {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        find(&FORMATS, text, "json, raw, postmark, mailgun, sendgrid")
    }
}

impl FromStr for On4xx {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        find(&ON_4XX, text, "defer, reject")
    }
}

fn find<T: Copy>(
    words: &[(&str, T)],
    text: &str,
    expected: &'static str,
) -> Result<T, UnknownWord> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| UnknownWord {
        found: text.to_owned(),
        expected,
    })
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    let found = words.iter().find(|(_, other)| other == value);
    found.map_or("", |(word, _)| *word)
}

impl fmt::Display for WebhookFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(&FORMATS, self))
    }
}

impl fmt::Display for On4xx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(&ON_4XX, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_the_same() {
        for (text, format) in FORMATS {
            assert_eq!(text.parse(), Ok(format));
            assert_eq!(format.to_string(), text);
        }
        for (text, on_4xx) in ON_4XX {
            assert_eq!(text.parse(), Ok(on_4xx));
            assert_eq!(on_4xx.to_string(), text);
        }
        let unknown = "yaml".parse::<WebhookFormat>().unwrap_err();
        assert!(unknown.to_string().contains("json, raw"));
    }
}
