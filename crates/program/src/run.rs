//! The frame of every `main`: runtime, signals, exit code.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     lode_program::run_program("lode-worker", |program| async move {
//!         // args → config → telemetry → bind → spawn through program.tasks → ready
//!         program.finish(std::time::Duration::from_secs(30)).await
//!     })
//! }
//! ```

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::exit::Exit;
use crate::shutdown::{Cause, Shutdown};
use crate::tasks::TaskGroup;

/// How long threads that block may hold up the very end of the process.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

/// What a program's async main is given.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name, as in its logs.
    pub name: &'static str,
    /// Raised by the first SIGTERM, SIGINT or SIGHUP, or by the end of a critical task.
    pub shutdown: Shutdown,
    /// Its background tasks.
    pub tasks: TaskGroup,
    /// Its clock.
    pub clock: Clock,
}

impl Program {
    /// The last line of an async main: waits for shutdown, then for the tasks, for at most `grace`.
    pub async fn finish(self, grace: Duration) -> anyhow::Result<()> {
        Ok(self.tasks.finish(grace).await?)
    }
}

/// Makes ring the TLS provider of this process. `run_program` does; tests that use TLS call it themselves.
pub fn install_crypto_provider() {
    // An error says that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Runs a daemon. The first signal requests shutdown, the second ends the process at once (130).
pub fn run_program<M, F>(name: &'static str, main: M) -> ExitCode
where
    M: FnOnce(Program) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    run_program_with_threads(name, None, main)
}

/// As [`run_program`], with a number of runtime threads; none means one per core.
pub fn run_program_with_threads<M, F>(name: &'static str, threads: Option<usize>, main: M) -> ExitCode
where
    M: FnOnce(Program) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let shutdown = Shutdown::new();
    let program = Program {
        name,
        shutdown: shutdown.clone(),
        tasks: TaskGroup::new(shutdown.clone()),
        clock: Clock::system(),
    };
    enter(name, threads, async move {
        let mut signals = Signals::new()?;
        let stopping = async move {
            shutdown.request(Cause::Signal(signals.next().await));
            let second = signals.next().await;
            tracing::warn!(signal = second, "second signal: ending at once");
        };
        tokio::select! {
            result = main(program) => result.map(|()| Exit::Clean),
            () = stopping => Ok(Exit::Interrupted),
        }
    })
}

/// Runs a command of a person: the first signal drops it and ends the process (130).
pub fn run_command<M, F>(name: &'static str, main: M) -> ExitCode
where
    M: FnOnce() -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    enter(name, None, async move {
        let mut signals = Signals::new()?;
        tokio::select! {
            result = main() => result.map(|()| Exit::Clean),
            _ = signals.next() => Ok(Exit::Interrupted),
        }
    })
}

fn enter(
    name: &'static str,
    threads: Option<usize>,
    main: impl Future<Output = anyhow::Result<Exit>>,
) -> ExitCode {
    install_crypto_provider();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.max(1));
    }
    let runtime = match builder.enable_all().thread_name(name).build() {
        Ok(runtime) => runtime,
        Err(error) => return report(name, &anyhow::Error::from(error).context("cannot start the runtime")),
    };
    let result = runtime.block_on(main);
    runtime.shutdown_timeout(BLOCKING_GRACE);
    match result {
        Ok(exit) => exit.into(),
        Err(error) => report(name, &error),
    }
}

/// Says why the program ends: in the log where there is one, else in plain words.
fn report(name: &str, error: &anyhow::Error) -> ExitCode {
    let exit = Exit::of(error);
    if tracing::dispatcher::has_been_set() {
        tracing::error!(exit_code = exit.code(), "{error:#}");
    } else {
        eprintln!("{name}: {error:#}");
    }
    exit.into()
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
