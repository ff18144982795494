//! The log as it is used: with its threads, on a real disk.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic
)]

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use prixfixe_spool::{
    AppendError, Content, Draft, Log, LogOptions, MessageId, OsDisk, Ticket, Together,
};

fn draft(content: &[u8]) -> Draft<'_> {
    Draft {
        summary: b"to",
        envelope: b"envelope",
        headers: b"headers",
        content,
    }
}

fn found(log: &Log) -> BTreeSet<MessageId> {
    let mut found = BTreeSet::new();
    let taken = log.take_over(|it| {
        found.insert(it.id);
    });
    taken.unwrap().expect("nobody else delivers");
    found
}

#[test]
fn many_clients_share_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = LogOptions::default();
    options.segment_size = 200_000;
    let log = Arc::new(Log::start(directory.path().join("spool"), options.clone()).unwrap());
    assert!(found(&log).is_empty());
    let clients: Vec<_> = (0..16u8)
        .map(|client| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let content = [client; 1500];
                let ids: Vec<MessageId> = (0..60)
                    .map(|_| log.append(draft(&content)).wait().unwrap())
                    .collect();
                for id in &ids {
                    match log.read(*id).unwrap().content {
                        Content::Here(read) => assert_eq!(read, content),
                        Content::Large(_) => unreachable!(),
                    }
                }
                ids
            })
        })
        .collect();
    let ids: Vec<MessageId> = clients
        .into_iter()
        .flat_map(|it| it.join().unwrap())
        .collect();
    let fresh: BTreeSet<MessageId> = log.take_fresh().into_iter().map(|it| it.id).collect();
    assert_eq!(fresh, ids.iter().copied().collect());
    assert_eq!(fresh.len(), 16 * 60);
    let (done, left) = ids.split_at(700);
    for id in done {
        log.done(*id);
    }
    log.hold(left[0], b"held").unwrap();
    Arc::into_inner(log).unwrap().close();

    let log = Log::start(directory.path().join("spool"), options).unwrap();
    let mut held = Vec::new();
    let mut found = BTreeSet::new();
    let recovery = log.take_over(|it| {
        found.insert(it.id);
        held.extend(it.is_held.then(|| (it.id, it.state.map(<[u8]>::to_vec))));
    });
    assert!(recovery.unwrap().unwrap().damaged.is_empty());
    assert_eq!(found, left.iter().copied().collect());
    assert_eq!(held, [(left[0], Some(b"held".to_vec()))]);
}

#[test]
fn a_full_spool_takes_no_message_until_some_are_done() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = LogOptions::default();
    options.segment_size = 20_000;
    options.max_size = 60_000;
    let log = Log::start(directory.path(), options).unwrap();
    found(&log);
    let mut ids = Vec::new();
    let error = loop {
        match log.append(draft(&[b'x'; 5000])).wait() {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!(error, AppendError::Full);
    assert!(ids.len() > 5);
    for id in ids {
        log.done(id);
    }
    // The keeper's thread comes by, however slow the machine is.
    while !log.has_room(30_000) {
        thread::yield_now();
    }
    log.append(draft(b"small")).wait().unwrap();
}

#[test]
fn one_delivers_and_the_other_may_append() {
    let directory = tempfile::tempdir().unwrap();
    let old = Log::start(directory.path(), LogOptions::default()).unwrap();
    found(&old);
    let one = old.append(draft(b"one")).wait().unwrap();
    let new = Log::start(directory.path(), LogOptions::default()).unwrap();
    assert!(new.take_over(|_| ()).unwrap().is_none());
    let two = new.append(draft(b"two")).wait().unwrap();
    old.done(one);
    old.hand_over();
    assert_eq!(found(&new), [two].into());
    // Sessions of the old one go on.
    let three = old.append(draft(b"three")).wait().unwrap();
    new.follow().unwrap();
    let fresh: Vec<MessageId> = new.take_fresh().into_iter().map(|it| it.id).collect();
    assert_eq!(fresh, [three]);
    match new.read(three).unwrap().content {
        Content::Here(content) => assert_eq!(content, b"three"),
        Content::Large(_) => unreachable!(),
    }
    new.done(two);
    let four = old.append(draft(b"four")).wait().unwrap();
    old.close();
    new.follow().unwrap();
    assert_eq!(new.take_fresh().len(), 1);
    new.close();
    let third = Log::start(directory.path(), LogOptions::default()).unwrap();
    assert_eq!(found(&third), [three, four].into());
}

#[test]
fn a_closed_log_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(
        prixfixe_spool::OsDisk,
        directory.path(),
        LogOptions::default(),
    )
    .unwrap();
    let ticket = log.append(draft(b"one"));
    drop(log);
    assert_eq!(ticket.wait(), Err(AppendError::Closed));
}

