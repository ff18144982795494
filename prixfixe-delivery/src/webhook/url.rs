//! Where a webhook is, as an operator writes it.

use std::fmt;
use std::str::FromStr;

use prixfixe_http::{InvalidHttpUrl, Origin};

/// The URL of an endpoint: `https://HOST[:PORT]/PATH`, or `http://` on this host.
///
/// ```
/// use prixfixe_delivery::WebhookUrl;
///
/// let url: WebhookUrl = "https://app.example.com/mail".parse()?;
/// assert_eq!(url.to_string(), "https://app.example.com/mail");
/// assert!("https://ann:secret@app.example.com/mail".parse::<WebhookUrl>().is_err());
/// # Ok::<(), prixfixe_delivery::InvalidHttpUrl>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebhookUrl {
    pub(super) origin: Origin,
    /// With the query.
    pub(super) path: Box<str>,
}

impl WebhookUrl {
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What a request asks for. It was read as a part of a URL before.
    pub(crate) fn target(&self) -> hyper::Uri {
        self.path.parse().unwrap_or_default()
    }
}

impl FromStr for WebhookUrl {
    type Err = InvalidHttpUrl;

    fn from_str(text: &str) -> Result<Self, InvalidHttpUrl> {
        let (origin, path) = Origin::parse(text)?;
        Ok(Self {
            origin,
            path: path.into(),
        })
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}
