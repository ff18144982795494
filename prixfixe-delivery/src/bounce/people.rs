//! The part for people.

use std::fmt::Write;

use super::returned::Returned;
use super::{Fate, Line, Report, text};

pub(super) fn subject(report: &Report<'_>) -> &'static str {
    match report.is_failure() {
        true => "Undelivered mail returned to sender",
        false => "Your message was delivered",
    }
}

/// What a person who knows nothing of SMTP can read.
pub(super) fn text(report: &Report<'_>, returned: &Returned) -> String {
    let domain = text::token(report.domain);
    let mut all = format!("This is the mail server {domain}.\r\n");
    let sections = [
        (Fate::Failed, "Your message could not be delivered to"),
        (Fate::Delivered, "Your message was delivered to"),
        (
            Fate::Relayed,
            "Your message was passed on to the next server, which sends no reports, for",
        ),
    ];
    for (fate, words) in sections {
        let lines = report.lines.iter().filter(|line| line.fate == fate);
        let lines: Vec<&Line<'_>> = lines.collect();
        if lines.is_empty() {
            continue;
        }
        // Writing to a String does not fail.
        let _ = write!(all, "\r\n{words}:\r\n");
        for line in lines {
            let _ = write!(
                all,
                "\r\n  {}\r\n",
                text::words(&line.recipient.to_string())
            );
            all.push_str(&reason(line));
        }
    }
    if report.is_failure() {
        all.push_str("\r\nThe server does not try again. If the message matters, send it again once the cause is mended,\r\n");
        all.push_str("or reach the recipient in another way.\r\n");
    }
    let attached = match returned.is_whole {
        true => "Your message is attached.",
        false => "The beginning of your message, its header lines, is attached.",
    };
    let id = text::token(report.id);
    let _ = write!(all, "\r\n{attached} This server called it {id}.\r\n");
    all
}

fn reason(line: &Line<'_>) -> String {
    let said = text::words(&line.reply.to_string());
    match (line.fate, line.remote) {
        (Fate::Failed, Some(remote)) => {
            format!("    {} said:\r\n    {said}\r\n", text::token(remote))
        }
        (Fate::Failed, None) => format!("    The reason: {said}\r\n"),
        _ => String::new(),
    }
}
