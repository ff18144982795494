//! What is counted and listed of refusals.

use super::*;

on_both_transports![
    refused_commands_are_counted_by_code,
    the_latest_refusals_are_told,
    a_refusal_excuses_what_follows_it_alone,
];

async fn refused_commands_are_counted_by_code(transport: Transport) {
    let server = builder(transport)
        .max_message_size(1000)
        .max_recipients(1)
        .max_errors(5)
        .accept_domains(["example.com"])
        .sessions(|_| async { Ok(Obedient) })
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    for (command, code) in [
        ("NOOP", "250"),
        ("WHAT", "500"),
        ("EXPN list", "502"),
        ("MAIL FROM:<ann@example.com> SIZE=1001", "552"),
        ("MAIL FROM:<unwanted@example.com>", "553"),
        ("MAIL FROM:<ann@example.com>", "250"),
        ("RCPT TO:<nobody@example.com>", "550"),
        ("RCPT TO:<bob@elsewhere.example>", "550"),
        ("RCPT TO:<bob@example.com>", "250"),
        ("RCPT TO:<ann@example.com>", "452"),
        ("MAIL FROM:<ann@example.com>", "503"),
        ("WHAT", "500"),
        ("WHAT", "500"),
        ("WHAT", "421"),
    ] {
        let reply = client.ask(command).await;
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    let snapshot = server.metrics().snapshot();
    assert_eq!(
        snapshot.command_errors,
        [
            (421, 1),
            (452, 1),
            (500, 3),
            (502, 1),
            (503, 1),
            (550, 2),
            (552, 1),
            (553, 1)
        ]
    );
    assert_eq!(snapshot.messages_received(), 0);
}

async fn the_latest_refusals_are_told(transport: Transport) {
    let server = start(transport, Sessions::new(|_| async { Ok(Obedient) }));
    let metrics = server.metrics();
    assert_eq!(metrics.recent(), []);
    let mut client = Client::greeted(server.local_address()).await;
    assert!(send(&mut client, "ann", "hello").await.starts_with("250"));
    assert_eq!(metrics.recent(), [], "a success is none");
    for command in [
        "WHAT",
        "WHAT",
        "MAIL FROM:<unwanted@example.com>",
        "MAIL FROM:<>",
    ] {
        client.ask(command).await;
    }
    client.ask("RCPT TO:<nobody@example.com>").await;
    // What a client that pipelines has sent behind it. It is counted; what there is to tell was
    // told.
    client.ask("DATA").await;
    client.ask("RSET").await;
    client.ask("DATA").await;
    send(&mut client, "full", "hello").await;

    let told: Vec<_> = metrics
        .recent()
        .into_iter()
        .map(|it| (it.kind, it.code, it.text, it.sender, it.recipient, it.count))
        .collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        told,
        [
            (
                IncidentKind::MessageFailed,
                Some(452),
                "4.3.1 no room".to_owned(),
                text("full@example.com"),
                text("bob@example.com"),
                1
            ),
            (
                IncidentKind::CommandRefused,
                Some(503),
                "5.5.1 Command out of order".to_owned(),
                None,
                None,
                1
            ),
            (
                IncidentKind::RecipientRefused,
                Some(550),
                "5.1.1 nobody here".to_owned(),
                text(""),
                text("nobody@example.com"),
                1
            ),
            (
                IncidentKind::SenderRefused,
                Some(553),
                "5.1.8 not that one".to_owned(),
                text("unwanted@example.com"),
                None,
                1
            ),
            (
                IncidentKind::CommandRefused,
                Some(500),
                "5.5.1 Unknown command".to_owned(),
                None,
                None,
                2
            ),
        ]
    );
    assert!(
        metrics
            .recent()
            .iter()
            .all(|it| it.client.is_some_and(|it| it.is_loopback()))
    );
    let errors = metrics.snapshot().command_errors;
    assert!(errors.contains(&(503, 2)), "{errors:?}");
}

async fn a_refusal_excuses_what_follows_it_alone(transport: Transport) {
    let server = start(transport, Sessions::new(|_| async { Ok(Obedient) }));
    let metrics = server.metrics();
    let mut client = Client::greeted(server.local_address()).await;
    for (command, reply) in [
        ("MAIL FROM:<ann@example.com>", "250"),
        ("RCPT TO:<nobody@example.com>", "550"),
        ("RCPT TO:<bob@example.com>", "250"),
        ("DATA", "354"),
        ("hello\r\n.", "250"),
        ("DATA", "503"),
    ] {
        let got = client.ask(command).await;
        assert!(got.starts_with(reply), "{command}: {got}");
    }
    let told: Vec<_> = metrics.recent().into_iter().map(|it| it.code).collect();
    assert_eq!(told, [Some(503), Some(550)]);
}
