//! In memory: addresses, commands, the search for the end of data, whole dialogues.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prixfixe_benches::dialogue::{Dialogue, Workload};
use prixfixe_core::Mailbox;

fn addresses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse a mailbox");
    for (name, mailbox) in [
        ("plain", "first.last@mail.example.com"),
        ("quoted", "\"first last\"@mail.example.com"),
        ("address literal", "postmaster@[IPv6:2001:db8::1]"),
        ("internationalised", "gr\u{fc}\u{df}e@b\u{fc}cher.example"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(Mailbox::try_from(black_box(mailbox))).is_ok())
        });
    }
    group.finish();
}

fn dialogues(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a dialogue in memory");
    for workload in Workload::all() {
        group.throughput(Throughput::Bytes(workload.octets()));
        group.bench_function(workload.name, |bencher| {
            let mut dialogue = Dialogue::new();
            bencher.iter(|| dialogue.run(black_box(&workload)));
        });
    }
    group.finish();
}

criterion_group!(benches, addresses, dialogues);
criterion_main!(benches);
