//! Outside programs: clients, balancers, whatever else is installed.

use std::path::PathBuf;
use std::process::Command;

/// True where the program is there; otherwise the test is skipped, or fails where skipping is not
/// wanted.
pub fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .any(|folder| folder.join(program).is_file())
    });
    if !found {
        assert!(
            std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_none(),
            "{program} is not installed"
        );
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// A Python that has this module; `None`, or a failed test where skipping is not wanted, if there
/// is none.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let candidates = ["/usr/local/lib/prixfixe-tools/bin/python", "python3"];
    let has_module = |python: &&str| {
        let import = format!("import {module}");
        let output = Command::new(python).args(["-c", &import]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = candidates.iter().find(|python| has_module(python));
    if found.is_none() {
        assert!(
            std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_none(),
            "no Python has the module {module}"
        );
        eprintln!("skipped: no Python has the module {module}");
    }
    found.map(PathBuf::from)
}

/// Runs a client to its end; a failure shows what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}
