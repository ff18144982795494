//! The `prixfixe` command. All of it is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    prixfixe_cli::main()
}