#[test]
fn what_is_too_long_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::start(directory.path(), LogOptions::default()).unwrap();
    let summary = vec![0; 1025];
    let long = Draft {
        summary: &summary,
        ..Draft::default()
    };
    assert_eq!(log.append(long).wait(), Err(AppendError::TooLong));
    let content = vec![0; 9 << 20];
    assert_eq!(
        log.append(draft(&content)).wait(),
        Err(AppendError::TooLong)
    );
    let id = "1-4128".parse().unwrap();
    assert_eq!(log.attempt(id, &vec![0; 70_000]), Err(AppendError::TooLong));
    assert!("1".parse::<MessageId>().is_err());
    assert!("1-67108864".parse::<MessageId>().is_err());
    assert_eq!(id.to_string(), "1-4128");
}

#[test]
fn a_large_content_without_a_message_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::start(directory.path(), LogOptions::default()).unwrap();
    let count = || directory.path().join("large").read_dir().unwrap().count();
    let mut large = log.large().unwrap();
    large.write(b"abandoned").unwrap();
    assert_eq!(count(), 1);
    drop(large);
    assert_eq!(count(), 0);
    std::fs::write(directory.path().join("large/00000000000000aa"), "left").unwrap();
    let mut large = log.large().unwrap();
    large.write(b"under way").unwrap();
    found(&log);
    assert_eq!(count(), 1);
    let id = log
        .append_large(draft(b""), large.finish().unwrap())
        .wait()
        .unwrap();
    let Content::Large(mut content) = log.read(id).unwrap().content else {
        panic!("it is in a file");
    };
    let mut buffer = [0; 20];
    let count_read = content.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..count_read], b"under way");
    assert_eq!(content.read(&mut buffer).unwrap(), 0);
    std::fs::write(
        directory
            .path()
            .join("large")
            .read_dir()
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path(),
        "under wax",
    )
    .unwrap();
    let Content::Large(mut content) = log.read(id).unwrap().content else {
        panic!("it is in a file");
    };
    content.read(&mut buffer).unwrap();
    assert!(content.read(&mut buffer).is_err());
}

#[test]
fn what_is_done_before_a_hand_over_is_not_found_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::start(directory.path().join("spool"), LogOptions::default()).unwrap();
    assert!(found(&log).is_empty());
    for round in 0..200_u32 {
        let tickets: Vec<_> = (0..8).map(|_| log.append(draft(b"content"))).collect();
        let ids: Vec<MessageId> = tickets.into_iter().map(|it| it.wait().unwrap()).collect();
        for id in ids {
            log.done(id);
            // The writer's thread is at another place each time.
            (0..round % 7 * 40).for_each(|_| std::hint::spin_loop());
        }
        log.hand_over();
        assert_eq!(found(&log), BTreeSet::new(), "round {round}");
    }
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whoever_delivers_is_woken_once_for_a_batch_and_gets_what_it_came_with() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(
        prixfixe_spool::OsDisk,
        directory.path(),
        LogOptions::default(),
    )
    .unwrap();
    found(&log);
    let count = Arc::new(Count(AtomicUsize::new(0)));
    log.wake_for_fresh(Arc::clone(&count).into());
    let tickets: Vec<_> = (0..20_u8)
        .map(|number| log.append_with(draft(b"one"), Arc::new(number)))
        .collect();
    assert!(log.take_fresh().is_empty());
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    while log.turn() {}
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    let fresh = log.take_fresh();
    for (number, (ticket, fresh)) in (0..20_u8).zip(tickets.into_iter().zip(fresh)) {
        assert_eq!(ticket.wait(), Ok(fresh.id));
        let companion = fresh.companion.unwrap().downcast::<u8>().unwrap();
        assert_eq!(*companion, number);
    }
    // States are no news.
    log.done("1-4128".parse().unwrap());
    while log.turn() {}
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

/// Counts how many are woken by each call.
#[derive(Debug, Clone, Default)]
struct Place(u64, Arc<Mutex<Vec<usize>>>);

impl Together for Place {
    fn key(&self) -> u64 {
        self.0
    }

    fn wake(&self, wakers: Vec<Waker>) {
        self.1.lock().unwrap().push(wakers.len());
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[test]
fn those_who_wait_at_one_place_are_woken_by_one_call() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(OsDisk, directory.path(), LogOptions::default()).unwrap();
    let (first, second, alone) = (
        Place(1, Arc::default()),
        Place(2, Arc::default()),
        Place(3, Arc::default()),
    );
    let append = || log.append(Draft::default());
    let mut tickets = vec![append()];
    for _ in 0..3 {
        tickets.push(append().together(first.clone()));
        tickets.push(append().together(second.clone()));
    }
    tickets.push(append().together(alone.clone()));
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut poll = |ticket: &mut Ticket<_>| Pin::new(ticket).poll(&mut context);
    assert!(tickets.iter_mut().all(|it| poll(it).is_pending()));
    while log.turn() {}
    assert_eq!(count.0.load(Ordering::Relaxed), 8);
    assert_eq!(*first.1.lock().unwrap(), [3]);
    assert_eq!(*second.1.lock().unwrap(), [3]);
    // Without a detour.
    assert!(alone.1.lock().unwrap().is_empty());
    for ticket in &mut tickets {
        assert!(matches!(poll(ticket), Poll::Ready(Ok(_))));
    }
}
