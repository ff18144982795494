//! What is remembered of a message.

/// A message: when it was received, and its targets. 24 bytes, for all but those with several targets.
#[derive(Debug)]
pub(super) struct Record {
    /// In seconds since 1970.
    received: u32,
    jobs: Jobs,
}

/// A delivery of a message to a target. 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Job {
    /// When the next attempt is, in milliseconds since 1970.
    pub(in super::super) due: u64,
    /// The number of the target.
    pub(in super::super) lane: u16,
    pub(in super::super) destination: u16,
    pub(in super::super) attempts: u16,
    /// The number of the last error in its lane, 0 for none.
    pub(in super::super) error: u8,
    pub(in super::super) state: JobState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum JobState {
    Ready,
    UnderWay,
    /// An operator holds it from the end of this attempt on.
    UnderWayThenHeld,
    Waiting,
    Held,
    Over,
}

/// Nearly every message has one.
#[derive(Debug)]
pub(super) enum Jobs {
    One(Job),
    Several(Box<Several>),
}

/// Apart, and behind one pointer, so that it costs the others nothing.
#[derive(Debug)]
pub(super) struct Several(Vec<Job>);

impl Record {
    /// `received` is in milliseconds since 1970.
    pub(super) fn new(received: u64, jobs: Vec<Job>) -> Self {
        Self {
            received: u32::try_from(received / 1000).unwrap_or(u32::MAX),
            jobs: match *jobs {
                [job] => Jobs::One(job),
                _ => Jobs::Several(Box::new(Several(jobs))),
            },
        }
    }

    /// In milliseconds since 1970.
    pub(super) fn received(&self) -> u64 {
        u64::from(self.received) * 1000
    }

    pub(super) fn jobs(&self) -> &[Job] {
        match &self.jobs {
            Jobs::One(job) => std::slice::from_ref(job),
            Jobs::Several(several) => &several.0,
        }
    }

    pub(super) fn jobs_mut(&mut self) -> &mut [Job] {
        match &mut self.jobs {
            Jobs::One(job) => std::slice::from_mut(job),
            Jobs::Several(several) => &mut several.0,
        }
    }

    pub(super) fn job_mut(&mut self, lane: u16) -> Option<&mut Job> {
        self.jobs_mut().iter_mut().find(|job| job.lane == lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_little_room() {
        assert_eq!(size_of::<Job>(), 16);
        assert_eq!(size_of::<Record>(), 24);
    }
}
