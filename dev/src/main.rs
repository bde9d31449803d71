//! `lode-dev`: what `lode dev …` becomes.

use std::process::ExitCode;

fn main() -> ExitCode {
    lode_dev::main()
}
