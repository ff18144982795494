//! Runs the reference floor until it is killed.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use prixfixe_benches::floor::{self, Mode};

/// The least that an SMTP server can do: answers from constants and keeps nothing. Not for mail.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:2526")]
    listen: SocketAddr,
    /// In clear text, or with TLS before the greeting and a certificate made up at start
    #[arg(long, value_enum, default_value = "plain")]
    mode: Mode,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match floor::serve(arguments.listen, arguments.mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {}: {error}", arguments.listen);
            ExitCode::FAILURE
        }
    }
}
