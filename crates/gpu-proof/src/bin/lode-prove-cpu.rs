//! The CPU reference prover as a process: see `lode_gpu_proof::prover_protocol`.
//!
//! Exit codes: 0 the input ended, 1 failure, 64 wrong use.

use lode_gpu_proof::{
    Challenge, CpuProver, Digest, EpochVerifier, FreivaldsSecret, Opening, OpeningSecret, Params, Prover,
    SessionInputs, prover_server,
};
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
usage: lode-prove-cpu [--gpu UUID]      serve requests on stdin, answer on stdout
       lode-prove-cpu --self-test       prove and verify once, say how long it took
       lode-prove-cpu --measure         cost of verifying one proof at the width of a large GPU's class
       lode-prove-cpu --version

The GPU's UUID may also stand in LODE_PROVER_GPU.";

enum Command {
    Serve { gpu_uuid: String },
    SelfTest,
    Measure,
    Version,
    Help,
}

fn main() -> ExitCode {
    let command = match parse(std::env::args().skip(1).collect()) {
        Ok(command) => command,
        Err(reason) => {
            eprintln!("lode-prove-cpu: {reason}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lode-prove-cpu: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: Vec<String>) -> Result<Command, String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--self-test"] => Ok(Command::SelfTest),
        ["--measure"] => Ok(Command::Measure),
        ["--version"] => Ok(Command::Version),
        ["--help" | "-h"] => Ok(Command::Help),
        ["--gpu", uuid] if !uuid.is_empty() => Ok(Command::Serve { gpu_uuid: (*uuid).to_owned() }),
        [] => match std::env::var("LODE_PROVER_GPU") {
            Ok(uuid) if !uuid.is_empty() => Ok(Command::Serve { gpu_uuid: uuid }),
            _ => Err("name the GPU with --gpu UUID or LODE_PROVER_GPU".to_owned()),
        },
        other => Err(format!("cannot understand `{}`", other.join(" "))),
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Serve { gpu_uuid } => {
            let mut prover = CpuProver::new(gpu_uuid);
            Ok(prover_server::serve(&mut prover, std::io::stdin().lock(), std::io::stdout().lock())?)
        }
        Command::SelfTest => prove_and_verify(Params::TINY),
        Command::Measure => {
            // the verifier's cost does not depend on the number of rows but for the path's length
            prove_and_verify(Params { rows: 64, walkers: 64, intervals: 2, ..Params::H200_141 })
        }
        Command::Version => {
            println!("lode-prove-cpu {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Command::Help => {
            println!("{USAGE}");
            Ok(())
        }
    }
}

/// A fixed session: the result is the same on every machine, only the times differ.
fn prove_and_verify(params: Params) -> Result<(), Box<dyn Error>> {
    let session = SessionInputs {
        epoch_beacon: Digest([1; 32]),
        validator_nonce: Digest([2; 32]),
        chain_id: 1,
        pool: Digest([3; 32]),
        node_address: [4; 20],
        node_public_key: [5; 33],
        gpu_uuid: "GPU-self-test".to_owned(),
    };
    let mut prover = CpuProver::new(session.gpu_uuid.clone());
    prover.prepare(&params)?;
    let clock = Instant::now();
    let commit = prover.start(&session, &mut |_| ())?;
    println!(
        "proved in {:?}: WALK root {}, GEMM root {}",
        clock.elapsed(),
        commit.walk_root,
        commit.gemm_root
    );

    let clock = Instant::now();
    let verifier = EpochVerifier::new(params, &session.epoch(), FreivaldsSecret::new([6; 32]))?;
    println!("epoch set up in {:?} (once per class and epoch)", clock.elapsed());

    let challenge = Challenge::derive(&params, &OpeningSecret::new([7; 32]), &commit, &Digest([8; 32]));
    let clock = Instant::now();
    let opening = prover.open(challenge.rows(), &challenge.walkers())?.to_bytes();
    println!(
        "opened in {:?}: {} bytes, at most {}",
        clock.elapsed(),
        opening.len(),
        Opening::max_bytes(&params)
    );

    let clock = Instant::now();
    verifier.verify_bytes(&session.seed(&params), &commit, &challenge, &opening)?;
    println!("verified in {:?}", clock.elapsed());
    Ok(())
}
