//! One dead target, and everybody else.

use std::sync::atomic::Ordering;

use super::*;

/// All of them are tried, put off, and tried again while this lasts.
const MESSAGES: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_of_a_dead_target_delay_nobody_elses() {
    let mut options = options();
    options.retry = RetrySchedule::new([Duration::from_secs(600)]);
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    setting.target.is_down.store(true, Ordering::SeqCst);
    let (left, work) = async_channel::bounded(MESSAGES);
    for number in 0..MESSAGES {
        left.try_send(number).unwrap();
    }
    left.close();
    let clients = (0..64).map(|_| {
        let (fleet, work) = (setting.fleet.clone(), work.clone());
        tokio::spawn(async move {
            while let Ok(number) = work.recv().await {
                keep_until_taken(&fleet, "relay", &number.to_string()).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    setting.deliver().await;
    let attempts = || setting.target.attempts.load(Ordering::SeqCst);
    until("attempts for nothing", async || attempts() > 100).await;

    let other = Arc::new(Collector::default());
    setting
        .fleet
        .deliver("other", other.clone(), 4)
        .await
        .unwrap();
    keep_until_taken(&setting.fleet, "other", "among them").await;
    until("the other's mail", async || other.digests() == 1).await;

    // They wait in the stream, and not in the consumer.
    until("all are put off", async || attempts() >= MESSAGES as u64).await;
    let stream = setting.context.get_stream("PRIXFIXE").await.unwrap();
    until("an idle consumer", async || {
        let consumer: Result<jetstream::consumer::PullConsumer, _> =
            stream.get_consumer("deliver-relay").await;
        let info = consumer.unwrap().cached_info().clone();
        info.num_ack_pending == 0 && info.num_pending == 0
    })
    .await;
    assert_eq!(count(&setting.context, "PRIXFIXE").await, MESSAGES as u64);
    keep_until_taken(&setting.fleet, "other", "behind them").await;
    until("the other's mail", async || other.digests() == 2).await;
}
