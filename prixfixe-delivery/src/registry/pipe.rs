//! `pipe:`: a program.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::{Kind, PreparedTarget, Wanted};
use crate::{OpenError, Pipe, PipeOptions, PipeUrl};

pub(super) const PIPE: Kind = Kind {
    scheme: "pipe",
    form: "pipe:PROGRAM",
    check: |text| super::parsed::<PipeUrl>(text),
    keys: &["concurrency", "timeout", "final-timeout", "args"],
    check_options: |_, _| Ok(()),
    is_relay: false,
    is_remote: true,
    prepare,
};

fn prepare(wanted: &Wanted<'_>) -> Result<PreparedTarget, OpenError> {
    let url: PipeUrl = super::url(wanted)?;
    let (given, mut options) = (wanted.options, PipeOptions::default());
    wanted.name.clone_into(&mut options.name);
    options.args.clone_from(&given.args);
    if let Some(final_timeout) = given.final_timeout {
        options.final_timeout = final_timeout;
    }
    if let Some(concurrency) = given.concurrency.and_then(NonZeroUsize::new) {
        options.concurrency = concurrency;
    }
    Ok(PreparedTarget::later(async move {
        let program = Pipe::open(&url, options).map_err(OpenError::remote)?;
        Ok(Arc::new(program) as _)
    }))
}
