//! Asking before something is done that cannot be undone.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::failure::Kind;

/// Whether there is somebody who can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Goes on only when told to: by `--yes`, or by a person at the terminal.
pub(crate) fn confirm(what: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !can_ask() {
        let message = format!("this would {what}, and there is nobody at the terminal to ask");
        let remedy = "add --yes if that is meant; where there is --dry-run, it shows what would happen";
        return Err(Kind::Usage.with_remedy(message, remedy));
    }
    let mut err = io::stderr().lock();
    write!(err, "This will {what}. Go on? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if is_yes(&answer) { Ok(()) } else { Err(Kind::Usage.because("nothing was done")) }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        assert!(is_yes("y\n") && is_yes(" YES "));
        assert!(!is_yes("") && !is_yes("n") && !is_yes("yep"));
    }
}
