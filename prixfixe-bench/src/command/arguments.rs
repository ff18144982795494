//! The command line of `prixfixe bench`.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use super::planner;
use super::values::{
    MOST_CONNECTIONS, Sources, address, at_most, chunk, duration, positive_duration, rate, size,
};
use crate::plan::{Content, Pipelining};
use crate::{FailIf, Scenario};
use clap::{Args, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  prixfixe bench --scenario all --html report.html
  prixfixe bench -n 100000 -c 50 --pipelining full mx1.example.com:25 mx2.example.com:25
  prixfixe bench --rate 500 -d 1m --size 2KB-200KB --starttls --tls-ca ca.pem mx.example.com
  prixfixe bench -d 30s --file ./mail --idle-connections 5000 --slow-clients 50
  prixfixe bench --lmtp -r 10 unix:/run/lmtp.sock
  prixfixe bench -d 1m --rate 500 --fail-if 'p99>50ms' --fail-if 'failed>0.1%' mx.example.com
  prixfixe bench --scenario all --repeat 5 --compare yesterday.json --html today.html
  prixfixe bench --repeat 5 --against old.example.com new.example.com
  prixfixe bench --find-knee --fail-if 'p99>20ms' --html knee.html mx.example.com
  prixfixe bench plan --rate 1000 --size 10KiB

Exit status: 0 when every message was accepted and no --fail-if was met, 1 otherwise, 2 for a wrong argument.";

/// Drive any SMTP or LMTP server, and report throughput and latency.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// Servers, as HOST, HOST:PORT (port 25 unless given) or unix:PATH; connections go to them in
    /// turn
    #[arg(value_name = "TARGET", default_value = "localhost:2525")]
    pub(super) targets: Vec<String>,

    /// Speak LMTP: LHLO, and a reply for each recipient
    #[arg(long)]
    pub(super) lmtp: bool,

    /// Named workload; other options override parts of it
    #[arg(long, value_enum)]
    pub(super) scenario: Option<Scenarios>,

    /// Number of messages to send [default: 1000, unless --duration is given]
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) messages: Option<NonZeroU64>,

    /// Time to go on sending: 30s, 5m
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub(super) duration: Option<Duration>,

    /// Number of concurrent connections [default: 20]
    #[arg(short, long, value_name = "N", value_parser = at_most::<MOST_CONNECTIONS>)]
    pub(super) concurrency: Option<NonZeroU32>,

    /// Messages per second, whether or not the server keeps up; latency counts from when a message
    /// is due
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(super) rate: Option<f64>,

    /// Time over which the rate, or the number of connections, grows to its full value
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0s")]
    pub(super) ramp_up: Duration,

    /// Bytes of a message, or a range: 1000, 10KB, 1KiB-100KiB [default: 1KiB]
    #[arg(short, long, value_name = "SIZE", value_parser = size, conflicts_with = "file")]
    pub(super) size: Option<Content>,

    /// File to send as a message, or a directory or Maildir whose files are sent in turn;
    /// repeatable
    #[arg(long, value_name = "PATH")]
    pub(super) file: Vec<PathBuf>,

    /// Number of recipients of a message
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = at_most::<100_000>)]
    pub(super) recipients: NonZeroU32,

    /// Sender; empty for the null reverse-path
    #[arg(long, value_name = "ADDRESS", default_value = "bench@example.com", value_parser = address)]
    pub(super) from: String,

    /// Recipient; n in braces stands for its number within the message
    #[arg(long, value_name = "ADDRESS", default_value = "user{n}@example.com", value_parser = address)]
    pub(super) to: String,

    /// Name to give in EHLO
    #[arg(long, value_name = "NAME", default_value = "bench.invalid", value_parser = address)]
    pub(super) helo: String,

    /// Messages on a connection before QUIT; 1 opens a connection for each message [default: no
    /// limit]
    #[arg(long, value_name = "N")]
    pub(super) per_connection: Option<NonZeroU64>,

    /// What to send without waiting for replies, where the server offers PIPELINING
    #[arg(long, value_enum, default_value_t)]
    pub(super) pipelining: Ahead,

    /// Send by BDAT instead of DATA
    #[arg(long)]
    pub(super) bdat: bool,

    /// Bytes of a BDAT chunk at most [default: the whole message]
    #[arg(long, value_name = "SIZE", value_parser = chunk, requires = "bdat")]
    pub(super) chunk_size: Option<NonZeroU64>,

    /// Secure every connection by STARTTLS
    #[arg(long, conflicts_with = "tls")]
    pub(super) starttls: bool,

    /// Secure every connection before the greeting (implicit TLS)
    #[arg(long)]
    pub(super) tls: bool,

    /// PEM file of the only certificates to trust
    #[arg(long, value_name = "FILE", conflicts_with = "tls_insecure")]
    pub(super) tls_ca: Option<PathBuf>,

    /// Accept any certificate
    #[arg(long)]
    pub(super) tls_insecure: bool,

    /// Name to ask for and to verify, in place of the target's
    #[arg(long, value_name = "NAME")]
    pub(super) tls_name: Option<String>,

    /// Resume TLS sessions instead of making a full handshake on every connection
    #[arg(long)]
    pub(super) tls_resume: bool,

    /// Number of connections to open and hold in the background
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u32).range(..=MOST_CONNECTIONS))]
    pub(super) idle_connections: u32,

    /// Number of background clients that send a few bytes at a time
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u32).range(..=MOST_CONNECTIONS))]
    pub(super) slow_clients: u32,

    /// Bytes per second of each slow client
    #[arg(long, value_name = "N", default_value = "100")]
    pub(super) slow_rate: NonZeroU32,

    /// Time that a message may take from when it is due, with its connection
    #[arg(long, value_name = "TIME", value_parser = positive_duration, default_value = "60s")]
    pub(super) timeout: Duration,

    /// Seed of generated messages: the same seed gives the same bytes
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) seed: u64,

    /// Number of sending threads
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_most::<256>)]
    pub(super) threads: NonZeroU32,

    /// Address to connect from, or a range to take in turn: 127.0.0.1-127.0.0.20; repeatable
    #[arg(long, value_name = "ADDRESS", value_parser = Sources::parse)]
    pub(super) source: Vec<Sources>,

    /// File to write the results to, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    /// File to write a report to, as one HTML page
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,

    /// Results of an earlier run to compare with, as --json wrote them
    #[arg(long, value_name = "FILE")]
    pub(super) compare: Option<PathBuf>,

    /// Server to compare with: it gets the same runs, in turn with the others; repeatable
    #[arg(long, value_name = "TARGET", conflicts_with = "compare")]
    pub(super) against: Vec<String>,

    /// Number of times to do each run, to tell change from noise
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_most::<1000>)]
    pub(super) repeat: NonZeroU32,

    /// Condition that makes the exit status 1: 'p99>50ms', 'failed>0.1%', 'rate<1000'; repeatable
    #[arg(long, value_name = "CONDITION")]
    pub(super) fail_if: Vec<FailIf>,

    /// Step the rate up until a --fail-if is met, and find the highest rate that holds; -d is the
    /// time of a step
    #[arg(long, conflicts_with_all = ["repeat", "compare", "against", "scenario", "messages"])]
    pub(super) find_knee: bool,
}

