//! `prixfixe password`: a line for a file of users.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

use prixfixe_auth::users_line;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::error::{Error, print};

/// More than any password; what is longer is refused.
const MAX_LINE: u64 = 4096;

pub(crate) fn run(name: &str) -> Result<ExitCode, Error> {
    // A name that cannot be one is told before anybody types.
    users_line(name, b"x")?;
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let quiet = WithoutEcho::begin().map_err(Error::Input)?;
        let password = ask(&format!("Password for {name}: "))?;
        let again = ask("Again: ")?;
        drop(quiet);
        if password != again {
            return Err(Error::Differ);
        }
        password
    } else {
        read_line(&mut stdin.lock())?
    };
    print(&format!("{}\n", users_line(name, &password)?))?;
    Ok(ExitCode::SUCCESS)
}

fn ask(prompt: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{prompt}").and_then(|()| stderr.flush());
    let line = read_line(&mut io::stdin().lock());
    // The line end that was typed is not shown either.
    let _ = writeln!(stderr);
    line
}

/// A line without its end.
fn read_line(input: &mut impl BufRead) -> Result<Zeroizing<Vec<u8>>, Error> {
    // Room for all of it, so that growing leaves no copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE as usize));
    input
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .map_err(Error::Input)?;
    let end = [&b"\r\n"[..], b"\n"]
        .into_iter()
        .find(|end| line.ends_with(end));
    let length = line.len() - end.map_or(0, <[u8]>::len);
    line.truncate(length);
    Ok(line)
}

/// The terminal does not show what is typed, until this is dropped.
struct WithoutEcho(Termios);

impl WithoutEcho {
    fn begin() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for WithoutEcho {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_without_its_end() {
        for (input, line) in [
            ("secret\nmore\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret", "secret"),
            (" s p \n", " s p "),
            ("", ""),
        ] {
            let read = read_line(&mut input.as_bytes()).unwrap();
            assert_eq!(read.as_slice(), line.as_bytes());
        }
    }
}
