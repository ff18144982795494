//! The spool behind a server, on both transports: several ways in one message, and a report to the
//! sender.

use prixfixe_delivery::{Bouncer, FleetDelivery, Notice, Report, Routes};
use prixfixe_server::{Notify, RcptParameters, Recipient, Server as SmtpServer, Transport};
use prixfixe_test_support::talk;

use super::*;

/// Writes to every sender.
struct Always;

impl Bouncer for Always {
    fn report(&self, report: &Report<'_>) -> Option<Notice> {
        let of = &report.recipients[0].recipient.to;
        let envelope = Envelope::builder().to(&report.envelope.from).ok()?.build();
        let client = Client::builder().build();
        let text = format!(
            "Message-ID: <{of}>\r\nSubject: {}\r\n\r\n{of}\r\n",
            report.ending
        );
        assert!(report.is_whole && report.content.starts_with(b"Message-ID: <x@"));
        Some(Notice::of_all(Message::new(client, envelope, [text])))
    }
}

fn mail_goes_all_ways_and_a_refusal_comes_back(transport: Transport) {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let collector = || Arc::new(Collector::default());
    let (one, copy, other) = (collector(), collector(), collector());
    let routes = Routes::new("mx.example.com")
        .shared_target("one", one.clone())
        .shared_target("other", other.clone())
        .shared_target("copy", copy.clone())
        .route_to_all(["@example.org".parse().unwrap()], &["one", "copy"])
        .and_then(|it| it.rest("other"))
        .expect("routes");
    let mut options = options();
    options.bouncer = Arc::new(Always);
    let delivery = runtime.block_on(async {
        let fleet = open(&server.address(), options).await;
        FleetDelivery::new(fleet, routes, 4)
            .await
            .expect("a handler")
    });
    let smtp = SmtpServer::builder()
        .listen(([127, 0, 0, 1], 0))
        .transport(transport)
        .handler(delivery.clone())
        .start()
        .expect("it starts");
    let replies = talk(
        smtp.local_address(),
        &[
            "EHLO mx.example.com",
            "MAIL FROM:<ann@example.com>",
            "RCPT TO:<bob@example.org>",
            "RCPT TO:<carl@example.net>",
            "RCPT TO:<nobody@example.org>",
            "DATA",
            "Message-ID: <x@example.com>\r\n\r\nHow are you?\r\n.",
        ],
    );
    assert!(replies[7].starts_with("250 2.0.0"), "{replies:?}");
    runtime.block_on(until("deliveries", async || {
        one.digests() == 1 && copy.digests() == 1 && other.digests() >= 2
    }));
    assert_eq!(one.all()[0].recipients, ["bob@example.org"]);
    let report = other.all().into_iter().find(|it| it.from.is_empty());
    let report = report.expect("a report");
    assert_eq!(report.recipients, ["ann@example.com"]);
    let text = String::from_utf8_lossy(&report.text);
    assert!(
        text.ends_with("Subject: refused\r\n\r\nnobody@example.org\r\n"),
        "{text}"
    );
    let context = runtime.block_on(context(&server.address()));
    assert_eq!(runtime.block_on(count(&context, "PRIXFIXE_FAILED")), 0);

    // Another target under a known name, and a name that is gone.
    let third = Arc::new(Collector::default());
    let routes = Routes::new("mx.example.com")
        .shared_target("one", third.clone())
        .rest("one")
        .expect("routes");
    runtime
        .block_on(delivery.set_routes(routes))
        .expect("they are set");
    let kept = runtime.block_on(keep(
        delivery.fleet(),
        "other",
        &["eve@example.net"],
        content("kept"),
    ));
    kept.expect("it is kept");
    runtime.block_on(keep_until_taken(delivery.fleet(), "one", "y"));
    runtime.block_on(until("the new target", async || third.digests() == 1));
    assert_eq!(
        other.digests(),
        2,
        "nobody delivers for a name that is gone"
    );
    assert_eq!(delivery.targets()[0].name, "one");
}

#[test]
fn mail_goes_all_ways_and_a_refusal_comes_back_on_tokio() {
    mail_goes_all_ways_and_a_refusal_comes_back(Transport::Tokio);
}

#[test]
fn mail_goes_all_ways_and_a_refusal_comes_back_on_raw() {
    mail_goes_all_ways_and_a_refusal_comes_back(Transport::Raw);
}

/// Writes another report each time, as most do.
#[derive(Default)]
pub(crate) struct Anew(std::sync::atomic::AtomicU64);

impl Bouncer for Anew {
    fn report(&self, report: &Report<'_>) -> Option<Notice> {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let envelope = Envelope::builder().to(&report.envelope.from).ok()?.build();
        let text = format!("Message-ID: <{number}@mx.example.com>\r\n\r\nSorry\r\n");
        let message = Message::new(Client::builder().build(), envelope, [text]);
        Some(Notice::of_all(message))
    }
}

