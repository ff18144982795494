//! The status page: one document that needs nothing from outside, and the policy that holds a
//! browser to that.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// One script in files of one subject: numbers, plots, words, the parts of the page, the list of
/// mail; at the end what runs them.
const SCRIPT: &str = concat!(
    include_str!("page/figures.js"),
    include_str!("page/plots.js"),
    include_str!("page/words.js"),
    include_str!("page/parts.js"),
    include_str!("page/mail.js"),
    include_str!("page/page.js")
);

const STYLE_MARK: &str = "/*style*/";
const SCRIPT_MARK: &str = "/*script*/";

static PAGE: LazyLock<Page> = LazyLock::new(Page::assemble);

/// The document, and its `Content-Security-Policy`.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) document: Bytes,
    pub(super) policy: HeaderValue,
}

impl Page {
    pub(super) fn get() -> &'static Self {
        &PAGE
    }

    fn assemble() -> Self {
        let document = DOCUMENT
            .replacen(STYLE_MARK, STYLE, 1)
            .replacen(SCRIPT_MARK, SCRIPT, 1);
        let policy = HeaderValue::try_from(policy());
        Self {
            document: document.into(),
            // It is ASCII. Were it not, nothing would run rather than anything.
            policy: policy.unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }
}

/// The style, the script and the icon that are in the document; connections to this server; nothing
/// else, and no HTML from text.
fn policy() -> String {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        source(STYLE),
        source(SCRIPT)
    )
}

/// A hash-source as Content Security Policy has it.
fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn document() -> &'static str {
        std::str::from_utf8(&Page::get().document).unwrap()
    }

    #[test]
    fn the_document_holds_the_style_and_the_script_that_the_policy_names() {
        let policy = Page::get().policy.to_str().unwrap();
        for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
            let (_, rest) = document().split_once(&format!("<{element}>")).unwrap();
            let (content, rest) = rest.split_once(&format!("</{element}>")).unwrap();
            assert!(!rest.contains(&format!("<{element}")), "a second {element}");
            let allowed = format!("{directive} '{}';", source(content));
            assert!(policy.contains(&allowed), "{policy} lacks {allowed}");
        }
    }

    #[test]
    fn a_hash_source_is_the_hash_in_base64() {
        // printf 'PrixFixe' | openssl dgst -sha256 -binary | base64
        assert_eq!(
            source("PrixFixe"),
            "sha256-wV66D1UAI2rD9HiBr40Gyn8OMJO+Azvmyo2vjaAc+u8="
        );
    }

    #[test]
    fn nothing_in_the_document_makes_html_of_text() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=\"",
            " onclick",
        ] {
            assert!(!document().contains(way), "{way}");
        }
    }

    #[test]
    fn the_document_names_no_address_elsewhere() {
        // The namespace of SVG is a name, not an address.
        let rest = document().replace("http://www.w3.org/2000/svg", "");
        assert!(!rest.contains("://") && !rest.contains("@import") && !rest.contains("src="));
    }
}
