//! Commands beside those of a message.

use super::model::Sent;
use super::script::{After, Phase};
use super::wire::Wire;
use super::{Session, View};
use crate::content::Verdict;
use crate::scenario::{Answer, Handling, Odd};

pub(super) fn odd_command(session: &mut Session, odd: Odd, view: &mut View<'_>) {
    session.phase = Phase::Odd;
    match odd {
        Odd::Noop => session.push(b"NOOP\r\n", Sent::Noop),
        Odd::Reset => session.push(b"RSET\r\n", Sent::Reset),
        Odd::Verify => session.push(b"VRFY someone\r\n", Sent::Verify),
        Odd::Help => session.push(b"HELP\r\n", Sent::Help),
        Odd::Expand => session.push(b"EXPN list\r\n", Sent::Bad(502, "5.5.1")),
        Odd::Garbage => session.push(b"\x16\x03\xff no command\r\n", Sent::Bad(500, "5.5.1")),
        Odd::LongLine => {
            let line = [&[b'x'; 5000][..], b"\r\n"].concat();
            session.push(&line, Sent::Bad(500, "5.5.2"));
        }
        Odd::BareLf => session.push(b"NOOP\nNOOP\r\n", Sent::Bad(500, "5.5.2")),
        Odd::Http => session.push(b"GET / HTTP/1.1\r\n", Sent::Http),
        Odd::OutOfOrder => {
            session.push(b"DATA\r\n", Sent::Data);
            session.push(
                b"RCPT TO:<yes.0@r.example>\r\n",
                Sent::Recipient(Answer::Yes),
            );
            let handling = Handling::Store;
            let chunk = Sent::Chunk {
                token: 0,
                size: 6,
                last: false,
                verdict: Verdict::Sound,
                handling,
            };
            session.push(b"BDAT 6\r\nQUIT\r\n", chunk);
        }
        Odd::Dribbled(interval) => {
            session.push(b"NOOP\r\n", Sent::Noop);
            session.pace = Some((1, interval));
            session.after = Some(After::Hurry);
            // In TLS the command is one record, and it is the record's octets that dribble.
            let octets = match session.wire {
                Wire::Clear => 6,
                _ => 6 + RECORD_OVERHEAD,
            };
            session.may_time_out |= interval * octets > view.limits.command_timeout / 2;
        }
        Odd::Mute => {
            session.wire.send(b"NO", &mut session.out);
            session.expected.push_back(Sent::Nothing);
            session.cut = true;
            session.after = Some(After::Mute);
        }
    }
}

/// Header, tag and the content's type of a record of TLS 1.3, and more than 1.2 has with its
/// explicit nonce.
const RECORD_OVERHEAD: u64 = 32;
