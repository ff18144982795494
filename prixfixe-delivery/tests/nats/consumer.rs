//! A consumer that no one here wrote: nats-py.

use std::process::Command;

use prixfixe_test_support::{python_with, run};

use super::server::Server;
use super::*;

const CONSUMER: &str = r#"
import asyncio, sys, nats
async def main():
    connection = await nats.connect(sys.argv[1])
    stream = connection.jetstream()
    inbox = await stream.pull_subscribe("mail.org.example.>", durable="app", stream="MAIL")
    plain = await stream.pull_subscribe("mail.org.example", durable="plain", stream="MAIL")
    for message in await plain.fetch(2, timeout=20):
        header = message.header
        print(header["Prixfixe-From"], header["Prixfixe-To"], header["Nats-Msg-Id"].split(".", 1)[1])
        data = message.data
        if "Prixfixe-Object" in header:
            bucket, name = header["Prixfixe-Object"].split("/")
            data = (await (await stream.object_store(bucket)).get(name)).data
        print(len(data), data.count(b"\r\n"), data.endswith(b"end\r\n"))
        await message.ack()
    await connection.close()
asyncio.run(main())
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_py_reads_messages_and_objects() {
    let Some(python) = python_with("nats") else {
        return;
    };
    let Some(server) = Server::start() else {
        return;
    };
    prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    let small = content("small") + "end\r\n";
    let large = content("large") + &"0123456789\r\n".repeat(200_000) + "end\r\n";
    for content in [small, large] {
        let outcomes = send(&target, &["bob@example.org"], content).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    let address = server.address();
    let script = tokio::task::spawn_blocking(move || {
        run(Command::new(python).args(["-c", CONSUMER, &address]))
    });
    let printed = script.await.unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[0], "ann@example.com bob@example.org example.org",
        "{printed}"
    );
    assert!(
        lines[1].ends_with("True") && lines[3].ends_with("True"),
        "{printed}"
    );
    assert!(lines[3].starts_with("2400"), "{printed}");
}
