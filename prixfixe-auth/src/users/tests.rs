//! Logins against files, without a network.

use std::collections::HashSet;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use prixfixe_server::{TlsInfo, TlsVersion};
use tempfile::TempDir;

use super::*;

/// `echo -n password | argon2 saltsalt -id -t 2 -k 64 -p 1 -l 32 -e`
const ARGON2: &str =
    "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$50UD97y0OOTVN7ca0lAiIkxAFbJoO8IYMkpI3Oo6akY";
const ANN: &str = "ann@example.com";

struct Fixture {
    users: Users,
    path: PathBuf,
    _directory: TempDir,
}

fn scram_line(name: &str, password: &str) -> String {
    let verifier = Verifier::new(password.as_bytes(), b"salt of a test's", 4096).unwrap();
    format!("{name}:{verifier}\n")
}

fn fixture(content: &str) -> Fixture {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("users");
    fs::write(&path, content).unwrap();
    Fixture {
        users: Users::open(&path).unwrap(),
        path,
        _directory: directory,
    }
}

fn plain(users: &Users, name: &str, password: &str) -> Result<String, u16> {
    let client = Client::builder().build();
    outcome(users, Login::plain(&client, name, password))
}

fn outcome(users: &Users, login: Login<'_>) -> Result<String, u16> {
    let result = pollster::block_on(users.authenticate(login));
    let name = result.map(|identity| identity.name().to_owned());
    name.map_err(|reply| reply.code())
}

#[test]
fn passwords_are_right_or_wrong() {
    let lines = format!("{}bob:{ARGON2}\n", scram_line(ANN, "p\u{e4}ss"));
    let Fixture { users, .. } = &fixture(&lines);
    for (name, password, expected) in [
        (ANN, "p\u{e4}ss", Ok(ANN)),
        // The same in another form: SASLprep.
        (ANN, "pa\u{308}ss", Ok(ANN)),
        ("ann\u{ad}@example.com", "p\u{e4}ss", Ok(ANN)),
        (ANN, "pass", Err(535)),
        (ANN, "", Err(535)),
        ("bob", "password", Ok("bob")),
        ("bob", "Password", Err(535)),
        ("Bob", "password", Err(535)),
        ("nobody", "password", Err(535)),
        ("\u{7}", "password", Err(535)),
    ] {
        let found = plain(users, name, password);
        assert_eq!(found.as_deref(), expected.as_deref(), "{name} {password}");
    }
    let client = Client::builder().build();
    let login = Login::builder(&client, Mechanism::LOGIN)
        .response("bob")
        .response("password")
        .build();
    assert_eq!(outcome(users, login).as_deref(), Ok("bob"));
}

/// The client's side of SCRAM, by the formulas of RFC 5802 section 3.
fn scram_client<'a>(
    client: &'a Client,
    mechanism: Mechanism,
    header: &'static str,
    name: &'static str,
    password: &'static str,
    shown: &'a Mutex<Vec<String>>,
) -> Login<'a> {
    let bare = format!("n={name},r=client");
    let binding = client.tls().and_then(|tls| tls.channel_binding);
    let binding = binding.filter(|_| header.starts_with("p="));
    let binding =
        BASE64.encode([header.as_bytes(), binding.as_ref().map_or(&[], |it| it)].concat());
    let first = format!("{header}{bare}");
    Login::builder(client, mechanism)
        .initial_response(first)
        .answers(move |challenge| {
            let challenge = str::from_utf8(challenge).unwrap();
            shown.lock().unwrap().push(challenge.to_owned());
            if challenge.starts_with("v=") {
                return Some(Vec::new());
            }
            let mut parts = challenge.splitn(3, ',').map(|part| &part[2..]);
            let (nonce, salt, count) = (parts.next()?, parts.next()?, parts.next()?);
            let mut salted = [0; 32];
            let salt = BASE64.decode(salt).unwrap();
            pbkdf2::pbkdf2_hmac::<sha2::Sha256>(
                password.as_bytes(),
                &salt,
                count.parse().unwrap(),
                &mut salted,
            );
            let client_key = hmac(&salted, b"Client Key");
            let stored_key = <sha2::Sha256 as sha2::Digest>::digest(client_key);
            let without_proof = format!("c={binding},r={nonce}");
            let signed = format!("{bare},{challenge},{without_proof}");
            let signature = hmac(&stored_key, signed.as_bytes());
            let proof: Vec<u8> = client_key
                .iter()
                .zip(signature)
                .map(|(key, signature)| key ^ signature)
                .collect();
            Some(format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes())
        })
        .build()
}

