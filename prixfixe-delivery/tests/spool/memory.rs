//! What a message costs while it waits.

use prixfixe_delivery::Spool;
use tempfile::tempdir;

use crate::scripted::*;

/// Bytes of memory for each message of a spool with so many, log and queue together.
async fn bytes_of_each(messages: usize) -> u64 {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, _| Err(not_now()));
    let routes = || to(&[("hook", &target)]);
    let spool = Spool::open_on(Quick, directory.path(), routes(), options(), false).unwrap();
    for number in 0..messages {
        let recipient = format!("bob@{}.example", number % 100);
        send(&spool, &[&recipient], &number.to_string()).await;
    }
    drop(spool);
    let mut opened = None;
    let measured = allocation_counter::measure(|| {
        opened = Spool::inspect(directory.path(), routes(), options()).unwrap();
    });
    assert_eq!(opened.unwrap().status().ready, messages as u64);
    u64::try_from(measured.bytes_current).unwrap() / messages as u64
}

/// A table has doubled just before: no number of messages costs more for each.
#[tokio::test]
async fn a_message_that_waits_takes_at_most_256_bytes() {
    let bytes = bytes_of_each(58_000).await;
    println!("{bytes} bytes for each of 58,000 messages");
    assert!(bytes <= 256, "{bytes}");
}

#[tokio::test]
#[ignore = "takes a minute: cargo test -p prixfixe-delivery --test spool --release -- --ignored --nocapture million"]
async fn a_million_messages_take_at_most_256_bytes_each() {
    let bytes = bytes_of_each(1_000_000).await;
    println!("{bytes} bytes for each of 1,000,000 messages");
    assert!(bytes <= 256, "{bytes}");
}
