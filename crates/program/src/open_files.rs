//! How many files a program may open. A connection is an open file, and a program that runs out of them can neither ask
//! the chain nor write its store: so limits on connections must leave room for both.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::exit::{Exit, ExitError};

/// Kept for everything that is no incoming connection: chain, store, directories, container engine, output of tasks,
/// descriptors of the runtime.
pub const RESERVE: u64 = 512;

/// Raises this process' soft limit to its hard limit, and says what it got. What it starts inherits that.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "cannot raise the limit on open files to its maximum");
        }
    }
    match limit() {
        Some(limit) => tracing::info!(limit, reserve = RESERVE, "open files (RLIMIT_NOFILE)"),
        None => tracing::info!("open files (RLIMIT_NOFILE): as many as there are"),
    }
}

/// The limit now; none where there is none.
fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Whether these limits on connections, each with the name of its setting, can all be reached.
///
/// # Errors
/// They cannot.
pub fn require(settings: &[(&str, usize)]) -> Result<(), ExitError> {
    fits(limit(), settings)
}

fn fits(limit: Option<u64>, settings: &[(&str, usize)]) -> Result<(), ExitError> {
    let size = |connections: usize| u64::try_from(connections).unwrap_or(u64::MAX);
    let wanted =
        settings.iter().fold(RESERVE, |sum, (_, connections)| sum.saturating_add(size(*connections)));
    let Some(limit) = limit.filter(|limit| *limit < wanted) else { return Ok(()) };
    let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let code = "program/too-few-files";
    Err(ExitError::new(
        Exit::BadConfig,
        format!(
            "this process may open {limit} files, and its settings need {wanted}: {} connections, and {RESERVE} files for \
             everything else. Raise the hard limit to {wanted} or more (systemd: LimitNOFILE={wanted}; Docker: --ulimit \
             nofile={wanted}; a shell: ulimit -Hn), or lower these settings ({code})",
            settings.join(", ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [(&str, usize); 2] =
        [("wire.max_connections", 10_000), ("limits.http.max_connections", 4_096)];

    #[test]
    fn connections_that_cannot_be_opened_are_refused_with_both_numbers_and_the_settings() {
        let error = fits(Some(1_024), &SETTINGS).expect_err("too few");
        assert_eq!(Exit::of(&anyhow::Error::new(error)), Exit::BadConfig);
        let text = fits(Some(14_607), &SETTINGS).expect_err("one too few").to_string();
        for part in ["14607", "14608", "wire.max_connections = 10000", "LimitNOFILE", "program/too-few-files"]
        {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    #[test]
    fn what_fits_is_accepted_with_the_reserve_and_so_is_no_limit() {
        assert!(fits(Some(14_608), &SETTINGS).is_ok());
        assert!(fits(None, &SETTINGS).is_ok());
        assert!(fits(Some(RESERVE), &[]).is_ok());
        assert!(fits(Some(u64::MAX - 1), &[("x", usize::MAX)]).is_err());
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise();
        let limits = getrlimit(Resource::Nofile);
        assert_eq!(limits.current, limits.maximum);
    }
}
