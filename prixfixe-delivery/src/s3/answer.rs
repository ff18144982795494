//! What a store says, and what that means for the client.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use prixfixe_server::Reply;

use crate::Failure;
use prixfixe_http::{HttpError, Response};

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: hyper::HeaderMap,
    body: Bytes,
}

/// Further apart, and stores refuse what is signed with a time.
const MAX_SKEW: i64 = 5 * 60;

impl Answer {
    pub(super) async fn read(response: Response) -> Result<Self, HttpError> {
        Ok(Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.read().await?,
        })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of an error, such as `NoSuchBucket`.
    pub(super) fn code(&self) -> Option<String> {
        self.element("Code")
    }

    /// What stands in the first element of that name.
    pub(super) fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, behind) = text.split_once(&format!("<{name}>"))?;
        let (inside, _) = behind.split_once(&format!("</{name}>"))?;
        Some(safe(inside, 200))
    }

    /// An error that came with a status of success: a store begins to answer before it knows.
    pub(super) fn is_error(&self) -> bool {
        !(200..300).contains(&self.status) || self.text().contains("<Error>")
    }

    /// True where other credentials may help.
    pub(super) fn is_expired(&self) -> bool {
        let code = self.code().unwrap_or_default();
        matches!(
            &*code,
            "ExpiredToken" | "InvalidAccessKeyId" | "InvalidToken" | "TokenRefreshRequired"
        )
    }

    /// How far our clock is from theirs, in seconds, where that is too far.
    fn skew(&self) -> Option<i64> {
        let theirs = rfc2822::parse(self.header("date")?).ok()?.timestamp();
        let skew = Timestamp::now().as_second() - theirs.as_second();
        (skew.abs() > MAX_SKEW).then_some(skew)
    }

    /// What it says, for the log.
    pub(super) fn words(&self) -> String {
        let code = self.code().unwrap_or_default();
        let mut words = format!("status {} {code}", self.status)
            .trim_end()
            .to_owned();
        if let Some(message) = self.element("Message") {
            words = format!("{words}: {message}");
        }
        if let (400 | 403, Some(skew)) = (self.status, self.skew()) {
            let which = if skew > 0 { "ahead of" } else { "behind" };
            words = format!(
                "{words} (the clock of this host is {} s {which} the store's: set it right)",
                skew.abs()
            );
        }
        if let (301 | 307 | 400, Some(region)) = (self.status, self.header("x-amz-bucket-region")) {
            words = format!("{words} (the bucket is in the region {})", safe(region, 40));
        }
        words
    }

    /// A refusal of whatever was asked.
    pub(super) fn failure(&self) -> Failure {
        let code = self.code().unwrap_or_default();
        let is_full = self.status == 507 || code.contains("Quota") || code.contains("StorageFull");
        let reply = match is_full {
            true => Reply::NO_ROOM,
            false => Reply::TRY_LATER,
        };
        Failure::said(reply).because(self.words())
    }
}

/// Why there is no answer.
pub(super) fn no_answer(error: &HttpError) -> Failure {
    match error {
        HttpError::Content(_) => Failure::said(Reply::TRY_LATER).because(error.to_string()),
        _ if error.is_unknown() => Failure::unknown(error.to_string()),
        _ => Failure::unreachable(error.to_string()),
    }
}

/// Words of a store's in a line of our log.
fn safe(text: &str, length: usize) -> String {
    let letters = text.chars().map(|letter| match letter {
        ' '..='~' => letter,
        _ => '?',
    });
    letters.take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| {
            let name = hyper::header::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        Answer {
            status,
            headers: headers.collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn error(code: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No\r\n</Message></Error>"
        )
    }

    #[test]
    fn a_quota_is_452_and_all_else_451() {
        for (status, code, reply) in [
            (403, "QuotaExceeded", "452 4.3.1"),
            (507, "XMinioStorageFull", "452 4.3.1"),
            (400, "XMinioAdminBucketQuotaExceeded", "452 4.3.1"),
            (503, "SlowDown", "451 4.3.0"),
            (404, "NoSuchBucket", "451 4.3.0"),
            (403, "AccessDenied", "451 4.3.0"),
            (500, "InternalError", "451 4.3.0"),
            (200, "InternalError", "451 4.3.0"),
        ] {
            let answer = answer(status, &[], &error(code));
            assert!(answer.is_error());
            let failure = answer.failure();
            assert!(
                failure.reply().to_string().starts_with(reply),
                "{failure:?}"
            );
            assert_eq!(
                failure.detail(),
                Some(&*format!("status {status} {code}: No??"))
            );
        }
    }

    #[test]
    fn a_wrong_clock_and_a_wrong_region_are_named() {
        let date = [("date", "Sat, 28 Nov 2015 10:00:00 GMT")];
        let words = answer(403, &date, &error("RequestTimeTooSkewed")).words();
        assert!(
            words.contains("s ahead of the store's: set it right"),
            "{words}"
        );
        assert!(
            !answer(404, &date, &error("NoSuchBucket"))
                .words()
                .contains("clock")
        );
        let region = [("x-amz-bucket-region", "eu-central-1")];
        let words = answer(301, &region, &error("PermanentRedirect")).words();
        assert!(words.contains("region eu-central-1"), "{words}");
    }

    #[test]
    fn a_body_that_is_no_error_report_says_the_status_alone() {
        assert_eq!(answer(502, &[], "<html>").words(), "status 502");
        assert_eq!(answer(502, &[], "").code(), None);
    }
}
