//! `lode dev …` is a program of its own, `lode-dev`, beside this one: it links container engines, drivers and the
//! supervision of processes, which nobody needs who only speaks to a pool.
//!
//! Only beside: a program of that name anywhere on the `PATH` is not run. It gets the words that we got.

use std::io::ErrorKind;

use crate::failure::Kind;
use crate::platform::become_program;

const NAME: &str = "lode-dev";

/// Becomes `lode-dev`; comes back with the reason if that cannot be.
pub(crate) fn become_dev() -> anyhow::Error {
    // A link to `lode` leads to where its companions lie.
    let own = match std::env::current_exe().and_then(|own| own.canonicalize()) {
        Ok(own) => own,
        Err(error) => return anyhow::Error::from(error).context("it is not known where `lode` lies"),
    };
    let program = own.with_file_name(format!("{NAME}{}", std::env::consts::EXE_SUFFIX));
    let error = become_program(&program, std::env::args_os().skip(1));
    let kind = if error.kind() == ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
    let message = format!("`lode dev` is the program {}, which cannot be run: {error}", program.display());
    let remedy = "install lode-dev and the programs that it starts beside lode; in a checkout, run scripts/up, which \
                  builds them all";
    kind.with_remedy(message, remedy)
}
