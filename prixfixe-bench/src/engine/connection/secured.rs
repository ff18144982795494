//! TLS on a connection: its handshake, what is inside the records that come, and the records that
//! go out.

use std::io::{self, Read, Write};
use std::time::Instant;

use super::{Connection, Happening, Phase, Turn, Way, uninterrupted, unless_blocked};
use crate::dialogue::Dialogue;
use crate::failure::{Failure, Kind, Stage};
use crate::tls::{self, Security};

impl Connection {
    pub(super) fn begin_tls(&mut self, security: &Security, host: &str) -> Result<(), Failure> {
        self.tls = Some(security.connection(host)?);
        self.phase = Phase::Securing;
        self.since = Instant::now();
        self.flush()
    }

    /// Lends what is inside the records of `wire` to the dialogue.
    pub(super) fn receive_secured(
        &mut self,
        way: &Way<'_>,
        mut wire: &[u8],
        plain: &mut [u8],
        now: Instant,
        observe: &mut impl FnMut(&mut Dialogue, Happening, Instant),
    ) -> Result<Turn, Failure> {
        while !wire.is_empty() {
            let Some(tls) = &mut self.tls else { break };
            let fail =
                |error: io::Error| Failure::with_detail(Stage::Tls, Kind::Tls, error.to_string());
            if tls.read_tls(&mut wire).map_err(fail)? == 0 {
                break;
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert tells the server why; that it arrives is not worth waiting for.
                let _ = tls.write_tls(&mut self.socket);
                return Err(tls::failure(&error));
            }
            if self.phase == Phase::Securing && !tls.is_handshaking() {
                self.phase = Phase::Talking;
                observe(
                    &mut self.dialogue,
                    Happening::Secured(now - self.since),
                    now,
                );
                self.since = now;
                if way.security.is_some_and(|security| !security.implicit) {
                    self.dialogue.tls_established(now);
                }
            }
            if self.dispatch_plain(way, plain, now, observe)? == Turn::Done {
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::Open)
    }

    fn dispatch_plain(
        &mut self,
        way: &Way<'_>,
        plain: &mut [u8],
        now: Instant,
        observe: &mut impl FnMut(&mut Dialogue, Happening, Instant),
    ) -> Result<Turn, Failure> {
        while let Some(tls) = &mut self.tls {
            let count = match tls.reader().read(plain) {
                Ok(0) => return self.end(),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Failure::from_io(Stage::Tls, &error)),
            };
            if self.dispatch(way, plain.get(..count).unwrap_or_default(), now, observe)?
                == Turn::Done
            {
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::Open)
    }

    pub(super) fn flush_secured(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        loop {
            while !tls.is_handshaking() && !self.dialogue.is_drained() {
                let (slices, count) = self.dialogue.slices();
                // One call for all pieces: each would be a record of its own otherwise.
                let taken = tls
                    .writer()
                    .write_vectored(slices.get(..count).unwrap_or_default())?;
                if taken == 0 {
                    break;
                }
                self.dialogue.advance(taken);
            }
            if !tls.wants_write() {
                return Ok(());
            }
            while tls.wants_write() {
                uninterrupted(|| tls.write_tls(&mut self.socket))?;
            }
        }
    }

    /// Sends the records that are there, and makes no more.
    pub(super) fn flush_tls(&mut self) -> Result<(), Failure> {
        let stage = self.stage();
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        while tls.wants_write() {
            match uninterrupted(|| tls.write_tls(&mut self.socket)) {
                Ok(_) => {}
                Err(error) => return unless_blocked(Err(error), stage),
            }
        }
        Ok(())
    }
}
