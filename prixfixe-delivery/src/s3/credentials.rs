//! Credentials from where all S3 tools look, in their order: the environment, a role by web
//! identity, the shared credentials file, the endpoint of a container, the endpoint of an instance
//! (IMDSv2).

mod web_identity;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::options::S3Credentials;
use prixfixe_http::{Client, ClientOptions, Origin, Request, TlsFiles};

/// Variables by name: the process's, or a test's.
pub(super) type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where credentials come from, and those that were found last.
pub(super) struct Credentials {
    source: Source,
    known: Mutex<Option<Known>>,
}

enum Source {
    Fixed(S3Credentials),
    Searched(Environment),
}

#[derive(Clone)]
struct Known {
    credentials: Arc<S3Credentials>,
    /// `None`: they do not end by themselves.
    expires: Option<Timestamp>,
}

/// They are fetched anew so long before they end.
const MARGIN: i64 = 5 * 60;

/// An endpoint on this machine answers at once, or is not there.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn process_environment() -> Environment {
    Arc::new(|name| std::env::var(name).ok())
}

/// A variable; one that is set to nothing is not set.
pub(super) fn variable(environment: &Environment, name: &str) -> Option<String> {
    let value = environment(name)?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

impl Credentials {
    pub(super) fn new(fixed: Option<S3Credentials>, environment: Environment) -> Self {
        Self {
            source: fixed.map_or(Source::Searched(environment), Source::Fixed),
            known: Mutex::new(None),
        }
    }

    /// Those that are good now. An error says where was looked.
    pub(super) async fn current(&self) -> Result<Arc<S3Credentials>, String> {
        let mut known = self.known.lock().await;
        let now = Timestamp::now().as_second();
        let lasts =
            |known: &Known, margin| known.expires.is_none_or(|it| now + margin < it.as_second());
        if let Some(known) = known.as_ref().filter(|known| lasts(known, MARGIN)) {
            return Ok(Arc::clone(&known.credentials));
        }
        match self.find().await {
            Ok(found) => Ok(Arc::clone(&known.insert(found).credentials)),
            // The old ones still have some minutes.
            Err(error) => match known.as_ref().filter(|known| lasts(known, 0)) {
                Some(known) => Ok(Arc::clone(&known.credentials)),
                None => Err(error),
            },
        }
    }

    /// A store does not take them any more.
    pub(super) async fn forget(&self, refused: &Arc<S3Credentials>) {
        let mut known = self.known.lock().await;
        if known
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(&it.credentials, refused))
        {
            *known = None;
        }
    }

    async fn find(&self) -> Result<Known, String> {
        let environment = match &self.source {
            Source::Fixed(fixed) => return Ok(Known::lasting(fixed.clone())),
            Source::Searched(environment) => environment,
        };
        if let Some(found) = from_variables(environment) {
            return Ok(Known::lasting(found));
        }
        if let Some(found) = web_identity::find(environment).await? {
            return Ok(found);
        }
        if let Some(found) = from_file(environment)? {
            return Ok(Known::lasting(found));
        }
        if let Some(found) = from_container(environment).await? {
            return Ok(found);
        }
        from_instance(environment).await
    }
}

impl Known {
    fn lasting(credentials: S3Credentials) -> Self {
        Self {
            credentials: Arc::new(credentials),
            expires: None,
        }
    }
}

fn from_variables(environment: &Environment) -> Option<S3Credentials> {
    Some(S3Credentials {
        access_key_id: variable(environment, "AWS_ACCESS_KEY_ID")?,
        secret_access_key: variable(environment, "AWS_SECRET_ACCESS_KEY")?,
        session_token: variable(environment, "AWS_SESSION_TOKEN"),
    })
}

