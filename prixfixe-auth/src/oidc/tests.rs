//! Tokens against an issuer of the test's own, which publishes what it likes.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const AUDIENCE: &str = "mail";
const ANN: &str = "ann@example.com";
const CONFIGURATION: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

/// Serves these texts; a path without one hangs.
struct Provider {
    address: SocketAddr,
    texts: Arc<Mutex<HashMap<&'static str, String>>>,
    requests: Arc<AtomicUsize>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let provider = Self {
            address: listener.local_addr().unwrap(),
            texts: Arc::default(),
            requests: Arc::default(),
        };
        let (texts, requests) = (provider.texts.clone(), provider.requests.clone());
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for stream in listener.incoming().flatten() {
                requests.fetch_add(1, Ordering::SeqCst);
                hanging.extend(answer(stream, &texts));
            }
        });
        let url = format!("{}{KEYS}", provider.url());
        provider.says(
            CONFIGURATION,
            &json!({ "issuer": provider.url(), "jwks_uri": url }),
        );
        provider
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn says(&self, path: &'static str, text: &Value) {
        self.texts.lock().unwrap().insert(path, text.to_string());
    }

    fn publishes(&self, keys: &[&Signer]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.published()).collect();
        self.says(KEYS, &json!({ "keys": keys }));
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn oidc(&self, pace: Pace) -> Oidc {
        Oidc::with(OidcOptions::new(self.url(), AUDIENCE).unwrap(), pace).unwrap()
    }
}

/// Gives the connection back that is not answered.
fn answer(mut stream: TcpStream, texts: &Mutex<HashMap<&str, String>>) -> Option<TcpStream> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
    let path = request.split(' ').nth(1)?;
    let text = texts.lock().unwrap().get(path).cloned();
    let Some(text) = text else {
        return Some(stream);
    };
    let (status, text) = match text.strip_prefix("\"503\"") {
        Some(_) => ("503 Away", ""),
        None => ("200 OK", text.as_str()),
    };
    let length = text.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    );
    None
}

