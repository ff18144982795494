//! An answer on standard output: columns for people, or a JSON object on each line.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};

use bytesize::ByteSize;
use prixfixe_server::printable::Printable;

use crate::arguments::Form;
use crate::protocol::{Delivery, Entry, Line, Request};

/// Why nothing, or not all, was printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrintError {
    /// The server's own words, or ours for it.
    #[error("{0}")]
    Refused(String),
    /// It broke off.
    #[error("the server's answer breaks off; its log says why")]
    Cut,
    /// The answer, or standard output.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Prints all of an answer.
pub(crate) fn print(
    request: &Request,
    form: Form,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<(), PrintError> {
    let mut totals = Totals::default();
    let is_list = *request == Request::List;
    loop {
        match Line::read(input)?.ok_or(PrintError::Cut)? {
            Line::Error(error) => return Err(PrintError::Refused(error)),
            Line::Targets(_) => {}
            Line::Bytes(length) => {
                if io::copy(&mut input.by_ref().take(length), output)? < length {
                    return Err(PrintError::Cut);
                }
            }
            Line::Entry(entry) => match form {
                Form::Json => {
                    serde_json::to_writer(&mut *output, &entry).map_err(io::Error::from)?;
                    output.write_all(b"\n")?;
                }
                Form::Text if is_list => {
                    if totals.messages == 0 {
                        // A digest is longer than a number.
                        let id = format!("{:<width$}", "ID", width = entry.id.len());
                        row(output, [&id, "STATE", "SIZE", "AGE", "SENDER"])?;
                    }
                    totals.add(&entry);
                    list(output, &entry)?;
                }
                Form::Text => show(output, &entry)?,
            },
            Line::End(count) => {
                match (request, form) {
                    (Request::Show { .. } | Request::Export { .. }, _) => {}
                    (Request::List, Form::Json) => {}
                    (Request::List, Form::Text) => totals.write(output)?,
                    (_, Form::Json) => writeln!(output, "{{\"messages\":{count}}}")?,
                    (_, Form::Text) => writeln!(output, "{}", messages(count))?,
                }
                output.flush()?;
                return Ok(());
            }
        }
    }
}

fn messages(count: u64) -> String {
    match count {
        1 => "1 message".to_owned(),
        _ => format!("{count} messages"),
    }
}

fn row(output: &mut impl Write, cells: [&str; 5]) -> io::Result<()> {
    let [id, state, size, age, sender] = cells;
    writeln!(output, "{id:<14} {state:<8} {size:>10} {age:>7}  {sender}")
}

/// Three recipients are enough to know a message by.
const SHOWN_RECIPIENTS: usize = 3;

fn list(output: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let size = bytes(entry.size);
    let from = sender(entry);
    row(
        output,
        [&entry.id, &entry.state, &size, &span(entry.age), &from],
    )?;
    for delivery in entry.deliveries.iter().filter(|it| it.state != "delivered") {
        let mut to = delivery.recipients.iter().take(SHOWN_RECIPIENTS);
        let first: Vec<String> = to.by_ref().map(|it| Printable(it).to_string()).collect();
        let more = delivery.recipients.len().saturating_sub(SHOWN_RECIPIENTS);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let state = state(delivery);
        let first = first.join(", ");
        writeln!(output, "    {}: {first}{more}{state}", delivery.target)?;
    }
    Ok(())
}

fn show(output: &mut impl Write, entry: &Entry) -> io::Result<()> {
    writeln!(output, "id        {}", entry.id)?;
    writeln!(output, "state     {}", entry.state)?;
    writeln!(
        output,
        "received  {}, {} ago",
        entry.received,
        span(entry.age)
    )?;
    writeln!(output, "size      {}", bytes(entry.size))?;
    writeln!(output, "message   {}", entry.message)?;
    writeln!(output, "digest    {}", entry.digest)?;
    writeln!(output, "sender    {}", sender(entry))?;
    for delivery in &entry.deliveries {
        writeln!(output, "target    {}{}", delivery.target, state(delivery))?;
        for recipient in &delivery.recipients {
            writeln!(output, "    {}", Printable(recipient))?;
        }
    }
    Ok(())
}

fn sender(entry: &Entry) -> String {
    match entry.from.as_str() {
        "" => "<>".to_owned(),
        from => Printable(from).to_string(),
    }
}

fn state(delivery: &Delivery) -> String {
    let attempts = match delivery.attempts {
        0 => String::new(),
        1 => ", 1 attempt".to_owned(),
        count => format!(", {count} attempts"),
    };
    let next = match delivery.next {
        Some(0) => ", next now".to_owned(),
        Some(seconds) => format!(", next in {}", span(seconds)),
        None => String::new(),
    };
    let error = match &delivery.error {
        Some(error) => format!(": {}", Printable(error)),
        None => String::new(),
    };
    format!(" ({}{attempts}{next}){error}", delivery.state)
}

fn bytes(size: u64) -> String {
    ByteSize::b(size).to_string()
}

/// The two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// What the last lines of a list say.
#[derive(Debug, Default)]
struct Totals {
    messages: u64,
    bytes: u64,
    targets: BTreeMap<String, Total>,
}

#[derive(Debug, Default)]
struct Total {
    states: BTreeMap<String, u64>,
    oldest: u64,
}

impl Totals {
    fn add(&mut self, entry: &Entry) {
        self.messages += 1;
        self.bytes = self.bytes.saturating_add(entry.size);
        for delivery in entry.deliveries.iter().filter(|it| it.state != "delivered") {
            let total = self.targets.entry(delivery.target.clone()).or_default();
            *total.states.entry(delivery.state.clone()).or_default() += 1;
            total.oldest = total.oldest.max(entry.age);
        }
    }

    fn write(&self, output: &mut impl Write) -> io::Result<()> {
        if self.messages == 0 {
            return writeln!(output, "The spool is empty.");
        }
        writeln!(output, "{}, {}", messages(self.messages), bytes(self.bytes))?;
        for (target, total) in &self.targets {
            let states = total.states.iter();
            let states: Vec<String> = states
                .map(|(state, count)| format!("{count} {state}"))
                .collect();
            let oldest = span(total.oldest);
            writeln!(
                output,
                "    {target}: {}, the oldest {oldest}",
                states.join(", ")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(target: &str, state: &str) -> Delivery {
        Delivery {
            target: target.to_owned(),
            state: state.to_owned(),
            recipients: ["a", "b", "c", "d\u{1b}[31m"].map(str::to_owned).to_vec(),
            attempts: 3,
            next: Some(90),
            error: Some("451 4.4.1 no\r\nanswer".to_owned()),
        }
    }

    fn entry(id: &str) -> Entry {
        Entry {
            id: id.to_owned(),
            state: "waiting".to_owned(),
            received: "2026-11-28T00:45:27Z".to_owned(),
            age: 3 * 3600 + 61,
            size: 4211,
            from: String::new(),
            digest: "ab12".to_owned(),
            message: "1PQ0X3ZKT6R8V2M4C7HD9JNB".to_owned(),
            deliveries: vec![delivery("relay", "waiting"), delivery("hook", "delivered")],
        }
    }

    fn printed(request: &Request, form: Form, lines: &[Line]) -> Result<String, PrintError> {
        let mut answer = Vec::new();
        for line in lines {
            line.write(&mut answer).unwrap();
        }
        let mut output = Vec::new();
        print(request, form, &mut &answer[..], &mut output)?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn a_list_has_columns_what_is_left_to_do_and_totals() {
        let lines = [Line::Entry(entry("17-4128")), Line::End(1)];
        let text = printed(&Request::List, Form::Text, &lines).unwrap();
        let expected = "\
ID             STATE          SIZE     AGE  SENDER
17-4128        waiting     4.1 KiB    3h1m  <>
    relay: a, b, c and 1 more (waiting, 3 attempts, next in 1m30s): 451 4.4.1 no\\r\\nanswer
1 message, 4.1 KiB
    relay: 1 waiting, the oldest 3h1m
";
        assert_eq!(text, expected);
        let text = printed(&Request::List, Form::Text, &[Line::End(0)]).unwrap();
        assert_eq!(text, "The spool is empty.\n");
    }

    #[test]
    fn a_message_is_shown_with_all_of_it_and_nothing_drives_the_terminal() {
        let request = Request::Show {
            id: "17-4128".to_owned(),
        };
        let lines = [Line::Entry(entry("17-4128")), Line::End(1)];
        let text = printed(&request, Form::Text, &lines).unwrap();
        assert!(
            text.contains("received  2026-11-28T00:45:27Z, 3h1m ago\n"),
            "{text}"
        );
        assert!(text.contains("target    hook (delivered"), "{text}");
        assert!(text.contains("    d\\u{1b}[31m\n"), "{text}");
        let json = printed(&request, Form::Json, &lines).unwrap();
        let read: Entry = serde_json::from_str(&json).unwrap();
        assert_eq!(read, entry("17-4128"));
        assert!(!json.contains('\u{1b}'));
    }

    #[test]
    fn an_answer_that_breaks_off_or_refuses_is_an_error() {
        let cut = printed(&Request::List, Form::Text, &[Line::Entry(entry("1-0"))]);
        assert!(matches!(cut, Err(PrintError::Cut)));
        let refused = printed(&Request::List, Form::Text, &[Line::Error("no".to_owned())]);
        assert!(matches!(refused, Err(PrintError::Refused(_))));
        let short = [Line::Bytes(5)];
        let request = Request::Export {
            id: "1-0".to_owned(),
        };
        assert!(matches!(
            printed(&request, Form::Text, &short),
            Err(PrintError::Cut)
        ));
    }
}
