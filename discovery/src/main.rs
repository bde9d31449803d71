//! The directory's program: arguments → configuration → [`lode_discovery::app`].

use std::process::ExitCode;

use lode_discovery::{app, config};
use lode_program::{Service, run_service};

fn main() -> ExitCode {
    let service = Service {
        name: "lode-discovery",
        version: env!("CARGO_PKG_VERSION"),
        about: "Public directory of Lode nodes",
        variables: "LODE_DISCOVERY",
    };
    run_service(service, config::load, app::run)
}
