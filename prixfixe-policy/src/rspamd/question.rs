//! What rspamd is told of a message.

use prixfixe_http::header::{HeaderName, HeaderValue};
use prixfixe_http::{Method, Part, Request, Uri};
use prixfixe_server::Content;

/// So much of the recipients is told, in bytes: an HTTP server has an end of what it takes for a
/// header.
const MAX_RECIPIENTS: usize = 32 << 10;

/// The message, as its client sent it behind the `Received` field that it will have.
pub(super) fn request(
    path: Uri,
    name: Option<&str>,
    content: Content<'_>,
    received: Vec<u8>,
) -> Request {
    let (client, envelope) = (content.client(), content.envelope());
    let mut headers = Headers(Request::new(Method::POST, path));
    headers.add("from", &format!("<{}>", envelope.reverse_path()));
    let mut told = 0;
    for recipient in envelope.recipients() {
        let recipient = format!("<{recipient}>");
        told += recipient.len();
        if told > MAX_RECIPIENTS {
            break;
        }
        headers.add("rcpt", &recipient);
    }
    if let Some(address) = client.peer().ip() {
        headers.add("ip", &address.to_canonical().to_string());
    }
    // rspamd takes what is not told for a client without a name in the DNS.
    let of_client = [("helo", client.helo()), ("hostname", client.host_name())];
    for (name, value) in of_client {
        if let Some(value) = value {
            headers.add(name, value);
        }
    }
    if let Some(id) = content.id() {
        headers.add("queue-id", &id.to_string());
    }
    if let Some(name) = name {
        headers.add("mta-name", name);
    }
    if let Some(tls) = client.tls() {
        headers.add("tls-version", tls.version.as_str());
        headers.add("tls-cipher", tls.cipher_suite);
    }
    let message = Part::Gathered(content.gathered().clone());
    headers
        .0
        .content(vec![Part::Bytes(received.into()), message])
}

struct Headers(Request);

impl Headers {
    /// What no header can hold is left out; commands with such characters were refused before.
    fn add(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            let request =
                std::mem::replace(&mut self.0, Request::new(Method::POST, Uri::default()));
            self.0 = request.header(HeaderName::from_static(name), value);
        }
    }
}
