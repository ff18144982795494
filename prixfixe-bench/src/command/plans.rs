//! From arguments to runs.

use std::num::{NonZeroU32, NonZeroUsize};

use super::CommandError;
use super::arguments::Arguments;
use crate::plan::{Content, Protocol, Tls, TlsError, Transfer, Trust};
use crate::{Plan, PlanError, Scenario, Workload};

/// What the arguments ask for, to these targets, ready to run.
pub(super) fn prepare(
    arguments: &Arguments,
    targets: &[String],
) -> Result<Vec<Workload>, CommandError> {
    let prepare = |plan: Plan| {
        plan.prepare()
            .map_err(|error| CommandError::Plan(say(&error)))
    };
    plans(arguments, targets).into_iter().map(prepare).collect()
}

fn plans(arguments: &Arguments, targets: &[String]) -> Vec<Plan> {
    let mut plans = match arguments.scenario {
        Some(scenarios) => {
            let plan = |scenario: Scenario| scenario.plan(targets);
            scenarios.runs().into_iter().map(plan).collect()
        }
        None => vec![Plan::new(targets)],
    };
    for plan in &mut plans {
        fill(plan, arguments);
    }
    plans
}

/// An option overrides the scenario; a number or a time given takes the place of both that the
/// scenario has.
fn fill(plan: &mut Plan, arguments: &Arguments) {
    if arguments.lmtp {
        plan.protocol = Protocol::Lmtp;
    }
    if arguments.messages.is_some() || arguments.duration.is_some() {
        plan.pace.messages = arguments.messages.map(Into::into);
        plan.pace.duration = arguments.duration;
    }
    plan.pace.rate = arguments.rate.or(plan.pace.rate);
    plan.pace.ramp = arguments.ramp_up;
    // Few connections would be the knee that is found, rather than the server's.
    let most = NonZeroU32::MIN.saturating_add(99);
    let concurrency = if arguments.find_knee {
        most
    } else {
        plan.concurrency
    };
    plan.concurrency = arguments.concurrency.unwrap_or(concurrency);
    plan.threads = arguments.threads;
    plan.per_connection = arguments.per_connection;
    if !arguments.file.is_empty() {
        plan.content = Content::Files(arguments.file.clone());
    } else if let Some(size) = &arguments.size {
        plan.content = size.clone();
    }
    plan.seed = arguments.seed;
    plan.helo.clone_from(&arguments.helo);
    plan.from.clone_from(&arguments.from);
    plan.to.clone_from(&arguments.to);
    plan.recipients = arguments.recipients;
    plan.pipelining = arguments.pipelining.into();
    plan.transfer = transfer(arguments);
    plan.tls = tls(arguments);
    plan.timeout = arguments.timeout;
    let sources = arguments.source.iter();
    plan.sources = sources.flat_map(|range| range.0.iter().copied()).collect();
    plan.idle_connections = arguments.idle_connections;
    plan.slow_clients = arguments.slow_clients;
    plan.slow_rate = arguments.slow_rate;
}

fn transfer(arguments: &Arguments) -> Transfer {
    if !arguments.bdat {
        return Transfer::Data;
    }
    let chunk = arguments.chunk_size;
    Transfer::Bdat {
        chunk: chunk.map(|size| NonZeroUsize::try_from(size).unwrap_or(NonZeroUsize::MAX)),
    }
}

fn tls(arguments: &Arguments) -> Option<Tls> {
    let mut tls = match (arguments.tls, arguments.starttls) {
        (true, _) => Tls::implicit(),
        (_, true) => Tls::starttls(),
        _ => return None,
    };
    tls.trust = match &arguments.tls_ca {
        _ if arguments.tls_insecure => Trust::Anything,
        Some(path) => Trust::File(path.clone()),
        None => Trust::System,
    };
    tls.name.clone_from(&arguments.tls_name);
    tls.resume = arguments.tls_resume;
    Some(tls)
}