/// A key of the issuer's.
struct Signer {
    id: &'static str,
    pkcs8: Vec<u8>,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pkcs8 = pkcs8.as_ref().to_vec();
        Self { id, pkcs8 }
    }

    fn published(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&EncodingKey::from_ec_der(&self.pkcs8), Algorithm::ES256);
        let mut jwk = serde_json::to_value(jwk.unwrap()).unwrap();
        jwk["kid"] = self.id.into();
        jwk["use"] = "sig".into();
        jwk
    }

    fn signs(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        self.signs_with(&header, claims)
    }

    fn signs_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &EncodingKey::from_ec_der(&self.pkcs8)).unwrap()
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// With these claims in place of the usual ones; null is none.
fn claims(issuer: &str, other: Value) -> Value {
    let mut claims = json!({
        "iss": issuer, "aud": AUDIENCE, "exp": now() + 300, "sub": "1", "email": ANN,
        "email_verified": true,
    });
    for (name, value) in other.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// By each of the two mechanisms.
fn log_in(oidc: &Oidc, user: &str, token: &str) -> Result<String, u16> {
    let client = Client::builder().build();
    let named = match user {
        "" => String::new(),
        user => format!("a={user}"),
    };
    let messages = [
        (
            Mechanism::OAUTHBEARER,
            format!("n,{named},\x01auth=Bearer {token}\x01\x01"),
        ),
        (
            Mechanism::XOAUTH2,
            format!("user={user}\x01auth=Bearer {token}\x01\x01"),
        ),
    ];
    let outcomes = messages.map(|(mechanism, message)| {
        let login = Login::builder(&client, mechanism)
            .initial_response(message)
            .answers(|_| Some(vec![1]))
            .build();
        let outcome = pollster::block_on(oidc.authenticate(login));
        let outcome = outcome.map(|identity| identity.name().to_owned());
        outcome.map_err(|reply| reply.code())
    });
    assert_eq!(outcomes[0], outcomes[1], "{token}");
    let [outcome, _] = outcomes;
    outcome
}

/// Fetches whenever it is asked to.
fn eager() -> Pace {
    Pace {
        between: Duration::ZERO,
        ..Pace::default()
    }
}

/// Fetches once, and then not for a long time.
fn lazy() -> Pace {
    Pace {
        between: Duration::from_secs(3600),
        ..Pace::default()
    }
}

fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[test]
fn tokens_count_or_not() {
    let (provider, key, other) = (Provider::start(), Signer::new("1"), Signer::new("1"));
    provider.publishes(&[&key]);
    let oidc = provider.oidc(lazy());
    let url = provider.url();
    let with = |other: Value| key.signs(&claims(&url, other));
    let good = with(json!({}));
    let ann = || Ok(ANN.to_owned());
    assert_eq!(log_in(&oidc, "", &good), ann());
    assert_eq!(log_in(&oidc, ANN, &good), ann());
    assert_eq!(log_in(&oidc, "bob@example.com", &good), Err(535));
    for claims in [
        json!({ "aud": ["shop", AUDIENCE] }),
        json!({ "email_verified": null }),
        // A minute's leeway.
        json!({ "exp": now() - 10, "nbf": now() + 10 }),
    ] {
        assert_eq!(log_in(&oidc, "", &with(claims.clone())), ann(), "{claims}");
    }
    for claims in [
        json!({ "aud": "shop" }),
        json!({ "aud": ["shop"] }),
        json!({ "aud": null }),
        json!({ "iss": "https://id.example.com" }),
        json!({ "iss": null }),
        json!({ "exp": now() - 120 }),
        json!({ "exp": null }),
        json!({ "exp": "soon" }),
        json!({ "nbf": now() + 120 }),
        json!({ "email": null }),
        json!({ "email": 7 }),
        json!({ "email": "" }),
        json!({ "email": "a\r\nb@example.com" }),
        json!({ "email": "x".repeat(256) }),
        json!({ "email_verified": false }),
        json!({ "email_verified": "false" }),
    ] {
        let outcome = log_in(&oidc, "", &with(claims.clone()));
        assert_eq!(outcome, Err(535), "{claims}");
    }
    let claims = claims(&url, json!({}));
    // The public key as a secret, no signature at all, another key's, one that the token brings
    // along.
    let public = key.published();
    let point = [public["x"].as_str(), public["y"].as_str()].map(|it| BASE64.decode(it.unwrap()));
    let point = point.map(Result::unwrap).concat();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("1".to_owned());
    let signed =
        |secret: &[u8]| encode(&header, &claims, &EncodingKey::from_secret(secret).unwrap());
    let mut forged = vec![
        signed(&point).unwrap(),
        signed(&[&[4], point.as_slice()].concat()).unwrap(),
        signed(public.to_string().as_bytes()).unwrap(),
        other.signs(&claims),
    ];
    for algorithm in ["none", "None", "ES256", "RS256", "HS256", ""] {
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": "1" });
        forged.push(unsigned(&header, &claims, ""));
        forged.push(unsigned(&header, &claims, "AAAA"));
    }
    let mut header = Header::new(Algorithm::ES256);
    header.jwk = serde_json::from_value(other.published()).ok();
    forged.push(other.signs_with(&header, &claims));
    let (signed, _) = good.rsplit_once('.').unwrap();
    forged.extend([
        signed.to_owned(),
        format!("{signed}."),
        "x".to_owned(),
        "..".to_owned(),
    ]);
    for token in forged {
        assert_eq!(log_in(&oidc, "", &token), Err(535), "{token}");
    }
    // Where there is one key, a token need not name it.
    let header = Header::new(Algorithm::ES256);
    assert_eq!(log_in(&oidc, "", &key.signs_with(&header, &claims)), ann());
    assert_eq!(provider.requests(), 2, "the keys were fetched once");
}

#[test]
fn another_claim_names_the_user() {
    let (provider, key) = (Provider::start(), Signer::new("1"));
    provider.publishes(&[&key]);
    let options = OidcOptions::new(provider.url(), AUDIENCE).unwrap();
    let options = options.claim("preferred_username");
    let oidc = Oidc::with(options, lazy()).unwrap();
    let url = provider.url();
    let named = json!({ "preferred_username": "ann", "email_verified": false });
    assert_eq!(
        log_in(&oidc, "", &key.signs(&claims(&url, named))).as_deref(),
        Ok("ann")
    );
    let unnamed = key.signs(&claims(&url, json!({})));
    assert_eq!(log_in(&oidc, "", &unnamed), Err(535));
}

#[test]
fn a_key_that_is_new_is_fetched() {
    let (provider, old, new) = (Provider::start(), Signer::new("1"), Signer::new("2"));
    provider.publishes(&[&old]);
    let url = provider.url();
    let tokens = [&old, &new].map(|key| key.signs(&claims(&url, json!({}))));
    let oidc = provider.oidc(eager());
    let outcomes = || {
        tokens
            .each_ref()
            .map(|token| log_in(&oidc, "", token).is_ok())
    };
    assert_eq!(outcomes(), [true, false]);
    provider.publishes(&[&old, &new]);
    assert_eq!(outcomes(), [true, true]);
    // One that is withdrawn counts no more, once the keys are fetched again.
    provider.publishes(&[&new]);
    let unknown = Signer::new("3").signs(&claims(&url, json!({})));
    assert_eq!(log_in(&oidc, "", &unknown), Err(535));
    assert_eq!(outcomes(), [false, true]);
}

#[test]
fn strangers_keys_are_asked_about_seldom() {
    let (provider, key) = (Provider::start(), Signer::new("1"));
    provider.publishes(&[&key]);
    let oidc = provider.oidc(lazy());
    let unknown = Signer::new("2").signs(&claims(&provider.url(), json!({})));
    assert_eq!(
        log_in(&oidc, "", &key.signs(&claims(&provider.url(), json!({})))).as_deref(),
        Ok(ANN)
    );
    for _ in 0..10 {
        assert_eq!(log_in(&oidc, "", &unknown), Err(535));
    }
    assert_eq!(provider.requests(), 2);
}

#[test]
fn an_issuer_that_is_away_is_454_and_is_found_again() {
    let (provider, key) = (Provider::start(), Signer::new("1"));
    let token = key.signs(&claims(&provider.url(), json!({})));
    provider.says(KEYS, &json!("503"));
    let oidc = provider.oidc(eager());
    assert_eq!(log_in(&oidc, "", &token), Err(454));
    provider.publishes(&[&key]);
    assert_eq!(log_in(&oidc, "", &token).as_deref(), Ok(ANN));
    // What is known is known, and of what is not, nobody can tell.
    provider.says(CONFIGURATION, &json!("503"));
    assert_eq!(log_in(&oidc, "", &token).as_deref(), Ok(ANN));
    let unknown = Signer::new("2").signs(&claims(&provider.url(), json!({})));
    assert_eq!(log_in(&oidc, "", &unknown), Err(454));
    // Keys do not last for ever.
    let pace = Pace {
        usable: Duration::ZERO,
        ..eager()
    };
    let oidc = provider.oidc(pace);
    assert_eq!(log_in(&oidc, "", &token), Err(454));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let options = OidcOptions::new(format!("http://{}", nobody.unwrap()), AUDIENCE);
    let oidc = Oidc::with(options.unwrap(), eager()).unwrap();
    assert_eq!(log_in(&oidc, "", &token), Err(454));
}

#[test]
fn what_is_no_issuer_s_is_454() {
    let key = Signer::new("1");
    let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "1" });
    let mut of_encryption = key.published();
    of_encryption["use"] = "enc".into();
    let long = json!({ "keys": [key.published()], "x": "x".repeat(70_000) });
    let cases: [(&'static str, Value); 8] = [
        (
            CONFIGURATION,
            json!({ "issuer": "http://other.example", "jwks_uri": "http://127.0.0.1/" }),
        ),
        (CONFIGURATION, json!([])),
        (CONFIGURATION, json!({ "issuer": "", "jwks_uri": 1 })),
        (KEYS, json!({ "keys": [] })),
        (KEYS, json!({ "keys": [secret] })),
        (KEYS, json!({ "keys": [of_encryption] })),
        (KEYS, json!("keys")),
        (KEYS, long),
    ];
    for (path, text) in cases {
        let provider = Provider::start();
        provider.publishes(&[&key]);
        provider.says(path, &text);
        let oidc = provider.oidc(lazy());
        let token = key.signs(&claims(&provider.url(), json!({})));
        let shown = text.to_string();
        assert_eq!(log_in(&oidc, "", &token), Err(454), "{path} {shown:.99}");
    }
    // Keys are fetched over TLS, or from this host.
    let provider = Provider::start();
    let elsewhere = json!({ "issuer": provider.url(), "jwks_uri": "http://192.0.2.1/" });
    provider.says(CONFIGURATION, &elsewhere);
    let token = key.signs(&claims(&provider.url(), json!({})));
    assert_eq!(log_in(&provider.oidc(lazy()), "", &token), Err(454));
}

