//! The streams and the bucket: made where they are missing, and looked at.
//!
//! What was made by somebody else is left as it is. It is taken where it keeps what it
//! acknowledges, and nowhere else.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Error, ErrorCode};

use super::names::Names;
use crate::BoxFuture;
use crate::nats::inspect::{Found, Good, judge, refused, silent, stream_info, warnings};
use crate::nats::link::Inspection;

/// What a fleet needs.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) names: Names,
    pub(super) replicas: usize,
    /// What is missing is made.
    pub(super) creates: bool,
}

/// A repeat of the same message within it is none.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(24 * 3600);

impl Inspection for Streams {
    fn look<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            match self.look_at_all(context).await {
                Ok(good) => Found::Good(good),
                Err(found) => found,
            }
        })
    }
}

impl Streams {
    async fn look_at_all(&self, context: &Context) -> Result<Good, Found> {
        let mut good = Good {
            streams: self.names.streams().collect::<Vec<_>>().join(", "),
            replicas: usize::MAX,
            ..Good::default()
        };
        for name in self.names.streams() {
            let info = self
                .info_or_new(context, &name, || self.queue(&name))
                .await?;
            let what = format!("the stream {name}");
            self.judge(&info, &what, &mut good)?;
            if let Some(fault) = queue_fault(&info.config, &name) {
                return Err(Found::Fault(format!("{what} {fault}")));
            }
            good.warnings.extend(warnings(&info.config));
        }
        let name = self.names.failed();
        let info = self.info_or_new(context, &name, || self.failed()).await?;
        self.judge(&info, &format!("the stream {name}"), &mut good)?;
        let bucket = self.names.bucket();
        let name = format!("OBJ_{bucket}");
        let info = self.info_or_new(context, &name, || self.bucket()).await?;
        // Objects are cut to what the server takes.
        let limit = good.max_message_size;
        self.judge(&info, &format!("the bucket {bucket}"), &mut good)?;
        good.max_message_size = limit;
        Ok(good)
    }

    fn judge(&self, info: &Info, what: &str, good: &mut Good) -> Result<(), Found> {
        judge(info, self.replicas, what, good)?;
        match info.config.max_age.is_zero() {
            true => Ok(()),
            false => Err(Found::Fault(format!(
                "{what} drops what is old (max_age): mail waits for days, remove the limit"
            ))),
        }
    }

    async fn info_or_new(
        &self,
        context: &Context,
        name: &str,
        config: impl FnOnce() -> Config,
    ) -> Result<Info, Found> {
        if let Some(info) = stream_info(context, name).await? {
            return Ok(info);
        }
        if !self.creates {
            return Err(Found::Fault(format!(
                "there is no stream {name}: a server makes it when it starts with this spool"
            )));
        }
        let subject = format!("STREAM.CREATE.{name}");
        let made: Response<Info> = context.request(subject, &config()).await.map_err(silent)?;
        match made {
            Response::Ok(info) => {
                tracing::info!(
                    stream = name,
                    replicas = info.config.num_replicas,
                    "made a stream"
                );
                Ok(info)
            }
            // Another server of the fleet was quicker.
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                let info = stream_info(context, name).await?;
                info.ok_or_else(|| Found::Silent(format!("the stream {name} is gone")))
            }
            Response::Err { error } => Err(cannot_make(name, &error)),
        }
    }

    /// Without limits: the server refuses `discard: new` together with schedules, and
    /// `discard: old` drops mail as soon as there is a limit to keep.
    fn queue(&self, name: &str) -> Config {
        Config {
            name: name.to_owned(),
            subjects: vec![format!("{name}.>")],
            retention: RetentionPolicy::WorkQueue,
            duplicate_window: DUPLICATE_WINDOW,
            allow_message_schedules: true,
            ..self.any()
        }
    }

    fn failed(&self) -> Config {
        let name = self.names.failed();
        Config {
            subjects: vec![format!("{name}.>")],
            name,
            duplicate_window: DUPLICATE_WINDOW,
            ..self.any()
        }
    }

    /// As the client library makes a bucket, but read from its leader: a copy that lags does not
    /// know yet what was acknowledged.
    fn bucket(&self) -> Config {
        let bucket = self.names.bucket();
        Config {
            name: format!("OBJ_{bucket}"),
            subjects: vec![format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
            discard: DiscardPolicy::New,
            allow_rollup: true,
            allow_direct: false,
            ..self.any()
        }
    }

    fn any(&self) -> Config {
        Config {
            storage: StorageType::File,
            num_replicas: self.replicas,
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            ..Config::default()
        }
    }
}

/// Why a stream cannot be a queue, beside what is so for every stream.
fn queue_fault(config: &Config, name: &str) -> Option<String> {
    let limits = [
        ("max_msgs", config.max_messages),
        ("max_bytes", config.max_bytes),
        ("max_msgs_per_subject", config.max_messages_per_subject),
    ];
    if let Some((limit, _)) = limits.into_iter().find(|(_, limit)| *limit > 0) {
        return Some(format!(
            "has a limit ({limit}): remove it, and set spool.max-size instead"
        ));
    }
    if config.retention != RetentionPolicy::WorkQueue {
        return Some(
            "keeps what is delivered, or drops what nobody waits for: it needs retention: workqueue"
                .to_owned(),
        );
    }
    if !config.allow_message_schedules {
        return Some(
            "has no schedules, by which mail waits for its next attempt: set allow_msg_schedules \
             (nats-server 2.12 or newer)"
                .to_owned(),
        );
    }
    let all = format!("{name}.>");
    (!config.subjects.contains(&all)).then(|| format!("does not have the subject {all}"))
}

fn cannot_make(name: &str, error: &Error) -> Found {
    let words = format!("the stream {name} cannot be made: {error}");
    match error.error_code() {
        // A cluster that has not come up whole yet.
        ErrorCode::CLUSTER_NO_PEERS
        | ErrorCode::CLUSTER_NOT_AVAILABLE
        | ErrorCode::CLUSTER_NOT_LEADER
        | ErrorCode::INSUFFICIENT_RESOURCES => Found::Silent(words),
        ErrorCode::STREAM_SUBJECT_OVERLAP | ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => {
            Found::Fault(words)
        }
        _ => match refused(error) {
            Found::Fault(fault) => Found::Fault(fault),
            Found::Good(_) | Found::Silent(_) => Found::Silent(words),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Streams {
        Streams {
            names: Names::new("PRIXFIXE", 1),
            replicas: 3,
            creates: true,
        }
    }

    #[test]
    fn what_we_make_has_no_fault() {
        let config = streams().queue("PRIXFIXE");
        assert_eq!(queue_fault(&config, "PRIXFIXE"), None);
        assert_eq!(warnings(&config), Vec::<String>::new());
    }

    #[test]
    fn each_way_to_lose_waiting_mail_is_a_fault() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 6] = [
            ("max_msgs", |it| it.max_messages = 10),
            ("max_bytes", |it| it.max_bytes = 10),
            ("max_msgs_per_subject", |it| it.max_messages_per_subject = 1),
            ("workqueue", |it| it.retention = RetentionPolicy::Limits),
            ("schedules", |it| it.allow_message_schedules = false),
            ("subject", |it| {
                it.subjects = vec!["PRIXFIXE.due.>".to_owned()]
            }),
        ];
        for (word, change) in cases {
            let mut config = streams().queue("PRIXFIXE");
            change(&mut config);
            let fault = queue_fault(&config, "PRIXFIXE").unwrap_or_default();
            assert!(fault.contains(word), "{word}: {fault}");
        }
    }
}
