//! A role that a token of somebody else's stands for, as Kubernetes gives it to a pod:
//! `AssumeRoleWithWebIdentity`.

use std::fs;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::{Environment, Known, send, variable};
use crate::S3Credentials;
use prixfixe_http::{Origin, Part, Request};

/// The token service's own.
const VERSION: &str = "2011-06-15";

/// What the session is called where nobody says.
const SESSION: &str = "prixfixe";

/// `None`: there is no role, or no token.
pub(super) async fn find(environment: &Environment) -> Result<Option<Known>, String> {
    let role = variable(environment, "AWS_ROLE_ARN");
    let file = variable(environment, "AWS_WEB_IDENTITY_TOKEN_FILE");
    let (Some(role), Some(file)) = (role, file) else {
        return Ok(None);
    };
    let failed = |error: String| format!("the credentials of the role {role}: {error}");
    // It is replaced before it ends.
    let token = fs::read_to_string(&file);
    let token = token.map_err(|error| failed(format!("cannot read {file}: {error}")))?;
    let session = variable(environment, "AWS_ROLE_SESSION_NAME");
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", VERSION),
        ("RoleArn", &role),
        ("RoleSessionName", session.as_deref().unwrap_or(SESSION)),
        ("WebIdentityToken", token.trim()),
    ];
    let endpoint = endpoint(environment);
    let (origin, path) = Origin::parse(&endpoint).map_err(|error| failed(error.to_string()))?;
    // The token is as good as a password.
    if !origin.is_https && !origin.is_loopback() {
        return Err(failed("plaintext is for loopback alone".to_owned()));
    }
    let target = path
        .parse()
        .map_err(|_| failed(format!("{path:?} is no path")))?;
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    let request = Request::new(Method::POST, target)
        .header(CONTENT_TYPE, kind)
        .content(vec![Part::Bytes(encoded(&form).into())]);
    let text = send(origin, &request).await.map_err(failed)?;
    issued(&text)
        .map(Some)
        .ok_or_else(|| failed("the answer holds no credentials".to_owned()))
}

/// That of the region, which is near and up when others are not.
fn endpoint(environment: &Environment) -> String {
    let set = variable(environment, "AWS_ENDPOINT_URL_STS");
    set.unwrap_or_else(|| {
        let region = variable(environment, "AWS_REGION");
        match region.or_else(|| variable(environment, "AWS_DEFAULT_REGION")) {
            Some(region) if region.starts_with("cn-") => {
                format!("https://sts.{region}.amazonaws.com.cn/")
            }
            Some(region) => format!("https://sts.{region}.amazonaws.com/"),
            None => "https://sts.amazonaws.com/".to_owned(),
        }
    })
}

fn encoded(form: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in form {
        let separator = if text.is_empty() { "" } else { "&" };
        text.push_str(&format!("{separator}{name}="));
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    text.push(char::from(byte));
                }
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

fn issued(text: &str) -> Option<Known> {
    let element = |name: &str| {
        let (_, behind) = text.split_once(&format!("<{name}>"))?;
        let (inside, _) = behind.split_once(&format!("</{name}>"))?;
        Some(inside.trim().to_owned())
    };
    Some(Known {
        credentials: std::sync::Arc::new(S3Credentials {
            access_key_id: element("AccessKeyId")?,
            secret_access_key: element("SecretAccessKey")?,
            session_token: element("SessionToken"),
        }),
        expires: element("Expiration").and_then(|it| it.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prixfixe_test_support::HttpServer;

    use super::super::Credentials;
    use super::*;

    const ISSUED: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
        <AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s/+=</SecretAccessKey>\
        <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
        </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Arc::new(move |name| {
            let found = variables.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone())
        })
    }

    #[tokio::test]
    async fn a_token_is_exchanged_for_the_credentials_of_a_role() {
        let server = HttpServer::start(|request| {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let expected = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15\
                &RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fmail&RoleSessionName=prixfixe\
                &WebIdentityToken=a.b%2Bc";
            let status = if body == expected { 200 } else { 400 };
            Some((status, String::new(), ISSUED.to_owned()))
        });
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "a.b+c\n").unwrap();
        let url = server.url();
        let all = [
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/mail"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
            ("AWS_ENDPOINT_URL_STS", &url),
        ];
        let credentials = Credentials::new(None, environment(&all));
        for _ in 0..2 {
            let found = credentials.current().await.unwrap();
            assert_eq!(found.access_key_id, "ROLE");
            assert_eq!(found.secret_access_key, "s/+=");
            assert_eq!(found.session_token.as_deref(), Some("t"));
        }
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_token_does_not_leave_in_plaintext_and_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "secret").unwrap();
        let server = HttpServer::start(|_| Some((200, String::new(), "secret".to_owned())));
        for (url, expected) in [
            ("http://192.0.2.1/", "plaintext"),
            (&*server.url(), "holds no credentials"),
        ] {
            let all = [
                ("AWS_ROLE_ARN", "role"),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
                ("AWS_ENDPOINT_URL_STS", url),
            ];
            let credentials = Credentials::new(None, environment(&all));
            let error = credentials.current().await.err().unwrap();
            assert!(
                error.contains(expected) && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_token_service_is_that_of_the_region() {
        for (region, expected) in [
            ("eu-west-1", "https://sts.eu-west-1.amazonaws.com/"),
            ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
            ("", "https://sts.amazonaws.com/"),
        ] {
            assert_eq!(endpoint(&environment(&[("AWS_REGION", region)])), expected);
        }
    }
}