#[test]
fn an_issuer_that_hangs_is_given_up() {
    let (provider, key) = (Provider::start(), Signer::new("1"));
    let token = key.signs(&claims(&provider.url(), json!({})));
    let pace = Pace {
        patience: Duration::from_millis(50),
        ..eager()
    };
    assert_eq!(log_in(&provider.oidc(pace), "", &token), Err(454));
}

#[test]
fn keys_that_are_known_here_are_found_among_others() {
    let (provider, key) = (Provider::start(), Signer::new("1"));
    let keys = json!([
        { "kty": "new", "kid": "1" }, { "kty": "RSA", "kid": "1" }, 7,
        { "kty": "oct", "k": "c2VjcmV0", "kid": "1" }, key.published(),
    ]);
    provider.says(KEYS, &json!({ "keys": keys }));
    let token = key.signs(&claims(&provider.url(), json!({})));
    assert_eq!(
        log_in(&provider.oidc(lazy()), "", &token).as_deref(),
        Ok(ANN)
    );
}

#[test]
fn an_issuer_is_a_url_of_https_or_of_this_host() {
    for good in [
        "https://id.example.com",
        "https://id.example.com/a/",
        "http://localhost:8080",
    ] {
        let options = OidcOptions::new(good, AUDIENCE).unwrap();
        let at = options.configuration();
        assert!(
            at.ends_with("/.well-known/openid-configuration") && !at.contains("//."),
            "{at}"
        );
    }
    for bad in [
        "",
        "id.example.com",
        "http://id.example.com",
        "https://a/?b",
        "https://a/#b",
        "https://a:b@c/",
    ] {
        assert!(OidcOptions::new(bad, AUDIENCE).is_err(), "{bad}");
    }
}
