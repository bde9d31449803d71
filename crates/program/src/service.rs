//! The whole `main` of a program that takes a configuration file and nothing else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args as _, FromArgMatches as _};

use crate::run::{Program, run_program};
use crate::telemetry::{self, LogArgs, Telemetry};
use crate::{core_dumps, open_files};

/// What a program says about itself.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Its name, as it is called and as it signs its logs.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    /// Beginning of the environment variables that override its file, like `LODE_DISCOVERY`.
    pub variables: &'static str,
}

#[derive(Debug, clap::Args)]
struct Arguments {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// Arguments → configuration → logs → the program itself.
pub fn run_service<C, E, M, F>(service: Service, load: fn(Option<&Path>) -> Result<C, E>, main: M) -> ExitCode
where
    E: Into<anyhow::Error>,
    M: FnOnce(Program, C, Telemetry) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let arguments = match Arguments::from_arg_matches(&command(&service).get_matches()) {
        Ok(arguments) => arguments,
        // Only where matches and arguments come from different definitions.
        Err(error) => error.exit(),
    };
    run_program(service.name, |program| async move {
        let (config, telemetry) = begin(&program, &arguments.log, || load(arguments.config.as_deref()))?;
        main(program, config, telemetry).await
    })
}

fn command(service: &Service) -> clap::Command {
    let overrides =
        format!("Configuration file (TOML). Environment variables {}__… override it", service.variables);
    let command = Arguments::augment_args(clap::Command::new(service.name).version(service.version));
    // After the arguments: flags that are flattened bring what is said of them as what the program is.
    command.about(service.about).long_about(None).mut_arg("config", |config| config.help(overrides))
}

/// The head of every start: the configuration, then the logs, then as many open files as there may be and no core dump.
/// What is wrong with the first is said in plain words.
///
/// # Errors
/// What is wrong with either.
pub fn begin<C, E: Into<anyhow::Error>>(
    program: &Program,
    log: &LogArgs,
    load: impl FnOnce() -> Result<C, E>,
) -> anyhow::Result<(C, Telemetry)> {
    let config = load().map_err(Into::into)?;
    let telemetry = telemetry::init(program.name, log)?;
    open_files::raise();
    core_dumps::forbid();
    Ok((config, telemetry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_begins_with_what_the_program_is() {
        let (name, about) = ("lode-thing", "Does a thing");
        let service = Service { name, version: "1", about, variables: "LODE_THING" };
        for help in [command(&service).render_help(), command(&service).render_long_help()] {
            assert!(help.to_string().starts_with("Does a thing\n"), "{help}");
        }
    }
}
