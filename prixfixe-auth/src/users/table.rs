//! The file as a table: names, and what is kept of their passwords.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use zeroize::Zeroizing;

use super::hash::{Cost, Hash, InvalidHash};
use crate::mechanism::prepare_name;

/// Where no line says otherwise.
pub(super) const USUAL_ITERATIONS: u32 = 15_000;
/// The longest name, and room for any hash.
const MAX_LINE: usize = 1024;

/// The users that may log in.
#[derive(Debug)]
pub(super) struct Table {
    users: HashMap<Box<str>, Hash>,
    /// What a password of nobody is to cost.
    usual: Cost,
    usual_iterations: u32,
    has_scram: bool,
    /// What salts of nobody come from. `None`: the file has no user.
    nobody: Option<Zeroizing<[u8; 32]>>,
}

/// A line that says nothing. It is left out, and the others count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) number: usize,
    pub(super) problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("over {MAX_LINE} bytes")]
    Length,
    #[error("not UTF-8")]
    Text,
    #[error("no NAME:HASH")]
    Form,
    #[error("a name has 1 to 255 bytes and no control characters")]
    Name,
    #[error("the name stands on an earlier line too")]
    Twice,
    #[error(transparent)]
    Hash(#[from] InvalidHash),
}

impl Table {
    /// Reads lines `NAME:HASH`. Empty ones, and those that begin with `#`, are comments.
    pub(super) fn parse(content: &[u8]) -> (Self, Vec<BadLine>) {
        let mut users = HashMap::new();
        let mut bad = Vec::new();
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        for (line, number) in content.split(|byte| *byte == b'\n').zip(1..) {
            if let Err(problem) = read_line(line, &mut users) {
                bad.push(BadLine { number, problem });
            }
        }
        (Self::new(users), bad)
    }

    fn new(users: HashMap<Box<str>, Hash>) -> Self {
        let costs = || users.values().map(Hash::cost);
        let iterations = most_frequent(costs().filter_map(|cost| match cost {
            Cost::Pbkdf2 { iterations } => Some(iterations),
            Cost::Argon2 { .. } => None,
        }));
        let usual_iterations = iterations.unwrap_or(USUAL_ITERATIONS);
        Self {
            usual: most_frequent(costs()).unwrap_or(Cost::Pbkdf2 {
                iterations: usual_iterations,
            }),
            usual_iterations,
            has_scram: iterations.is_some() || users.is_empty(),
            nobody: users.values().map(Hash::seed).min_by_key(|seed| **seed),
            users,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Hash> {
        self.users.get(name)
    }

    /// A secret of the file's, for salts of nobody. It is that of one of the users: it outlives the
    /// process and most changes of the file, and two servers with the same file have the same. A
    /// salt that changes would tell that its user is none.
    pub(super) fn nobody(&self) -> Option<&[u8; 32]> {
        self.nobody.as_deref()
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// What most lines cost.
    pub(super) fn usual(&self) -> Cost {
        self.usual
    }

    /// The iterations that most verifiers have.
    pub(super) fn usual_iterations(&self) -> u32 {
        self.usual_iterations
    }

    /// Whether SCRAM is any use.
    pub(super) fn has_scram(&self) -> bool {
        self.has_scram
    }
}

fn read_line(line: &[u8], users: &mut HashMap<Box<str>, Hash>) -> Result<(), Problem> {
    if line.len() > MAX_LINE {
        return Err(Problem::Length);
    }
    let line = str::from_utf8(line).map_err(|_| Problem::Text)?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let (name, hash) = line.split_once(':').ok_or(Problem::Form)?;
    let name = prepare_name(name).map_err(|_| Problem::Name)?;
    let hash = Hash::parse(hash)?;
    match users.entry(name.into()) {
        Entry::Vacant(entry) => {
            entry.insert(hash);
            Ok(())
        }
        Entry::Occupied(_) => Err(Problem::Twice),
    }
}

/// Of several that are as frequent, the greatest: it must not change from one reading to the next.
fn most_frequent<T: Copy + Ord + std::hash::Hash>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts = HashMap::new();
    for value in values {
        *counts.entry(value).or_insert(0_usize) += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|(value, count)| (*count, *value));
    most.map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mechanism::scram::{InvalidVerifier, Verifier};

    fn verifier(iterations: u32) -> String {
        Verifier::unmatched([1; 16], iterations).to_string()
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_count() {
        let scram = verifier(4096);
        let long = format!("{}:{scram}", "x".repeat(MAX_LINE));
        let content = format!(
            "# a comment\n\nann:{scram}\r\nbob\n:{scram}\ncarl:secret\nann:{scram}\n{long}\n  \
             dora@example.com:{scram}\neve:{{SCRAM-SHA-256}}1,QQ==,,\n\u{7}:{scram}\n"
        );
        let mut content = content.into_bytes();
        content.extend_from_slice(b"\xff:x\nI\xc2\xadX:");
        content.extend_from_slice(scram.as_bytes());
        let (table, bad) = Table::parse(&content);
        let expected = [
            (4, Problem::Form),
            (5, Problem::Name),
            (6, InvalidHash::Form.into()),
            (7, Problem::Twice),
            (8, Problem::Length),
            (10, InvalidHash::from(InvalidVerifier::Iterations(1)).into()),
            (11, Problem::Name),
            (12, Problem::Text),
        ];
        let expected = expected.map(|(number, problem)| BadLine { number, problem });
        assert_eq!(bad, expected);
        assert_eq!(table.len(), 3);
        for name in ["ann", "dora@example.com", "IX"] {
            assert!(table.get(name).is_some(), "{name}");
        }
        // No problem shows what the line has.
        assert!(
            bad.iter()
                .all(|bad| !bad.problem.to_string().contains("secret"))
        );
    }

    #[test]
    fn nobody_costs_what_most_of_the_file_costs() {
        let argon2 = "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
        let of_argon2 = Cost::Argon2 {
            memory_kib: 64,
            passes: 2,
            lanes: 1,
        };
        let of = |iterations| Cost::Pbkdf2 { iterations };
        let (few, many) = (verifier(4096), verifier(9000));
        for (lines, usual, iterations, has_scram) in [
            (vec![], of(15_000), 15_000, true),
            (vec![argon2], of_argon2, 15_000, false),
            (vec![&few, &few, &many], of(4096), 4096, true),
            (vec![&few, &many], of(9000), 9000, true),
            (vec![&few, argon2, argon2], of_argon2, 4096, true),
        ] {
            let line = |(hash, number): (&&str, usize)| format!("u{number}:{hash}\n");
            let content: String = lines
                .iter()
                .map(|line| &**line)
                .collect::<Vec<&str>>()
                .iter()
                .zip(0..)
                .map(line)
                .collect();
            let (table, bad) = Table::parse(content.as_bytes());
            assert_eq!(bad, []);
            let found = (table.usual(), table.usual_iterations(), table.has_scram());
            assert_eq!(found, (usual, iterations, has_scram), "{content}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(content: Vec<u8>) {
            let _ = Table::parse(&content);
        }
    }
}
