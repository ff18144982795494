//! What a login costs, on one core: PLAIN against a verifier of 4,096 iterations, which hashes the
//! password, and the server's half of SCRAM, which does not.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use prixfixe_auth::mechanism::scram::{ChannelBinding, ClientFirst, Verifier};

fn logins(criterion: &mut Criterion) {
    let Ok(verifier) = Verifier::new(b"secret", b"a salt of 16 by.", 4096) else {
        return;
    };
    criterion.bench_function("PLAIN, 4096 iterations", |bencher| {
        bencher.iter(|| verifier.matches(black_box(b"secret")));
    });
    criterion.bench_function("SCRAM-SHA-256", |bencher| {
        bencher.iter(|| {
            let first = ClientFirst::parse(b"n,,n=ann,r=nonce", ChannelBinding::Absent).ok()?;
            let challenge = first.challenge(verifier.clone(), [7; 18]);
            let nonce = challenge.message().split(',').next()?.to_owned();
            let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
            Some(challenge.verify(format!("c=biws,{nonce},p={proof}").as_bytes()))
        });
    });
}

criterion_group!(benches, logins);
criterion_main!(benches);
