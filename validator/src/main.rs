//! The validator's program: arguments → configuration → [`lode_validator::app`].

use std::process::ExitCode;

use lode_program::{Service, run_service};
use lode_validator::{app, config};

fn main() -> ExitCode {
    let service = Service {
        name: "lode-validator",
        version: env!("CARGO_PKG_VERSION"),
        about: "Proves the GPUs of Lode nodes, attests them on chain, and judges accusations",
        variables: "LODE_VALIDATOR",
    };
    run_service(service, config::load, app::run)
}
