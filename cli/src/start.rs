//! From the words on the command line to the exit code: what `lode` and `lode-dev` have in common.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::failure::Kind;
use crate::output::{Format, ReaderGone};
use crate::platform;
use crate::report::report;

/// The words that this process was started with. Help and version are printed here, and so is what is wrong with them:
/// then there is an exit code.
pub fn arguments() -> Result<Arguments, ExitCode> {
    Arguments::try_parse().map_err(|error| {
        // What cannot be printed cannot be reported either.
        let _ = error.print();
        if error.use_stderr() { Kind::Usage.into() } else { ExitCode::SUCCESS }
    })
}

/// Runs to the end, and says why if it fails.
pub fn run(format: Format, work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    lode_address::ensure_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&anyhow::Error::from(error).context("cannot start the runtime"), format),
    };
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => report(&error, format),
    }
}

/// Gives up when a person or the system asks for it.
pub async fn until_interrupted(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut interruption = platform::Interruption::new()?;
    // A command that can say more of it has noticed at the same time, and is asked first.
    tokio::select! {
        biased;
        result = work => result,
        () = interruption.wait() => Err(Kind::Interrupted.because("interrupted")),
    }
}
