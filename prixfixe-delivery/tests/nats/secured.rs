//! Passwords, certificates.

use prixfixe_delivery::{NatsError, TlsUse};
use prixfixe_test_support::SelfSigned;

use super::*;

#[tokio::test]
async fn a_password_and_a_certificate_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = SelfSigned::new("localhost");
    certificate.install(folder.path());
    let file = |name: &str| folder.path().join(name);
    let more = format!(
        "authorization {{ user: mx, password: secret }}\ntls {{ cert_file: {:?}, key_file: {:?} }}",
        file("cert.pem"),
        file("key.pem")
    );
    let Some(server) = NatsServer::start_with(&more) else {
        return;
    };
    std::fs::write(file("password"), "secret\n").unwrap();
    std::fs::write(file("wrong"), "guess\n").unwrap();
    let address = format!("nats://localhost:{}", server.port);
    let admin = async_nats::ConnectOptions::with_user_and_password("mx".into(), "secret".into())
        .add_root_certificates(file("cert.pem"))
        .require_tls(true);
    let context = jetstream::new(admin.connect(&address).await.unwrap());
    context.create_stream(stream()).await.unwrap();
    bucket(&context, 1).await;

    let mut good = options();
    good.username = Some("mx".to_owned());
    good.password_file = Some(file("password"));
    good.tls_ca = Some(file("cert.pem"));
    let target = open(&address, good.clone()).await;
    send_until_taken(&target, "bob@example.org", "one").await;

    let mut unverified = good.clone();
    unverified.tls_ca = None;
    unverified.tls = Some(TlsUse::Require);
    let target = open(&address, unverified).await;
    send_until_taken(&target, "bob@example.org", "two").await;
    assert_eq!(messages(&context).await, 2);

    let mut wrong = good.clone();
    wrong.password_file = Some(file("wrong"));
    let fault = fault(&open(&address, wrong).await);
    assert!(
        fault.to_lowercase().contains("authorization") && !fault.contains("guess"),
        "{fault}"
    );

    let other = SelfSigned::new("localhost");
    std::fs::write(file("other.pem"), &other.certificate_pem).unwrap();
    let mut stranger = good;
    stranger.tls_ca = Some(file("other.pem"));
    let fault = self::fault(&open(&address, stranger).await);
    assert!(fault.contains("certificate"), "{fault}");
}

fn fault(target: &Nats) -> String {
    target.health().fault().expect("a fault").to_string()
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "secret").unwrap();
    let url = "nats://192.0.2.1/mail".parse().unwrap();
    let refused = async |change: &dyn Fn(&mut NatsOptions)| {
        let mut options = options();
        change(&mut options);
        Nats::open(&url, options).await.expect_err("it cannot work")
    };
    let with_login = |options: &mut NatsOptions| {
        options.username = Some("mx".to_owned());
        options.password_file = Some(password.clone());
    };
    for tls in [TlsUse::Off, TlsUse::Require] {
        let error = refused(&|it| {
            with_login(it);
            it.tls = Some(tls);
        })
        .await;
        assert!(matches!(error, NatsError::CredentialsInClear));
    }
    let error = refused(&|it| it.username = Some("mx".to_owned())).await;
    assert!(matches!(error, NatsError::Options(_)), "{error}");
    let error = refused(&|it| it.creds_file = Some("/nowhere/x.creds".into())).await;
    assert!(matches!(error, NatsError::File { .. }), "{error}");
    let error = refused(&|it| it.creds_file = Some(password.clone())).await;
    assert!(
        error.to_string().contains("password") && !error.to_string().contains("secret"),
        "{error}"
    );
    let error = refused(&|it| {
        it.tls = Some(TlsUse::Verify);
        it.tls_cert = Some(password.clone());
    })
    .await;
    assert!(matches!(error, NatsError::Options(_)));
    let error = refused(&|it| it.objects = "a.b".to_owned()).await;
    assert!(matches!(error, NatsError::Bucket(_)), "{error}");
}
