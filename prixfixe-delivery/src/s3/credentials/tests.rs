//! Where keys come from, and in which order.

use std::collections::HashMap;

use prixfixe_test_support::HttpServer;

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables: HashMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Arc::new(move |name| variables.get(name).cloned())
}

async fn found(variables: &[(&str, &str)]) -> Result<String, String> {
    let credentials = Credentials::new(None, environment(variables));
    let found = credentials.current().await?;
    let token = found.session_token.as_deref().unwrap_or("-");
    Ok(format!(
        "{} {} {token}",
        found.access_key_id, found.secret_access_key
    ))
}

#[tokio::test]
async fn the_environment_comes_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    fs::write(
        &file,
        "[default]\naws_access_key_id = FILE\naws_secret_access_key=s1\n\n[ other ]\n# no\naws_access_key_id=OTHER\naws_secret_access_key = s=2\naws_session_token = t\n",
    )
    .unwrap();
    let file = ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
    assert_eq!(found(&[file]).await.unwrap(), "FILE s1 -");
    let other = ("AWS_PROFILE", "other");
    assert_eq!(found(&[file, other]).await.unwrap(), "OTHER s=2 t");
    let key = ("AWS_ACCESS_KEY_ID", " KEY ");
    assert_eq!(
        found(&[file, key]).await.unwrap(),
        "FILE s1 -",
        "half is none"
    );
    let secret = ("AWS_SECRET_ACCESS_KEY", "s");
    let token = ("AWS_SESSION_TOKEN", "");
    assert_eq!(found(&[file, key, secret, token]).await.unwrap(), "KEY s -");
}

#[tokio::test]
async fn where_there_are_none_the_error_says_where_to_put_them() {
    let off = ("AWS_EC2_METADATA_DISABLED", "true");
    let error = found(&[off, ("HOME", "/nowhere")]).await.unwrap_err();
    assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");
    let full = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/x");
    let error = found(&[full]).await.unwrap_err();
    assert!(error.contains("plaintext"), "{error}");
}

const ISSUED: &str =
    r#"{"AccessKeyId":"KEY","SecretAccessKey":"s","Token":"t","Expiration":"EXPIRES"}"#;

fn issued_until(expires: &str) -> String {
    ISSUED.replace("EXPIRES", expires)
}

#[tokio::test]
async fn an_instance_is_asked_for_a_token_first() {
    let server = HttpServer::start(|request| {
        let has_token = request.header("x-aws-ec2-metadata-token") == Some("token");
        let body = match (&*request.method, request.path()) {
            ("PUT", "/latest/api/token") => {
                request.header("x-aws-ec2-metadata-token-ttl-seconds")?;
                "token".to_owned()
            }
            ("GET", ROLES) if has_token => "mx\n".to_owned(),
            ("GET", path) if has_token && path == format!("{ROLES}mx") => {
                issued_until("2099-01-01T00:00:00Z")
            }
            _ => return Some((401, String::new(), String::new())),
        };
        Some((200, String::new(), body))
    });
    let url = server.url();
    let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str());
    assert_eq!(found(&[endpoint]).await.unwrap(), "KEY s t");
}

#[tokio::test]
async fn a_container_shows_its_token_and_what_ends_soon_is_fetched_anew() {
    let server = HttpServer::start(|request| {
        let may = request.header("authorization") == Some("let me in");
        let status = if may { 200 } else { 403 };
        Some((status, String::new(), issued_until("2026-01-01T00:00:00Z")))
    });
    let full = format!("{}/role", server.url());
    let full = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str());
    let error = found(&[full]).await.unwrap_err();
    assert!(error.ends_with("status 403"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "let me in\n").unwrap();
    let file = (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        token.to_str().unwrap(),
    );
    let credentials = Credentials::new(None, environment(&[full, file]));
    for _ in 0..2 {
        credentials.current().await.unwrap();
    }
    assert_eq!(server.requests().len(), 3, "they have ended long ago");
}

#[tokio::test]
async fn what_is_no_answer_is_not_repeated() {
    let server = HttpServer::start(|_| Some((200, String::new(), "secret".to_owned())));
    let full = server.url();
    let error = found(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &full)])
        .await
        .unwrap_err();
    assert!(
        error.contains("holds no credentials") && !error.contains("secret"),
        "{error}"
    );
}
