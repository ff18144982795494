//! Which bucket, and what keys begin with.

use std::fmt;
use std::str::FromStr;

/// A bucket and what keys in it begin with: `s3://BUCKET[/PREFIX]`.
///
/// ```
/// use prixfixe_delivery::S3Url;
///
/// let url: S3Url = "s3://mail/incoming/".parse()?;
/// assert_eq!(url.bucket(), "mail");
/// assert_eq!(url.to_string(), "s3://mail/incoming");
/// assert!("s3://mail/../x".parse::<S3Url>().is_err());
/// # Ok::<(), prixfixe_delivery::ParseS3UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Url {
    bucket: Box<str>,
    /// Without a slash at its end.
    prefix: Box<str>,
}

/// A text that is no `s3:` target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseS3UrlError {
    /// It does not begin with `s3://`.
    #[error("{0:?} is no S3 target: write s3://BUCKET or s3://BUCKET/PREFIX")]
    Scheme(String),
    /// Secrets have places of their own.
    #[error(
        "an s3: URL holds no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a shared credentials file"
    )]
    Credentials,
    /// The bucket is none.
    #[error("{0:?} is no bucket: write 3 to 63 letters, digits, dots, - and _")]
    Bucket(String),
    /// The prefix has an empty part, one of dots alone, or characters that do not pass all stores.
    #[error(
        "{0:?} is no prefix of keys: write words of letters, digits, dots, -, _ and = with slashes between them"
    )]
    Prefix(String),
}

impl S3Url {
    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What keys begin with: nothing, or words that end with a slash.
    pub(crate) fn prefix(&self) -> String {
        match &*self.prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }
}

/// Whether all parts of a path are words that stay what they are in every URL.
pub(super) fn is_path(path: &str) -> bool {
    let is_word = |word: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte);
        !word.trim_matches('.').is_empty() && word.bytes().all(is_letter)
    };
    path.len() <= 512 && path.split('/').all(is_word)
}

impl FromStr for S3Url {
    type Err = ParseS3UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix("s3://")
            .ok_or_else(|| ParseS3UrlError::Scheme(text.to_owned()))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return Err(ParseS3UrlError::Credentials);
        }
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_bucket = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(is_letter)
            && !bucket.starts_with('.')
            && !bucket.contains("..");
        if !is_bucket {
            return Err(ParseS3UrlError::Bucket(bucket.to_owned()));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && !is_path(prefix) {
            return Err(ParseS3UrlError::Prefix(prefix.to_owned()));
        }
        Ok(Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
        })
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        match &*self.prefix {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_written_the_same() {
        for (text, written, prefix) in [
            ("s3://mail", "s3://mail", ""),
            ("s3://mail/", "s3://mail", ""),
            ("s3://Mail.x_y/a/b=c", "s3://Mail.x_y/a/b=c", "a/b=c/"),
        ] {
            let url: S3Url = text.parse().unwrap();
            assert_eq!(
                (url.to_string().as_str(), url.prefix().as_str()),
                (written, prefix)
            );
        }
    }

    #[test]
    fn what_is_no_target_is_refused_by_name() {
        for (text, word) in [
            ("mail", "s3://BUCKET"),
            ("S3://mail", "s3://BUCKET"),
            ("s3://", "no bucket"),
            ("s3:///x", "no bucket"),
            ("s3://ab", "no bucket"),
            ("s3://a..b", "no bucket"),
            ("s3://ma il", "no bucket"),
            ("s3://key:secret@mail/x", "AWS_ACCESS_KEY_ID"),
            ("s3://mail/a//b", "no prefix"),
            ("s3://mail/a//", "no prefix"),
            ("s3://mail/../b", "no prefix"),
            ("s3://mail/a/.", "no prefix"),
            ("s3://mail/a?b", "no prefix"),
            ("s3://mail/\u{fc}", "no prefix"),
        ] {
            let error = text.parse::<S3Url>().expect_err(text).to_string();
            assert!(
                error.contains(word) && !error.contains("secret"),
                "{text}: {error}"
            );
        }
    }
}