/// In the words of the command line.
fn say(error: &PlanError) -> String {
    match error {
        PlanError::From(why) => format!("--from: {why}"),
        PlanError::To(why) => format!("--to: {why}"),
        PlanError::Helo(why) => format!("--helo: {why}"),
        PlanError::Content(why) => format!("--file: {why}"),
        PlanError::Tls(TlsError::NoRoots) => {
            format!("{error}; name them with --tls-ca, or pass --tls-insecure")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::plan::Pipelining;
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(line: &str) -> Arguments {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        CommandLine::try_parse_from(words).unwrap().arguments
    }

    fn planned(line: &str) -> Vec<Plan> {
        let arguments = arguments(line);
        plans(&arguments, &arguments.targets)
    }

    #[test]
    fn without_options_a_run_is_the_plan_of_the_library() {
        assert_eq!(planned(""), [Plan::new(["localhost:2525"])]);
    }

    #[test]
    fn every_option_that_makes_a_plan_is_in_it() {
        let plans = planned(
            "-n 10 -d 1m -c 5 --rate 2.5 --ramp-up 10s -s 1KB-2KiB -r 3 --from a@b --to c{n}@d --helo me \
             --per-connection 2 --pipelining full --bdat --chunk-size 64KiB --starttls --tls-ca ca.pem --tls-name mx \
             --tls-resume --idle-connections 7 --slow-clients 8 --slow-rate 9 --timeout 5 --seed 3 --threads 2 \
             --source 127.0.0.1-127.0.0.3 --lmtp one:25 two",
        );
        let mut plan = Plan::new(["one:25", "two"]);
        plan.protocol = Protocol::Lmtp;
        plan.pace.messages = Some(10);
        plan.pace.duration = Some(Duration::from_secs(60));
        plan.pace.rate = Some(2.5);
        plan.pace.ramp = Duration::from_secs(10);
        plan.concurrency = 5.try_into().unwrap();
        plan.content = Content::Sizes(1000..=2048);
        plan.recipients = 3.try_into().unwrap();
        (plan.from, plan.to, plan.helo) = ("a@b".into(), "c{n}@d".into(), "me".into());
        plan.per_connection = Some(2.try_into().unwrap());
        plan.pipelining = Pipelining::Full;
        plan.transfer = Transfer::Bdat {
            chunk: NonZeroUsize::new(65_536),
        };
        let mut tls = Tls::starttls();
        tls.trust = Trust::File("ca.pem".into());
        tls.name = Some("mx".to_owned());
        tls.resume = true;
        plan.tls = Some(tls);
        plan.idle_connections = 7;
        plan.slow_clients = 8;
        plan.slow_rate = 9.try_into().unwrap();
        plan.timeout = Duration::from_secs(5);
        plan.seed = 3;
        plan.threads = 2.try_into().unwrap();
        plan.sources = (1..=3).map(|last| [127, 0, 0, last].into()).collect();
        assert_eq!(plans, [plan]);
    }

    #[test]
    fn options_override_a_scenario() {
        let one = |line: &str| {
            let mut plans = planned(line);
            assert_eq!(plans.len(), 1);
            plans.remove(0)
        };
        let pace = one("--scenario sustained --rate 7").pace;
        let seconds = pace.duration.map(|time| time.as_secs());
        assert_eq!(
            (pace.messages, seconds, pace.rate),
            (None, Some(30), Some(7.0))
        );
        // A number takes the place of the scenario's time.
        let pace = one("--scenario sustained -n 5").pace;
        assert_eq!(
            (pace.messages, pace.duration, pace.rate),
            (Some(5), None, Some(50.0))
        );
        let plan = one("--scenario large -c 3 --file mail");
        assert_eq!((plan.name.as_str(), plan.concurrency.get()), ("large", 3));
        assert_eq!(plan.content, Content::Files(vec!["mail".into()]));
        let all = planned("--scenario all");
        let names: Vec<_> = all.iter().map(|plan| plan.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "burst-small",
                "burst-medium",
                "high-volume",
                "sustained",
                "large"
            ]
        );
    }
}
