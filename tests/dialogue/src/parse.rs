//! From the text of a file to a dialogue.

use std::time::Duration;

use crate::escape::unescape;
use crate::{Auth, Delivered, Dialogue, Refusal, Settings, Stage, Step};

/// A line of a file is none of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: not a line of a dialogue: {line}")]
pub struct Malformed {
    /// Which line, from 1.
    pub number: usize,
    /// What stands there.
    pub line: String,
}

pub(crate) fn dialogue(name: &str, text: &str) -> Result<Dialogue, Malformed> {
    let mut dialogue = Dialogue {
        name: name.to_owned(),
        settings: Settings::default(),
        steps: Vec::new(),
        messages: Vec::new(),
    };
    for (number, text) in text.lines().enumerate() {
        line(&mut dialogue, text).ok_or_else(|| Malformed {
            number: number + 1,
            line: text.to_owned(),
        })?;
    }
    Ok(dialogue)
}

fn line(dialogue: &mut Dialogue, line: &str) -> Option<()> {
    if line.is_empty() || line.starts_with('#') {
        return Some(());
    }
    // An editor may have taken the space off the end of an empty line.
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "=" if dialogue.steps.is_empty() => setting(&mut dialogue.settings, rest)?,
        "C:" if rest == "<end>" => dialogue.steps.push(Step::HalfClose),
        "C:" => send(
            &mut dialogue.steps,
            &[&unescape(rest)?, &b"\r\n"[..]].concat(),
        ),
        "c:" => send(&mut dialogue.steps, &unescape(rest)?),
        "S:" if rest == "<closed>" => dialogue.steps.push(Step::ExpectClosed),
        "S:" if !rest.is_empty() => dialogue.steps.push(Step::Expect(rest.to_owned())),
        "T:" if rest == "handshake" => dialogue.steps.push(Step::Handshake),
        "W:" => dialogue.steps.push(Step::Wait(seconds(rest)?)),
        "X:" if rest == "shutdown" => dialogue.steps.push(Step::Shutdown),
        "M:" => dialogue.messages.push(delivered(rest)?),
        "B:" => content(dialogue, &[&unescape(rest)?, &b"\r\n"[..]].concat())?,
        "b:" => content(dialogue, &unescape(rest)?)?,
        _ => return None,
    }
    Some(())
}

fn auth(value: &str) -> Option<Auth> {
    match value {
        "offer" => Some(Auth::Offer),
        "require" => Some(Auth::Require),
        "any" => Some(Auth::Any),
        _ => None,
    }
}

fn setting(settings: &mut Settings, setting: &str) -> Option<()> {
    let (key, value) = setting.split_once(' ').unwrap_or((setting, ""));
    match key {
        "max-message-size" => settings.max_message_size = Some(value.parse().ok()?),
        "max-recipients" => settings.max_recipients = Some(value.parse().ok()?),
        "max-errors" => settings.max_errors = Some(value.parse().ok()?),
        "max-idle-commands" => settings.max_idle_commands = Some(value.parse().ok()?),
        "idle-timeout" => settings.idle_timeout = Some(seconds(value)?),
        "min-data-rate" => settings.min_data_rate = Some(value.parse().ok()?),
        "bare-line-ends" if value == "repair" => settings.repairs_line_ends = true,
        "protocol" if value == "lmtp" => settings.lmtp = true,
        "xclient" if value == "on" => settings.xclient = true,
        "dsn" if value == "on" => settings.dsn = true,
        "dsn" if value == "users" => settings.dsn_for_users = true,
        "starttls" if value == "on" => settings.starttls = true,
        "tls-required" if value == "on" => settings.tls_required = true,
        "auth" => settings.auth = Some(auth(value)?),
        "at-once" if value.is_empty() => settings.at_once = true,
        "refuse" => settings.refusals.push(refusal(value)?),
        _ => return None,
    }
    Some(())
}

fn refusal(text: &str) -> Option<Refusal> {
    let mut words = text.splitn(5, ' ');
    let stage = match words.next()? {
        "connect" => Stage::Connect,
        "mail" => Stage::Mail,
        "rcpt" => Stage::Rcpt,
        "message" => Stage::Message,
        _ => return None,
    };
    let address = Some(words.next()?).filter(|address| *address != "*");
    let code = words.next()?.parse().ok()?;
    let mut enhanced = words.next()?.splitn(3, '.');
    Some(Refusal {
        stage,
        address: address.map(str::to_owned),
        code,
        enhanced: (
            enhanced.next()?.parse().ok()?,
            enhanced.next()?.parse().ok()?,
            enhanced.next()?.parse().ok()?,
        ),
        text: words.next()?.to_owned(),
    })
}

fn send(steps: &mut Vec<Step>, octets: &[u8]) {
    match steps.last_mut() {
        Some(Step::Send(sent)) => sent.extend_from_slice(octets),
        _ => steps.push(Step::Send(octets.to_vec())),
    }
}

fn seconds(text: &str) -> Option<Duration> {
    text.strip_suffix('s')?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// `from <a@b> to <c@d> <e@f> size 42`
fn delivered(text: &str) -> Option<Delivered> {
    let (from, rest) = text.strip_prefix("from ")?.split_once(" to ")?;
    let (to, size) = rest.rsplit_once(" size ")?;
    Some(Delivered {
        from: path(from)?,
        to: to.split(' ').map(path).collect::<Option<_>>()?,
        size: size.parse().ok()?,
        content: None,
    })
}

fn path(text: &str) -> Option<String> {
    Some(text.strip_prefix('<')?.strip_suffix('>')?.to_owned())
}

fn content(dialogue: &mut Dialogue, octets: &[u8]) -> Option<()> {
    let content = &mut dialogue.messages.last_mut()?.content;
    content.get_or_insert_default().extend_from_slice(octets);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_settings_steps_and_messages() {
        let text = "# A comment\n= max-recipients 2\n= refuse rcpt c@d 550 5.1.1 No such user\n\n\
                    S: 220 mx\nC: NOOP\nc: QU\nS: 250\nT: handshake\nW: 301s\nX: shutdown\nC: <end>\nS: <closed>\n\
                    M: from <> to <c@d> <e@f> size 5\nB: abc\n";
        let dialogue = dialogue("name", text).unwrap();
        assert_eq!(dialogue.settings.max_recipients, Some(2));
        assert!(dialogue.settings.refusals[0].concerns(Stage::Rcpt, "c@d"));
        assert!(!dialogue.settings.refusals[0].concerns(Stage::Rcpt, "e@f"));
        assert_eq!(
            dialogue.steps,
            [
                Step::Expect("220 mx".to_owned()),
                Step::Send(b"NOOP\r\nQU".to_vec()),
                Step::Expect("250".to_owned()),
                Step::Handshake,
                Step::Wait(Duration::from_secs(301)),
                Step::Shutdown,
                Step::HalfClose,
                Step::ExpectClosed,
            ]
        );
        assert!(dialogue.waits());
        assert_eq!(dialogue.messages[0].to, ["c@d", "e@f"]);
        assert_eq!(
            dialogue.messages[0].content.as_deref(),
            Some(&b"abc\r\n"[..])
        );
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for line in [
            "Q: x",
            "C:NOOP",
            "= colour red",
            "S:",
            "M: from a to b size 1",
            "W: soon",
            "C: \\q",
            "B: x",
        ] {
            let malformed = dialogue("name", &format!("# fine\n{line}\n")).unwrap_err();
            assert_eq!((malformed.number, malformed.line.as_str()), (2, line));
        }
        assert!(dialogue("name", "C: NOOP\n= max-errors 1\n").is_err());
    }
}
