//! Every dialogue file, with what the server says at once and byte by byte.

use std::fs;
use std::path::Path;

use crate::script::run;

#[test]
fn at_once() {
    run_all(usize::MAX);
}

#[test]
fn in_pieces() {
    for length in [1, 2, 3, 7] {
        run_all(length);
    }
}

fn run_all(length: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut failures = String::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        count += 1;
        if let Err(failure) = run(&fs::read_to_string(&path).unwrap(), length) {
            failures += &format!("{}: {failure}\n", path.display());
        }
    }
    assert!(count > 30, "{count} dialogues");
    assert!(failures.is_empty(), "pieces of {length}\n{failures}");
}
