//! The part for programs (RFC 3464 section 2).

use std::borrow::Cow;
use std::fmt::Write;

use super::{Fate, Line, Report, date, text};
use crate::ascii_address::in_ascii;

/// ```abnf
/// delivery-status-content = per-message-fields 1*( CRLF per-recipient-fields )
/// ```
pub(super) fn fields(report: &Report<'_>, is_global: bool) -> String {
    let mut all = String::with_capacity(512);
    // Section 2.2.2.
    field(
        &mut all,
        "Reporting-MTA",
        &format!("dns; {}", text::token(report.domain)),
        false,
    );
    // Section 2.2.1: only where the client gave one.
    if let Some(envid) = &report.envelope.parameters().envid {
        field(&mut all, "Original-Envelope-Id", envid, false);
    }
    // Section 2.2.5.
    field(&mut all, "Arrival-Date", &date(report.arrived), false);
    for line in &report.lines {
        all.push_str("\r\n");
        recipient(&mut all, report, line, is_global);
    }
    all
}

/// ```abnf
/// per-recipient-fields = [ original-recipient-field CRLF ] final-recipient-field CRLF action-field CRLF
///                        status-field CRLF [ remote-mta-field CRLF ] [ diagnostic-code-field CRLF ] ...
/// ```
fn recipient(all: &mut String, report: &Report<'_>, line: &Line<'_>, is_global: bool) {
    // Section 2.3.1: as ORCPT has it, and not made up where there was none.
    if let Some(original) = &line.recipient.parameters().orcpt {
        let address = match is_global {
            true => Cow::Borrowed(original.address()),
            false => in_ascii(original.address()),
        };
        let address = format!("{}; {address}", original.address_type());
        field(all, "Original-Recipient", &address, is_global);
    }
    // Section 2.3.2. A bare postmaster is that of the server.
    let path = line.recipient.to_string();
    let address = match line.recipient.path().mailbox() {
        Some(_) => path,
        None => format!("postmaster@{}", text::token(report.domain)),
    };
    // RFC 6533 section 3.
    let kind = match address.is_ascii() {
        true => "rfc822",
        false => "utf-8",
    };
    field(
        all,
        "Final-Recipient",
        &format!("{kind}; {address}"),
        is_global,
    );
    // Section 2.3.3.
    let action = match line.fate {
        Fate::Failed => "failed",
        Fate::Delivered => "delivered",
        Fate::Relayed => "relayed",
    };
    field(all, "Action", action, false);
    // Section 2.3.4.
    let enhanced = line.reply.enhanced();
    field(
        all,
        "Status",
        &format!("{}.{}.{}", enhanced.0, enhanced.1, enhanced.2),
        false,
    );
    if let Some(remote) = line.remote {
        // Section 2.3.5. What it said is section 2.3.6.
        field(
            all,
            "Remote-MTA",
            &format!("dns; {}", text::token(remote)),
            false,
        );
        let said = text::folded(&format!("smtp; {}", line.reply), is_global);
        // Writing to a String does not fail.
        let _ = write!(all, "Diagnostic-Code: {said}\r\n");
    }
}

fn field(all: &mut String, name: &str, value: &str, is_global: bool) {
    let _ = write!(all, "{name}: {}\r\n", text::value(value, is_global));
}
