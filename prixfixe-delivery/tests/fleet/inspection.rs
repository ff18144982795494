//! What the streams must be.

use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};

use super::*;

#[tokio::test]
async fn what_is_missing_is_made_and_partitions_are_streams() {
    let mut options = options();
    options.partitions = 3;
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    for name in [
        "PRIXFIXE-0",
        "PRIXFIXE-1",
        "PRIXFIXE-2",
        "PRIXFIXE_FAILED",
        "OBJ_PRIXFIXE",
    ] {
        let stream = setting.context.get_stream(name).await.expect(name);
        assert_eq!(stream.cached_info().config.storage, StorageType::File);
    }
    setting.deliver().await;
    for number in 0..12 {
        keep_until_taken(&setting.fleet, "relay", &number.to_string()).await;
    }
    until("all of them", async || setting.target.digests() == 12).await;
}

#[tokio::test]
async fn a_stream_that_loses_what_it_acknowledges_is_a_fault_at_start() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = context(&server.address()).await;
    let good = |name: &str| Config {
        name: name.to_owned(),
        subjects: vec![format!("{name}.>")],
        retention: RetentionPolicy::WorkQueue,
        allow_message_schedules: true,
        ..Config::default()
    };
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 6] = [
        ("max_msgs", |it| it.max_messages = 10),
        ("max_bytes", |it| it.max_bytes = 1 << 20),
        ("memory", |it| it.storage = StorageType::Memory),
        ("max_age", |it| it.max_age = Duration::from_secs(86_400)),
        ("allow_msg_schedules", |it| {
            it.allow_message_schedules = false
        }),
        ("workqueue", |it| it.retention = RetentionPolicy::Limits),
    ];
    for (word, change) in cases {
        let mut config = good(word);
        change(&mut config);
        context.create_stream(config).await.expect(word);
        let url = server.address().parse().unwrap();
        let mut options = options();
        word.clone_into(&mut options.stream);
        let error = Fleet::open(&url, options).await.unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
    context.create_stream(good("PRIXFIXE")).await.unwrap();
    open(&server.address(), options()).await;
    let mut three = options();
    three.replicas = 3;
    let url = server.address().parse().unwrap();
    let error = Fleet::open(&url, three).await.unwrap_err().to_string();
    assert!(error.contains("replicas"), "{error}");
}

#[tokio::test]
async fn a_target_with_a_name_that_means_more_is_refused() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    for name in ["", "a.b", ">"] {
        let target = setting.target.clone();
        assert!(
            setting.fleet.deliver(name, target, 1).await.is_err(),
            "{name}"
        );
    }
}
