//! Where contents are kept, and how much memory they take.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::*;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"0123456789\r\n"[at % 12]).collect()
}

fn body(content: &[u8]) -> Body {
    let pieces = content.chunks(7000).map(<[u8]>::to_vec);
    Body::of_pieces(pieces, None)
}

fn read(mut body: Body) -> Vec<u8> {
    wait(async {
        let mut content = Vec::new();
        while let Some(piece) = body.chunk().await.unwrap() {
            content.extend_from_slice(&piece);
        }
        content
    })
}

#[test]
fn a_content_is_read_as_it_was_wherever_it_is() {
    let gathering = Gathering::new(100_000, None);
    for length in [0, 1, 4096, 4097, 50_000, 100_000, 300_000, 1_000_000] {
        let content = content(length);
        let gathered = wait(gathering.gather(&mut body(&content))).unwrap();
        assert_eq!(gathered.size(), length as u64);
        // 4, 16 and 64 KiB fit, the block behind them does not.
        assert_eq!(gathered.is_in_file(), length > 84 << 10, "{length}");
        for (offset, part) in [(0, 10), (5, 65_536), (length / 2, length), (length + 1, 1)] {
            let end = (offset + part).min(length);
            let expected = content.get(offset..end).unwrap_or_default();
            let part = gathered.part(offset as u64, part as u64);
            assert_eq!(part.size(), expected.len() as u64);
            assert_eq!(read(part.part(0, u64::MAX).body()), expected);
        }
        // Twice, and both at the same time.
        let (first, second) = (gathered.body(), gathered.body());
        assert_eq!(read(first), content);
        assert_eq!(read(second), content);
        for skipped in [1, 5000, length] {
            let behind = gathered.body_behind(vec!["a: b\r\n".into()], skipped);
            let rest = content.get(skipped..).unwrap_or_default();
            assert_eq!(
                read(behind),
                [b"a: b\r\n", rest].concat(),
                "{length} {skipped}"
            );
        }
    }
    assert_eq!(gathering.memory.used(), 0, "all is given back");
}

#[test]
fn many_large_messages_at_once_stay_within_the_memory() {
    let limit = 1 << 20;
    let gathering = Gathering::new(limit, None);
    let content = content(400_000);
    let all: Vec<Gathered> = (0..20)
        .map(|_| {
            let gathered = wait(gathering.gather(&mut body(&content))).unwrap();
            assert!(gathering.memory.used() <= limit);
            gathered
        })
        .collect();
    let in_memory = all.iter().filter(|it| !it.is_in_file()).count();
    assert!((1..=2).contains(&in_memory), "{in_memory}");
    assert!(all.into_iter().all(|it| read(it.body()) == content));
    assert_eq!(gathering.memory.used(), 0);
}

#[test]
fn what_is_reserved_is_not_there_for_contents_until_it_is_given_back() {
    let gathering = Gathering::new(100_000, None);
    let reserved = gathering.reserve(98_000).unwrap();
    assert!(gathering.reserve(3_000).is_none());
    let gathered = wait(gathering.gather(&mut body(&content(3_000)))).unwrap();
    assert!(gathered.is_in_file());
    drop(reserved);
    let gathered = wait(gathering.gather(&mut body(&content(3_000)))).unwrap();
    assert!(!gathered.is_in_file() && gathering.reserve(98_000).is_none());
}

#[test]
fn a_body_that_breaks_off_or_a_directory_that_is_missing_is_a_reply() {
    let gathering = Gathering::new(0, Some("/nowhere/at/all".into()));
    let refused = wait(gathering.gather(&mut body(&content(10))));
    assert_eq!(refused.unwrap_err(), Reply::TRY_LATER);
    let mut broken = Body::of_pieces(["a"], Some(BodyError::Incomplete));
    let refused = wait(Gathering::default().gather(&mut broken));
    assert_eq!(refused.unwrap_err().code(), 451);
    let empty = wait(gathering.gather(&mut body(&[]))).unwrap();
    assert_eq!(empty.size(), 0);
}

#[test]
fn files_have_no_name() {
    let directory = tempfile::tempdir().unwrap();
    let gathering = Gathering::new(0, Some(directory.path().into()));
    let gathered = wait(gathering.gather(&mut body(&content(100_000)))).unwrap();
    assert!(gathered.is_in_file());
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_name_that_a_file_has_for_a_moment_is_not_to_be_guessed() {
    let directory = tempfile::tempdir().unwrap();
    // Names that a process number and a counter would give.
    for count in 0..2000 {
        let name = format!(".prixfixe-{}-{count}", std::process::id());
        std::fs::write(directory.path().join(name), "").unwrap();
    }
    let gathering = Gathering::new(0, Some(directory.path().into()));
    let gathered = wait(gathering.gather(&mut body(&content(100_000)))).unwrap();
    assert!(gathered.is_in_file());
}