fn bound_client() -> Client {
    let mut tls = TlsInfo::new(TlsVersion::Tls13, "TLS13_AES_256_GCM_SHA384");
    tls.channel_binding = Some([7; 32]);
    Client::builder().tls(tls).build()
}

#[test]
fn scram_with_and_without_a_channel_binding() {
    let lines = format!("{}bob:{ARGON2}\n", scram_line("ann", "secret"));
    let Fixture { users, .. } = &fixture(&lines);
    let (clear, bound) = (Client::builder().build(), bound_client());
    let (scram, plus) = (Mechanism::SCRAM_SHA_256, Mechanism::SCRAM_SHA_256_PLUS);
    for (client, mechanism, header, name, password, expected) in [
        (&clear, &scram, "n,,", "ann", "secret", Ok("ann")),
        (&clear, &scram, "y,,", "ann", "secret", Ok("ann")),
        (&bound, &scram, "n,,", "ann", "secret", Ok("ann")),
        (
            &bound,
            &plus,
            "p=tls-exporter,,",
            "ann",
            "secret",
            Ok("ann"),
        ),
        // It was offered, and the client was told that it was not.
        (&bound, &scram, "y,,", "ann", "secret", Err(535)),
        (&bound, &plus, "n,,", "ann", "secret", Err(535)),
        (&clear, &plus, "p=tls-exporter,,", "ann", "secret", Err(504)),
        (&clear, &scram, "n,,", "ann", "Secret", Err(535)),
        (&clear, &scram, "n,a=bob,", "ann", "secret", Err(535)),
        // Its hash is of another kind.
        (&clear, &scram, "n,,", "bob", "password", Err(535)),
        (&clear, &scram, "n,,", "nobody", "secret", Err(535)),
        (&clear, &scram, "", "ann", "secret", Err(501)),
    ] {
        let shown = Mutex::default();
        let login = scram_client(client, mechanism.clone(), header, name, password, &shown);
        let found = outcome(users, login);
        assert_eq!(
            found.as_deref(),
            expected.as_deref(),
            "{mechanism} {header} {name}"
        );
    }
}

/// What a client learns of a name that there is, and of one that there is not.
#[test]
fn nobody_is_shown_a_salt_like_anybody_s() {
    let fixture = fixture(&scram_line("ann", "secret"));
    let client = Client::builder().build();
    let shown = |users: &Users, name| {
        let shown = Mutex::default();
        let mechanism = Mechanism::SCRAM_SHA_256;
        let login = scram_client(&client, mechanism, "n,,", name, "wrong", &shown);
        assert_eq!(outcome(users, login), Err(535));
        let challenge = shown.into_inner().unwrap().remove(0);
        challenge.split_once(',').unwrap().1.to_owned()
    };
    let users = &fixture.users;
    let names = ["ann", "bob", "carl", "dora"];
    let first = names.map(|name| shown(users, name));
    assert_eq!(names.map(|name| shown(users, name)), first);
    assert_eq!(HashSet::from(first.clone()).len(), names.len());
    for shown in &first {
        let (salt, count) = shown.strip_prefix("s=").unwrap().split_once(",i=").unwrap();
        assert_eq!(BASE64.decode(salt).unwrap().len(), 16);
        assert_eq!(count, "4096");
    }
    // The next process, or another server with that file, shows the same: a change would tell who
    // is nobody.
    let other = Users::open(&fixture.path).unwrap();
    assert_eq!(names.map(|name| shown(&other, name)), first);
    // An empty file has nobody to tell from the others.
    fs::write(&fixture.path, "").unwrap();
    let other = Users::open(&fixture.path).unwrap();
    assert_ne!(shown(&other, "bob"), first[1]);
}

