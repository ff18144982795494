//! A client that sends commands and never reads what it is told.

use std::sync::Arc;
use std::time::Instant;

use prixfixe_core::{Answer, Config, Connection, OUTPUT_HIGH_WATER};

#[test]
fn replies_wait_for_the_ones_before_them_to_be_flushed() {
    let now = Instant::now();
    let mut output = Vec::new();
    let mut config = Config::new("mx.example.com");
    config.max_idle_commands = 0;
    let mut connection = Connection::new(Arc::new(config), now);
    connection.answer(now, Answer::Accept, &mut output);
    let commands = b"HELP\r\n".repeat(10_000);
    let mut input = &commands[..];
    let mut replies = 0;
    let mut flushes = 0;
    while !input.is_empty() {
        output.clear();
        assert_eq!(connection.poll_event(now, &mut input, &mut output), None);
        assert!(output.len() < OUTPUT_HIGH_WATER + 512);
        replies += output
            .split(|octet| *octet == b'\n')
            .filter(|line| line.starts_with(b"214 "))
            .count();
        flushes += 1;
    }
    assert_eq!(replies, 10_000);
    assert!(flushes > 1);
}