#[test]
fn a_server_that_dies_between_report_and_acknowledgement_has_one_report_sent() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(1).enable_all();
        builder.build().expect("a runtime")
    };
    let target = Arc::new(Collector::default());
    let bouncer: Arc<dyn Bouncer> = Arc::new(Anew::default());
    let start = || async {
        let routes = Routes::new("mx.example.com")
            .shared_target("relay", target.clone())
            .rest("relay")
            .expect("routes");
        let mut options = options();
        options.bouncer = bouncer.clone();
        let fleet = open(&server.address(), options).await;
        FleetDelivery::new(fleet, routes, 4).await.expect("it")
    };
    // Each by its digest: the server may die before the delivery of one is acknowledged too, and
    // then that same one is delivered again.
    let reports = || target.digests();
    let outside = runtime();
    let context = outside.block_on(context(&server.address()));
    let failed_takes = |subject: &str| {
        outside.block_on(async {
            let stream = context.get_stream("PRIXFIXE_FAILED").await.expect("it");
            let mut config = stream.cached_info().config.clone();
            config.subjects = vec![subject.to_owned()];
            context.update_stream(config).await.expect("it is changed");
        });
    };

    let first = runtime();
    let delivery = first.block_on(start());
    // One is told of, and the other is kept: that takes until the server dies.
    failed_takes("PRIXFIXE_FAILED.nothing");
    let message = to_nobody("ann@example.com", Some(Notify::NEVER), "1");
    let part = Part {
        target: "relay".to_owned(),
        recipients: message.envelope().recipients().to_vec(),
    };
    first
        .block_on(delivery.fleet().keep(message, &[part]))
        .expect("kept");
    outside.block_on(until("a report", async || reports() == 1));
    first.shutdown_background();
    drop(delivery);

    failed_takes("PRIXFIXE_FAILED.>");
    let second = runtime();
    let _delivery = second.block_on(start());
    outside.block_on(until("it has failed", async || {
        count(&context, "PRIXFIXE_FAILED").await == 1
    }));
    outside.block_on(until("an empty stream", async || {
        count(&context, "PRIXFIXE").await == 0
    }));
    assert_eq!(reports(), 1);
}

/// A message of this sender to two whom the target does not know. The first of them says whether
/// failures are to be told.
fn to_nobody(sender: &str, notify: Option<Notify>, name: &str) -> Message {
    let mut parameters = RcptParameters::default();
    parameters.notify = notify;
    let quiet = Recipient::new("nobody@example.net".parse().expect("a forward-path"));
    let envelope = Envelope::builder()
        .from(sender)
        .expect("a sender")
        .recipient(quiet.with_parameters(parameters))
        .to("nobody@example.org")
        .expect("a recipient")
        .build();
    let client = Client::builder().build();
    let text = format!("Message-ID: <x@{name}.example.com>\r\n\r\nHow are you?\r\n");
    Message::new(client, envelope, [text])
}

/// Writes to every sender but the postmaster, who reads what has failed.
struct NotToPostmaster;

impl Bouncer for NotToPostmaster {
    fn report(&self, report: &Report<'_>) -> Option<Notice> {
        let is_postmaster = report.envelope.from.starts_with("postmaster@");
        let all = report.recipients.iter().map(|it| &*it.recipient.to);
        assert!(is_postmaster || all.eq(["nobody@example.org"]));
        Always.report(report).filter(|_| !is_postmaster)
    }
}

#[tokio::test]
async fn who_is_not_to_be_reported_is_kept_beside_who_is() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let target = Arc::new(Collector::default());
    let routes = Routes::new("mx.example.com")
        .shared_target("relay", target.clone())
        .rest("relay")
        .expect("routes");
    let mut options = options();
    options.bouncer = Arc::new(NotToPostmaster);
    let fleet = open(&server.address(), options).await;
    let delivery = FleetDelivery::new(fleet, routes, 4).await.expect("it");
    let context = context(&server.address()).await;
    for (number, sender, notify, kept, reports) in [
        (1, "ann@example.com", Some(Notify::NEVER), vec![0], 1),
        (2, "postmaster@example.com", None, vec![0, 1], 1),
    ] {
        let message = to_nobody(sender, notify, &number.to_string());
        let part = Part {
            target: "relay".to_owned(),
            recipients: message.envelope().recipients().to_vec(),
        };
        delivery.fleet().keep(message, &[part]).await.expect("kept");
        until("it has failed", async || {
            count(&context, "PRIXFIXE_FAILED").await == number
        })
        .await;
        until("an empty stream", async || {
            count(&context, "PRIXFIXE").await == 0
        })
        .await;
        let stream = context.get_stream("PRIXFIXE_FAILED").await.expect("it");
        let failed = stream.get_raw_message(number).await.expect("a message");
        let text = String::from_utf8_lossy(&failed.payload);
        let (envelope, _) = text.split_once("Message-ID:").expect("a content");
        let envelope: serde_json::Value = serde_json::from_str(envelope).expect("JSON");
        let places = &envelope["targets"][0]["recipients"];
        assert_eq!(*places, serde_json::json!(kept));
        assert_eq!(target.digests(), reports);
    }
}