#[test]
fn mechanisms_follow_from_the_file_and_the_connection() {
    let mut certified = TlsInfo::new(TlsVersion::Tls12, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    certified.client_name = Some("ann".to_owned());
    let certified = Client::builder().tls(certified).build();
    let (clear, bound) = (Client::builder().build(), bound_client());
    let scram = scram_line("ann", "secret");
    let argon2 = format!("bob:{ARGON2}\n");
    for (lines, client, expected) in [
        (scram.clone(), &clear, "SCRAM-SHA-256 PLAIN LOGIN"),
        (
            scram.clone(),
            &bound,
            "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN",
        ),
        (scram, &certified, "SCRAM-SHA-256 PLAIN LOGIN EXTERNAL"),
        (argon2, &bound, "PLAIN LOGIN"),
    ] {
        let offered = fixture(&lines).users.mechanisms(client);
        let offered: Vec<_> = offered.iter().map(Mechanism::as_str).collect();
        assert_eq!(offered.join(" "), expected);
    }
}

#[test]
fn a_certificate_s_name_must_be_in_the_file() {
    let fixture = fixture(&scram_line("ann", "secret"));
    for (certified, said, expected) in [
        (Some("ann"), "", Ok("ann")),
        (Some("ann"), "ann", Ok("ann")),
        (Some("ann"), "bob", Err(535)),
        (Some("bob"), "", Err(535)),
        (None, "", Err(504)),
    ] {
        let mut tls = TlsInfo::new(TlsVersion::Tls13, "TLS13_AES_256_GCM_SHA384");
        tls.client_name = certified.map(str::to_owned);
        let client = Client::builder().tls(tls).build();
        let login = Login::builder(&client, Mechanism::EXTERNAL)
            .initial_response(said)
            .build();
        let found = outcome(&fixture.users, login);
        assert_eq!(
            found.as_deref(),
            expected.as_deref(),
            "{certified:?} {said}"
        );
    }
}

#[test]
fn the_file_is_read_again_when_it_changes() {
    let fixture = fixture(&scram_line("ann", "secret"));
    let users = &fixture.users;
    assert_eq!(plain(users, "bob", "password"), Err(535));
    let other = fixture.path.with_extension("new");
    fs::write(&other, format!("bob:{ARGON2}\n")).unwrap();
    fs::rename(&other, &fixture.path).unwrap();
    users.refresh();
    assert_eq!(plain(users, "bob", "password").as_deref(), Ok("bob"));
    assert_eq!(plain(users, "ann", "secret"), Err(535));

    // Users stay while there is no file, and go when there is one without them.
    fs::remove_file(&fixture.path).unwrap();
    users.refresh();
    assert_eq!(plain(users, "bob", "password").as_deref(), Ok("bob"));
    fs::write(&fixture.path, "").unwrap();
    users.refresh();
    assert_eq!(plain(users, "bob", "password"), Err(535));
}

/// The same size and, within the clock's step, the same time: it is looked into all the same.
#[test]
fn a_change_within_one_step_of_the_clock_is_seen() {
    let fixture = fixture(&scram_line("ann", "secret"));
    let time = fs::metadata(&fixture.path).unwrap().modified().unwrap();
    fs::write(&fixture.path, scram_line("ann", "SECRET")).unwrap();
    let file = fs::File::options().write(true).open(&fixture.path).unwrap();
    file.set_modified(time).unwrap();
    fixture.users.refresh();
    assert_eq!(plain(&fixture.users, "ann", "SECRET").as_deref(), Ok("ann"));
}

#[test]
fn the_thread_sees_a_change_by_itself() {
    let fixture = fixture("");
    fs::write(&fixture.path, format!("bob:{ARGON2}\n")).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while plain(&fixture.users, "bob", "password").is_err() {
        assert!(std::time::Instant::now() < deadline, "not seen in a minute");
        thread::yield_now();
    }
}

#[test]
fn what_cannot_be_opened() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");
    let error = Users::open(&missing).unwrap_err().to_string();
    assert!(error.starts_with(&missing.display().to_string()), "{error}");
    let large = directory.path().join("large");
    let file = fs::File::create(&large).unwrap();
    file.set_len(16 * 1024 * 1024 + 1).unwrap();
    let error = Users::open(&large).unwrap_err().to_string();
    assert!(error.contains("over 16777216 bytes"), "{error}");
}

#[test]
fn nothing_of_a_password_is_printed() {
    let fixture = fixture(&scram_line("ann", "secret"));
    let printed = format!("{:?}", fixture.users);
    assert!(!printed.contains("ann"), "{printed}");
}
