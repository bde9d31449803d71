//! `lode dev`: a whole pool on this machine, as processes beside each other: a chain, the directory, an orchestrator, a
//! validator and two workers.
//!
//! Owns the order in which they start, the waiting until each does its part, and the end. What is decided once (ports,
//! keys) is kept in the pool's folder. Nothing is global: pools run beside each other, twice in a row, and leave nothing
//! behind. Everything listens on loopback only.
//!
//! It is a program of its own, `lode-dev`, which `lode dev` becomes: the client that everybody installs links neither what
//! supervises processes nor what speaks to container engines and drivers. What it says to the pool it says as `lode`
//! would, through the client's library.

mod chain;
mod cleanup;
mod contexts;
pub mod control;
mod examples;
mod gpus;
mod nodes;
mod plan;
mod pool;
mod ports;
mod processes;
mod progress;
pub mod supervisor;
mod telling;
mod waiting;

use std::path::PathBuf;
use std::process::ExitCode;

use lode_cli::arguments::{Arguments, Command, DevAction, DevArguments, Global};
use lode_cli::context::Contexts;
use lode_cli::failure::Kind;
use lode_cli::output::{self, Format, Sheet};
use lode_cli::start;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::control::Request;
use crate::plan::Layout;
use crate::pool::DevPool;

/// Runs the `lode dev …` that this process was started with.
pub fn main() -> ExitCode {
    match start::arguments() {
        Ok(arguments) => start::run(arguments.global.output, run(arguments)),
        Err(done) => done,
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Command::Dev(mut dev) = arguments.command else {
        let message = "lode-dev runs the pools of `lode dev …`, and no other command";
        return Err(Kind::Usage.with_remedy(message, "run `lode`, which lies beside it"));
    };
    match dev.action.take() {
        Some(action) => start::until_interrupted(act(&arguments.global, action)).await,
        // It takes its signals itself: there is much to clean up.
        None => up(&dev).await,
    }
}

/// Runs a pool until the examples are done (`--once`) or until a signal comes.
async fn up(arguments: &DevArguments) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut pool = DevPool::open(arguments).await?;
    let outcome = tokio::select! {
        outcome = pool.run() => outcome,
        () = signals.next() => Err(Kind::Interrupted.because("interrupted before the pool was up")),
    };
    let outcome = match outcome {
        Ok(()) if !arguments.once => {
            tokio::select! {
                () = signals.next() => Ok(()),
                // Ends only if supervision itself ends, which is a defect worth a word.
                () = pool.watch() => Err(Kind::Failed.because("the pool's supervision ended")),
            }
        }
        other => other,
    };
    if let Err(error) = &outcome {
        pool.explain(error);
    }
    let cleaned = tokio::select! {
        cleaned = pool.end() => cleaned,
        // The children die with us; containers may stay.
        () = signals.next() => Err(Kind::Interrupted.because("interrupted again: containers may be left behind")),
    };
    outcome.and(cleaned)
}

/// Acts on a pool that runs.
async fn act(global: &Global, action: DevAction) -> anyhow::Result<()> {
    let (request, pool, done) = match action {
        DevAction::Stop { name, kill, pool } => {
            let done = format!("{name} is stopped; start it again with `lode dev start {name}`");
            (Request::Stop { name, kill }, pool, Some(done))
        }
        DevAction::Start { name, pool } => {
            let done = format!("{name} is started");
            (Request::Start { name }, pool, Some(done))
        }
        DevAction::Ps { pool } => (Request::List, pool, None),
        DevAction::Logs { name, tail, pool } => {
            let layout = Layout::of(&folder(global, pool.data_dir)?);
            if !processes::NAMES.contains(&name.as_str()) {
                let remedy = format!("there are {}", processes::NAMES.join(", "));
                return Err(Kind::NotFound.with_remedy(format!("there is no program {name:?}"), remedy));
            }
            for line in progress::tail(&layout.log(&name), tail) {
                output::line(&line)?;
            }
            return Ok(());
        }
    };
    let layout = Layout::of(&folder(global, pool.data_dir)?);
    let answer = control::ask(&layout.control_socket(), &request).await?;
    match (global.output, done) {
        (Format::Json, _) => output::json(&json!({ "processes": answer.processes })),
        (_, Some(done)) => output::line(&done),
        (_, None) => {
            let mut sheet = Sheet::new(["program", "does", "pid", "failures", "last end"]);
            for (name, status) in answer.processes {
                sheet.row([
                    name,
                    format!("{:?}", status.activity).to_lowercase(),
                    status.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                    status.failures.to_string(),
                    status.last_end.unwrap_or_else(|| "-".to_owned()),
                ]);
            }
            output::sheet(&sheet)
        }
    }
}

/// The folder that is named, or that of the context.
fn folder(global: &Global, named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named);
    }
    let contexts = Contexts::load(&Contexts::path()?)?;
    let (name, context) = contexts.choose(global.context.as_deref())?;
    context.dev.clone().ok_or_else(|| {
        let remedy = "name the folder with --data-dir, or its context with --context";
        Kind::Usage.with_remedy(format!("context {name:?} is not a dev pool"), remedy)
    })
}

/// What a person or a service manager sends to end us.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