/// The section of the profile in `~/.aws/credentials`.
fn from_file(environment: &Environment) -> Result<Option<S3Credentials>, String> {
    let set = variable(environment, "AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let home = || Some(Path::new(&variable(environment, "HOME")?).join(".aws/credentials"));
    let Some(path) = set.or_else(home) else {
        return Ok(None);
    };
    let profile = variable(environment, "AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    match fs::read_to_string(&path) {
        Ok(text) => Ok(from_section(&text, &profile)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn from_section(text: &str, profile: &str) -> Option<S3Credentials> {
    let (mut key, mut secret, mut token) = (None, None, None);
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            is_ours = name.trim() == profile;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| is_ours) else {
            continue;
        };
        let value = Some(value.trim().to_owned());
        match name.trim() {
            "aws_access_key_id" => key = value,
            "aws_secret_access_key" => secret = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(S3Credentials {
        access_key_id: key?,
        secret_access_key: secret?,
        session_token: token,
    })
}

/// What the endpoints of containers and instances say.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl From<Issued> for Known {
    fn from(issued: Issued) -> Self {
        let credentials = S3Credentials {
            access_key_id: issued.access_key_id,
            secret_access_key: issued.secret_access_key,
            session_token: issued.token,
        };
        Self {
            credentials: Arc::new(credentials),
            expires: issued.expiration.and_then(|it| it.parse().ok()),
        }
    }
}

/// Who may be told the token of a container: this machine, and the addresses that AWS has for that.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

async fn from_container(environment: &Environment) -> Result<Option<Known>, String> {
    let relative = variable(environment, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let full = variable(environment, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let Some(url) = relative
        .map(|path| format!("http://169.254.170.2{path}"))
        .or(full)
    else {
        return Ok(None);
    };
    let failed = |error: String| format!("the container's credentials at {url}: {error}");
    let (origin, path) = Origin::parse(&url).map_err(|error| failed(error.to_string()))?;
    let is_known = origin.is_loopback() || CONTAINER_HOSTS.contains(&&*origin.host);
    if !origin.is_https && !is_known {
        return Err(failed(
            "plaintext is for loopback and AWS' own addresses".to_owned(),
        ));
    }
    let file = variable(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let token = match file {
        Some(path) => {
            let text = fs::read_to_string(&path);
            Some(text.map_err(|error| failed(format!("cannot read {path}: {error}")))?)
        }
        None => variable(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let mut headers = Vec::new();
    if let Some(token) = token {
        headers.push((AUTHORIZATION, token.trim().to_owned()));
    }
    let text = ask(origin, Method::GET, &path, headers)
        .await
        .map_err(failed)?;
    issued(&text).map(Some).map_err(failed)
}

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// IMDSv2: a token first, so that a request which somebody else made this host send gets nothing.
async fn from_instance(environment: &Environment) -> Result<Known, String> {
    const NONE: &str = "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, write a shared credentials \
                        file, or give the container or the instance a role";
    let is_off = variable(environment, "AWS_EC2_METADATA_DISABLED");
    if is_off.is_some_and(|it| it.eq_ignore_ascii_case("true")) {
        return Err(NONE.to_owned());
    }
    let mode = variable(environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    let usual = match mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6")) {
        true => "http://[fd00:ec2::254]",
        false => "http://169.254.169.254",
    };
    let endpoint = variable(environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let endpoint = endpoint.unwrap_or_else(|| usual.to_owned());
    let failed = |error: String| format!("{NONE} (the instance's endpoint: {error})");
    let (origin, _) = Origin::parse(&endpoint).map_err(|error| failed(error.to_string()))?;
    let lifetime = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
    let lifetime = vec![(lifetime, "21600".to_owned())];
    let token = ask(origin.clone(), Method::PUT, "/latest/api/token", lifetime);
    let token = token.await.map_err(failed)?;
    let get = async |path: &str| {
        let name = HeaderName::from_static("x-aws-ec2-metadata-token");
        let headers = vec![(name, token.trim().to_owned())];
        ask(origin.clone(), Method::GET, path, headers)
            .await
            .map_err(failed)
    };
    let roles = get(ROLES).await?;
    let role = roles.lines().next().unwrap_or_default().trim();
    issued(&get(&format!("{ROLES}{role}")).await?).map_err(failed)
}

fn issued(text: &str) -> Result<Known, String> {
    // The text is a secret.
    let issued: Result<Issued, _> = serde_json::from_str(text);
    issued
        .map(Known::from)
        .map_err(|_| "its answer holds no credentials".to_owned())
}

async fn ask(
    origin: Origin,
    method: Method,
    path: &str,
    headers: Vec<(HeaderName, String)>,
) -> Result<String, String> {
    let target = path.parse().map_err(|_| format!("{path:?} is no path"))?;
    let mut request = Request::new(method, target);
    for (name, value) in headers {
        let mut value = HeaderValue::try_from(value).map_err(|_| "the token is none".to_owned())?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    send(origin, &request).await
}

/// The text of a success.
async fn send(origin: Origin, request: &Request) -> Result<String, String> {
    let client = Client::new(
        origin,
        &ClientOptions {
            connect_timeout: PATIENCE,
            max_idle: 0,
            tls: TlsFiles::default(),
            // Whom this may be is settled before.
            insecure: true,
        },
    );
    let client = client.map_err(|error| error.to_string())?;
    let response = client
        .send(request, PATIENCE)
        .await
        .map_err(|it| it.to_string())?;
    let status = response.status();
    if !status.is_success() {
        response.discard().await;
        return Err(format!("status {}", status.as_u16()));
    }
    let body = response.read().await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[cfg(test)]
mod tests;
