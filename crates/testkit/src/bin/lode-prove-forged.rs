//! A prover that forges, as a process: what a cheating host would run in the place of `lode-prove-cpu`. For tests only;
//! nothing that is released contains it. A worker that is configured to use it signs what it says.
//!
//! Exit codes: 0 the input ended, 1 failure, 64 wrong use.

use std::process::ExitCode;

use lode_gpu_proof::attacks::{Forgery, ForgingProver};
use lode_gpu_proof::prover_server;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parts: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let chosen = match parts.as_slice() {
        ["--forgery", name, "--gpu", uuid] => Forgery::by_name(name).map(|forgery| (forgery, *uuid)),
        _ => None,
    };
    let Some((forgery, uuid)) = chosen else {
        let names: Vec<&str> = Forgery::ALL.iter().map(|forgery| forgery.name()).collect();
        eprintln!("usage: lode-prove-forged --forgery NAME --gpu UUID\nNAME is one of {}", names.join(", "));
        return ExitCode::from(64);
    };
    let mut prover = ForgingProver::new(forgery, uuid.to_owned());
    match prover_server::serve(&mut prover, std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lode-prove-forged: {error}");
            ExitCode::FAILURE
        }
    }
}
