//! What an acknowledgement of a stream is worth.
//!
//! JetStream acknowledges whatever a stream is told to do: keep messages in memory, drop old ones
//! for new ones, answer before it writes. So the stream is looked at, and mail is taken only where
//! its configuration keeps what it acknowledges.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{RequestError, RequestErrorKind};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PersistenceMode, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{Error, ErrorCode};
use serde::{Deserialize, Serialize};

use super::link::Inspection;
use crate::BoxFuture;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Mail can be published.
    Good(Good),
    /// It would not be kept: the words name the stream and what to change.
    Fault(String),
    /// Nothing can be said: JetStream does not answer, or has no leader.
    Silent(String),
}

/// A stream, or several that share the subject, and a bucket that keep what they acknowledge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Good {
    /// The streams' names, for people.
    pub(crate) streams: String,
    /// The fewest replicas of any of them.
    pub(crate) replicas: usize,
    /// The largest message, headers included, that each of them takes; `None`: what the server
    /// takes.
    pub(crate) max_message_size: Option<usize>,
    /// What does no harm to an acknowledged message for now.
    pub(crate) warnings: Vec<String>,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) subject: Box<str>,
    pub(crate) bucket: Box<str>,
    pub(crate) min_replicas: usize,
}

impl Inspection for Wanted {
    fn look<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            match look(context, self).await {
                Ok(good) => Found::Good(good),
                Err(found) => found,
            }
        })
    }
}

/// A repeat that comes later than this is stored twice.
const MIN_DUPLICATE_WINDOW: Duration = Duration::from_secs(3600);

async fn look(context: &Context, wanted: &Wanted) -> Result<Good, Found> {
    let subject = format!("{}.>", wanted.subject);
    let names = stream_names(context, &subject).await?;
    let mut good = Good {
        streams: names.join(", "),
        replicas: usize::MAX,
        ..Good::default()
    };
    if names.is_empty() {
        return Err(Found::Fault(format!(
            "no stream has the subject {subject}: add one with file storage and {} replicas",
            wanted.min_replicas
        )));
    }
    let mut covers = false;
    for name in names {
        let info = stream_info(context, &name).await?.ok_or_else(|| {
            // It was there a moment ago.
            Found::Silent(format!("the stream {name} is gone"))
        })?;
        let what = format!("the stream {name}");
        judge(&info, wanted.min_replicas, &what, &mut good)?;
        good.warnings.extend(warnings(&info.config));
        covers |= covered(&info.config.subjects, &wanted.subject);
    }
    if !covers {
        good.warnings.push(format!(
            "no stream has all of {subject}: mail for other domains is answered 451"
        ));
    }
    let bucket = format!("OBJ_{}", wanted.bucket);
    let info = stream_info(context, &bucket).await?.ok_or_else(|| {
        Found::Fault(format!(
            "there is no object store bucket {}: add it, with file storage and {} replicas",
            wanted.bucket, wanted.min_replicas
        ))
    })?;
    // Objects are cut to what the server takes.
    let limit = good.max_message_size;
    let what = format!("the bucket {}", wanted.bucket);
    judge(&info, wanted.min_replicas, &what, &mut good)?;
    good.max_message_size = limit;
    if let Some(age) = has_age(&info.config) {
        good.warnings.push(format!("the bucket {age}"));
    }
    Ok(good)
}

/// Looks at one stream, and adds what was found to what is good.
pub(crate) fn judge(
    info: &Info,
    min_replicas: usize,
    what: &str,
    good: &mut Good,
) -> Result<(), Found> {
    let config = &info.config;
    if let Some(fault) = fault(config, min_replicas) {
        return Err(Found::Fault(format!("{what} {fault}")));
    }
    if let Some(cluster) = &info.cluster {
        let leader = cluster.leader.as_deref().unwrap_or_default();
        if leader.is_empty() && config.num_replicas > 1 {
            return Err(Found::Silent(format!("{what} has no leader")));
        }
    }
    good.replicas = good.replicas.min(config.num_replicas);
    if let Ok(limit @ 1..) = usize::try_from(config.max_message_size) {
        good.max_message_size = Some(good.max_message_size.map_or(limit, |it| it.min(limit)));
    }
    Ok(())
}

/// Why an acknowledgement of such a stream is worth nothing.
fn fault(config: &Config, min_replicas: usize) -> Option<String> {
    if config.storage == StorageType::Memory {
        return Some("is kept in memory: it needs file storage".to_owned());
    }
    if config.no_ack {
        return Some("acknowledges nothing (no_ack)".to_owned());
    }
    if config.persist_mode == Some(PersistenceMode::Async) {
        return Some("acknowledges before it writes (persist_mode: async)".to_owned());
    }
    if config.num_replicas < min_replicas {
        return Some(format!(
            "has {} replicas, fewer than min-replicas = {min_replicas}",
            config.num_replicas
        ));
    }
    let has_limit = [
        ("max_msgs", config.max_messages),
        ("max_bytes", config.max_bytes),
        ("max_msgs_per_subject", config.max_messages_per_subject),
    ]
    .into_iter()
    .find(|(_, limit)| *limit > 0);
    match (config.discard, has_limit) {
        (DiscardPolicy::Old, Some((limit, _))) => Some(format!(
            "drops old messages for new ones (discard: old with {limit}): set discard: new"
        )),
        _ => None,
    }
}

pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let name = &config.name;
    if let Some(age) = has_age(config) {
        warnings.push(format!("the stream {name} {age}"));
    }
    if config.duplicate_window < MIN_DUPLICATE_WINDOW {
        warnings.push(format!(
            "the stream {name} has a duplicate_window of {} s: a message whose client repeats it later is stored twice",
            config.duplicate_window.as_secs()
        ));
    }
    if config.retention == RetentionPolicy::Interest {
        warnings.push(format!(
            "the stream {name} keeps only what a consumer waits for (retention: interest)"
        ));
    }
    warnings
}

fn has_age(config: &Config) -> Option<String> {
    let age = config.max_age.as_secs();
    (!config.max_age.is_zero()).then(|| format!("drops what is older than {age} s (max_age)"))
}

/// Whether one of these subjects has all below ours.
fn covered(subjects: &[String], ours: &str) -> bool {
    subjects.iter().any(|subject| {
        let Some(parent) = subject.strip_suffix('>') else {
            return false;
        };
        let mut ours = ours.split('.');
        let mut words = parent.split_terminator('.');
        words.all(|word| ours.next().is_some_and(|our| word == "*" || word == our))
    })
}

#[derive(Serialize)]
struct NamesRequest<'a> {
    subject: &'a str,
}

#[derive(Deserialize)]
struct Names {
    /// Null where there are none.
    streams: Option<Vec<String>>,
}

async fn stream_names(context: &Context, subject: &str) -> Result<Vec<String>, Found> {
    let request = NamesRequest { subject };
    let names: Response<Names> = context
        .request("STREAM.NAMES", &request)
        .await
        .map_err(silent)?;
    match names {
        Response::Ok(names) => Ok(names.streams.unwrap_or_default()),
        Response::Err { error } => Err(refused(&error)),
    }
}

pub(crate) async fn stream_info(context: &Context, name: &str) -> Result<Option<Info>, Found> {
    let info: Response<Info> = context
        .request(format!("STREAM.INFO.{name}"), &())
        .await
        .map_err(silent)?;
    match info {
        Response::Ok(info) => Ok(Some(info)),
        Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
        Response::Err { error } => Err(refused(&error)),
    }
}

pub(crate) fn silent(error: RequestError) -> Found {
    Found::Silent(match error.kind() {
        RequestErrorKind::NoResponders => "JetStream is not enabled, or has no leader".to_owned(),
        RequestErrorKind::TimedOut => {
            "JetStream does not answer, or the user may not ask it for streams".to_owned()
        }
        _ => format!("JetStream cannot be asked: {error}"),
    })
}

pub(crate) fn refused(error: &Error) -> Found {
    match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Found::Fault("JetStream is not enabled for this account".to_owned())
        }
        _ => Found::Silent(format!("JetStream says {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Config {
        Config {
            name: "MAIL".to_owned(),
            num_replicas: 3,
            duplicate_window: Duration::from_secs(86_400),
            ..Config::default()
        }
    }

    #[test]
    fn each_way_to_lose_an_acknowledged_message_is_a_fault() {
        assert_eq!(fault(&good(), 3), None);
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 8] = [
            ("memory", |it| it.storage = StorageType::Memory),
            ("no_ack", |it| it.no_ack = true),
            ("async", |it| it.persist_mode = Some(PersistenceMode::Async)),
            ("min-replicas", |it| it.num_replicas = 2),
            ("max_msgs", |it| it.max_messages = 10),
            ("max_bytes", |it| it.max_bytes = 10),
            ("max_msgs_per_subject", |it| it.max_messages_per_subject = 1),
            ("max_bytes", |it| {
                it.max_messages = -1;
                it.max_bytes = 10;
            }),
        ];
        for (word, change) in cases {
            let mut config = good();
            change(&mut config);
            let fault = fault(&config, 3).unwrap_or_default();
            assert!(fault.contains(word), "{word}: {fault}");
        }
    }

    #[test]
    fn limits_that_refuse_new_messages_are_fine() {
        let config = Config {
            max_messages: 10,
            max_bytes: 10,
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            ..good()
        };
        assert_eq!(fault(&config, 3), None);
        assert_eq!(
            fault(
                &Config {
                    num_replicas: 1,
                    ..good()
                },
                1
            ),
            None
        );
    }

    #[test]
    fn what_forgets_later_is_a_warning() {
        assert_eq!(warnings(&good()), Vec::<String>::new());
        let config = Config {
            max_age: Duration::from_secs(60),
            duplicate_window: Duration::from_secs(120),
            retention: RetentionPolicy::Interest,
            ..good()
        };
        let warnings = warnings(&config).join("\n");
        for word in ["older than 60 s", "duplicate_window of 120 s", "interest"] {
            assert!(warnings.contains(word), "{warnings}");
        }
    }

    #[test]
    fn a_stream_covers_what_its_wildcards_say() {
        let covers = |subject: &str| covered(&[subject.to_owned()], "mail.in");
        for subject in [">", "mail.>", "mail.in.>", "*.in.>", "*.*.>"] {
            assert!(covers(subject), "{subject}");
        }
        for subject in [
            "mail.in",
            "mail.in.com.>",
            "mail.*",
            "mail.in.*",
            "x.>",
            "mai.>",
        ] {
            assert!(!covers(subject), "{subject}");
        }
    }
}