/// What `bench` does beside sending what it is told to.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// Measure this machine for a moment, and say how many servers a load needs.
    #[command(after_help = planner::EXAMPLES)]
    Plan(planner::Arguments),
}

/// `--scenario`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenarios {
    /// 1000 messages of 1 KiB over 20 connections
    BurstSmall,
    /// 2000 messages of 10 KiB over 20 connections
    BurstMedium,
    /// 5000 messages of 1 KiB over 50 connections
    HighVolume,
    /// 50 messages of 10 KiB a second for 30 seconds
    Sustained,
    /// 500 messages of 100 KiB over 20 connections
    Large,
    /// All of them in a row
    All,
}

impl Scenarios {
    pub(super) fn runs(self) -> Vec<Scenario> {
        match self {
            Self::BurstSmall => vec![Scenario::BurstSmall],
            Self::BurstMedium => vec![Scenario::BurstMedium],
            Self::HighVolume => vec![Scenario::HighVolume],
            Self::Sustained => vec![Scenario::Sustained],
            Self::Large => vec![Scenario::Large],
            Self::All => Scenario::ALL.to_vec(),
        }
    }
}

/// `--pipelining`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Ahead {
    /// One command at a time
    Off,
    /// MAIL, RCPT and DATA in one write, the content after 354; with BDAT, the content in the same
    /// write
    #[default]
    Envelope,
    /// As `envelope`, and the next message's envelope, or QUIT, in one write with the content
    Full,
}

impl From<Ahead> for Pipelining {
    fn from(ahead: Ahead) -> Self {
        match ahead {
            Ahead::Off => Self::Off,
            Ahead::Envelope => Self::Envelope,
            Ahead::Full => Self::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.arguments)
    }

    #[test]
    fn every_option_is_read() {
        let arguments = parse(
            "-n 10 -d 1m -c 5 --rate 2.5 --ramp-up 10s -s 1KB-2KiB -r 3 --from a@b --to c{n}@d --helo me \
             --per-connection 2 --pipelining full --bdat --chunk-size 64KiB --starttls --tls-ca ca.pem --tls-name mx \
             --tls-resume --idle-connections 7 --slow-clients 8 --slow-rate 9 --timeout 5 --seed 3 --threads 2 \
             --source 127.0.0.1-127.0.0.3 --json a --html b --compare c --lmtp --repeat 4 --fail-if p99>50ms \
             --fail-if failed>1% one:25 two",
        )
        .unwrap();
        assert!(arguments.lmtp && arguments.command.is_none());
        assert_eq!((arguments.repeat.get(), arguments.fail_if.len()), (4, 2));
        assert_eq!(arguments.targets, ["one:25", "two"]);
        assert_eq!(arguments.size, Some(Content::Sizes(1000..=2048)));
        assert_eq!(arguments.duration, Some(Duration::from_secs(60)));
        assert_eq!(arguments.timeout, Duration::from_secs(5));
        assert_eq!(arguments.pipelining, Ahead::Full);
        assert_eq!(arguments.source[0].0.len(), 3);
        assert_eq!(parse("").unwrap().targets, ["localhost:2525"]);
        let plan = parse("plan --rate 1000 --deliver discard: --json").unwrap();
        assert!(matches!(plan.command, Some(Command::Plan(_))));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let wrong = [
            "-n 0",
            "-c 0",
            "--rate 0",
            "--rate -1",
            "--rate nan",
            "-s 1",
            "-s 3KB-2KB",
            "-s x",
            "-s 1KB --file x",
            "-d x",
            "--timeout 0",
            "--tls --starttls",
            "--tls-ca x --tls-insecure",
            "--chunk-size 5",
            "--bdat --chunk-size 0",
            "--scenario none",
            "--source x",
            "--threads 0",
            "--recipients 1000000000",
            "--idle-connections 1000000000",
            "--pipelining some",
            "--fail-if p99",
            "--fail-if p99>50",
            "--repeat 0",
            "--find-knee --repeat 2",
            "--find-knee -n 5",
            "--compare x --against y",
            "plan --rate 5 --lmtp",
            "plan",
        ];
        for line in wrong {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
