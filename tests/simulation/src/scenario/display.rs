//! A scenario as a failure prints it.

use std::fmt;

use super::{Act, Scenario, Step};
use crate::runtime::Nanos;

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::Message(message) => {
                write!(
                    f,
                    "message: {}, from {:?}, to {:?}, handler: {:?}",
                    message.content, message.sender, message.recipients, message.handling
                )?;
                match message.chunked {
                    Some(usize::MAX) => f.write_str(", BDAT")?,
                    Some(chunk) => write!(f, ", BDAT of {chunk}")?,
                    None => {}
                }
                if message.pipelined {
                    f.write_str(", pipelined")?;
                }
                if message.huge {
                    f.write_str(", SIZE over the limit")?;
                }
                if let Some(pace) = message.pace {
                    write!(f, ", {pace} octets a second")?;
                }
                match message.mishap {
                    Some(mishap) => write!(f, ", {:?} after {}/1000", mishap.what, mishap.after),
                    None => Ok(()),
                }
            }
            Act::Odd(odd) => write!(f, "{odd:?}"),
            Act::Pause(time) => write!(f, "pause of {}", seconds(*time)),
            Act::Deaf(count) => write!(f, "{count} NOOPs, replies not read"),
        }
    }
}

/// A time as people read it.
#[must_use]
pub fn seconds(time: Nanos) -> String {
    format!("{:.6} s", time as f64 / 1e9)
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "scenario {} ({:?})", self.seed, self.kind)?;
        let server = &self.server;
        writeln!(
            f,
            "  server: {} connections, {} octets, {} recipients, {} errors, {} idle commands, {} octets a second; timeouts: command {}, idle {}, handler {}, drain {}; reads {} at once",
            server.max_connections,
            server.max_message_size,
            server.max_recipients,
            server.max_errors,
            server.max_idle_commands,
            server.min_data_rate,
            seconds(server.command_timeout),
            seconds(server.idle_timeout),
            seconds(server.handler_timeout),
            seconds(server.drain_timeout),
            server.read_buffer,
        )?;
        writeln!(f, "  network: {:?}", self.network)?;
        writeln!(f, "  executor: {:?}", self.executor)?;
        writeln!(
            f,
            "  disk: fsync {}, {} a job, short writes {}",
            self.disk.fsync,
            seconds(self.disk.latency),
            self.disk.short_writes
        )?;
        for fault in &self.disk.faults {
            writeln!(
                f,
                "  d{}: {:?} fails with error {}{} from {} to {}",
                fault.number,
                fault.operation,
                fault.error,
                if fault.done { ", though done," } else { "" },
                seconds(fault.from),
                seconds(fault.until)
            )?;
        }
        for restart in &self.restarts {
            writeln!(
                f,
                "  r{}: {:?} at {}, down for {}",
                restart.number,
                restart.how,
                seconds(restart.at),
                seconds(restart.downtime)
            )?;
        }
        for client in &self.clients {
            writeln!(
                f,
                "  c{}: comes at {}, {:?}{}, handler says {:?}, leaves by {:?}",
                client.number,
                seconds(client.arrives),
                client.security,
                if client.old { ", HELO" } else { "" },
                client.connect,
                client.leave
            )?;
            for step in &client.steps {
                writeln!(f, "    {}: {step}", step.number)?;
            }
        }
        Ok(())
    }
}
