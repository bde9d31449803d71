//! `lode`: what a person types.

use std::process::ExitCode;

fn main() -> ExitCode {
    lode_cli::main()
}
