//! From arguments to runs: everything is read, resolved and checked before the first connection.

use std::num::NonZeroU32;
use std::sync::Arc;

use prixfixe_client::{Config, StartTls};

use super::arguments::Arguments;
use super::content::{Addressing, Prepared, Source, Transfer};
use super::dialogue::{Manner, Pipelining};
use super::engine::Pace;
use super::report::Settings;
use super::scenario::{Scenario, Shape};
use super::target::Target;
use super::tls::{Security, Trust};
use super::workload::Workload;

/// One run that is ready to start.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) name: &'static str,
    pub(crate) settings: Settings,
    pub(crate) workload: Workload,
}

/// The largest number of messages where neither a number nor a time is given.
const DEFAULT_MESSAGES: u64 = 1000;

/// What the arguments ask for. `Err` says what is wrong with them.
pub(crate) fn plan(arguments: &Arguments) -> Result<Vec<Planned>, String> {
    let targets: Result<Vec<Target>, String> = arguments
        .targets
        .iter()
        .map(|name| Target::resolve(name))
        .collect();
    let targets = targets?;
    let security = security(arguments)?;
    let shapes = arguments
        .scenario
        .map_or_else(|| vec![Scenario::none()], Scenario::shapes);
    shapes
        .into_iter()
        .map(|shape| run(arguments, &shape, &targets, security.as_ref()))
        .collect()
}

fn run(
    arguments: &Arguments,
    shape: &Shape,
    targets: &[Target],
    security: Option<&Security>,
) -> Result<Planned, String> {
    let concurrency = arguments
        .concurrency
        .or(NonZeroU32::new(shape.concurrency))
        .unwrap_or(NonZeroU32::MIN);
    let pace = pace(arguments, shape);
    let source = source(arguments, shape);
    let addressing = addressing(arguments)?;
    let messages = messages(arguments, &source, &addressing)?;
    let manner = Manner {
        config: Arc::new(client(arguments)?),
        pipelining: arguments.pipelining,
        over_tls: arguments.tls,
        bdat: arguments.bdat,
        eight_bit: messages.iter().any(|message| message.eight_bit),
        smtp_utf8: addressing.is_internationalised(),
    };
    let settings = Settings::new(arguments, &pace, concurrency, &messages);
    let workload = Workload {
        targets: targets.to_vec(),
        messages,
        pace,
        concurrency,
        // A thread without a worker would have nothing to do.
        threads: arguments.threads.min(concurrency),
        per_connection: arguments.per_connection.map(Into::into),
        manner: Arc::new(manner),
        security: security.cloned(),
        timeout: arguments.timeout,
        sources: arguments
            .source
            .iter()
            .flat_map(|sources| sources.0.iter().copied())
            .collect(),
        idle_connections: arguments.idle_connections,
        slow_clients: arguments.slow_clients,
        slow_rate: arguments.slow_rate,
    };
    Ok(Planned {
        name: shape.name,
        settings,
        workload,
    })
}

/// An option overrides the scenario; a number or a time given takes the place of both that the scenario has.
fn pace(arguments: &Arguments, shape: &Shape) -> Pace {
    let given = arguments.messages.is_some() || arguments.duration.is_some();
    let (messages, duration) = if given {
        (arguments.messages.map(Into::into), arguments.duration)
    } else if shape.pace.messages.is_some() || shape.pace.duration.is_some() {
        (shape.pace.messages, shape.pace.duration)
    } else {
        (Some(DEFAULT_MESSAGES), None)
    };
    Pace {
        messages,
        duration,
        rate: arguments.rate.or(shape.pace.rate),
        ramp: arguments.ramp_up,
    }
}

fn source(arguments: &Arguments, shape: &Shape) -> Source {
    if arguments.file.is_empty() {
        arguments.size.clone().unwrap_or(Source::Size(shape.size))
    } else {
        Source::Files(arguments.file.clone())
    }
}

fn client(arguments: &Arguments) -> Result<Config, String> {
    let mut config = Config::smtp(&arguments.helo).map_err(|error| format!("--helo: {error}"))?;
    config.pipelining = arguments.pipelining != Pipelining::Off;
    // The engine reads while it writes, so replies never pile up.
    config.window = usize::MAX;
    if arguments.starttls {
        config.start_tls = StartTls::Required;
    }
    Ok(config)
}

fn addressing(arguments: &Arguments) -> Result<Addressing, String> {
    let chunk = arguments.chunk_size.map_or(usize::MAX, |size| {
        usize::try_from(size.get()).unwrap_or(usize::MAX)
    });
    let transfer = if arguments.bdat {
        Transfer::Bdat { chunk }
    } else {
        Transfer::Data
    };
    let (from, to) = (&arguments.from, &arguments.to);
    Addressing::new(from, to, arguments.recipients.get(), transfer)
        .map_err(|error| error.to_string())
}

fn messages(
    arguments: &Arguments,
    source: &Source,
    addressing: &Addressing,
) -> Result<Vec<Arc<Prepared>>, String> {
    let pool = Prepared::pool(source, addressing, arguments.seed)
        .map_err(|error| format!("--file: {error}"))?;
    Ok(pool.into_iter().map(Arc::new).collect())
}

fn security(arguments: &Arguments) -> Result<Option<Security>, String> {
    if !arguments.tls && !arguments.starttls {
        return Ok(None);
    }
    let trust = match &arguments.tls_ca {
        _ if arguments.tls_insecure => Trust::Anything,
        Some(path) => Trust::File(path.clone()),
        None => Trust::System,
    };
    let security = Security::new(
        arguments.tls,
        arguments.tls_name.clone(),
        &trust,
        arguments.tls_resume,
    );
    security.map(Some).map_err(|error| error.to_string())
}
