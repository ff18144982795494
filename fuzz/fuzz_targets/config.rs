//! Invariant: whatever the file, the environment and the flags say, there is no panic, each mistake
//! is one line that names the flag, the variable, or the file with its line and key, and what
//! `check` prints reads back as the same configuration.
//!
//! Lines that begin with `--` are flags, lines that begin with `SMTP_` are variables; all others
//! are the file.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::{Args, Command, FromArgMatches};
use libfuzzer_sys::fuzz_target;
use prixfixe_config::{Configuration, ConfigurationArguments, Environment, Invalid, Mistakes};

/// A file that each run writes anew.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::temp_dir().join(format!("prixfixe-fuzz-{}.toml", std::process::id()))
});

static COMMAND: LazyLock<Command> =
    LazyLock::new(|| ConfigurationArguments::augment_args(Command::new("serve")));

type Variables = Vec<(Vec<u8>, OsString)>;

/// `None`: the command line is one that clap refuses.
fn load(
    file: &[u8],
    flags: &[OsString],
    variables: &Variables,
) -> Option<Result<Configuration, Mistakes>> {
    std::fs::write(&*FILE, file).expect("a file");
    let line = [
        OsString::from("serve"),
        "--config".into(),
        FILE.as_os_str().to_owned(),
    ];
    let line = line.iter().chain(flags);
    let matches = COMMAND.clone().try_get_matches_from(line).ok()?;
    let arguments = ConfigurationArguments::from_arg_matches(&matches).expect("clap took it");
    let environment: Environment = variables
        .iter()
        .map(|(name, value)| (OsString::from_vec(name.clone()), value.clone()))
        .collect();
    Some(Configuration::load_with(&arguments, &environment))
}

/// A flag of ours, a variable of ours, or the file, with the line and the key where there is one.
fn assert_named(error: &Invalid) {
    let flag = |place: &str| {
        COMMAND
            .get_arguments()
            .any(|arg| arg.get_long() == Some(place))
    };
    let path = FILE.display().to_string();
    let known = match error.place.strip_prefix("--") {
        Some(rest) => flag(rest) || *rest == format!("config {path}"),
        None => match error.place.strip_prefix(&path) {
            Some(place) => place.starts_with(':'),
            None => error.place.starts_with("SMTP_") && !error.place.contains(' '),
        },
    };
    assert!(known, "{error}");
    assert!(!error.problem.is_empty());
}

fuzz_target!(|bytes: &[u8]| {
    let (mut file, mut flags, mut variables) = (Vec::new(), Vec::new(), Variables::new());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if text.starts_with(b"--") {
            flags.push(OsString::from_vec(text.to_vec()));
        } else if text.starts_with(b"SMTP_")
            && let Some(at) = text.iter().position(|byte| *byte == b'=')
        {
            let value = std::ffi::OsStr::from_bytes(&text[at + 1..]).to_owned();
            variables.push((text[..at].to_vec(), value));
        } else {
            file.extend_from_slice(line);
        }
    }
    if flags
        .iter()
        .any(|flag| flag.as_bytes().starts_with(b"--config"))
    {
        return;
    }
    match load(&file, &flags, &variables) {
        None => {}
        Some(Err(Mistakes(mistakes))) => {
            assert!(!mistakes.is_empty());
            mistakes.iter().for_each(assert_named);
        }
        Some(Ok(configuration)) => {
            assert!(Path::new(&*FILE).exists());
            let printed = configuration.to_toml().expect("it prints");
            let again = load(printed.as_bytes(), &[], &Variables::new()).expect("no flags");
            match again {
                Ok(again) => assert_eq!(again, configuration, "{printed}"),
                Err(error) => panic!("{error}\n{printed}"),
            }
        }
    }
});
