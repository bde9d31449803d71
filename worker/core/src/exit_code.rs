//! Exit codes in words: what shells, container tools and kernels mean by them.

/// What an exit code says.
pub(crate) fn explain(code: i64) -> String {
    let meaning = match code {
        125 => Some("a wrapper such as env or timeout failed before the command ran".to_owned()),
        126 => Some(
            "a command was found and could not be executed: no right to, or no program for this machine"
                .to_owned(),
        ),
        127 => Some(
            "a command, or a library that it needs, was not found: look at PATH and at the image".to_owned(),
        ),
        128 => Some("exit was called with something that is no exit code".to_owned()),
        255 => Some("the program returned -1, or an ssh within it failed".to_owned()),
        code if code < 0 => Some("the container engine does not know it".to_owned()),
        code => code.checked_sub(128).and_then(signal).map(|(name, why)| match why {
            "" => format!("ended by signal {name}"),
            why => format!("ended by signal {name}: {why}"),
        }),
    };
    match meaning {
        Some(meaning) => format!("exit code {code}: {meaning}"),
        None => format!("exit code {code}"),
    }
}

/// Name of a signal of Linux, and what it mostly means.
fn signal(number: i64) -> Option<(&'static str, &'static str)> {
    Some(match number {
        1 => ("SIGHUP", ""),
        2 => ("SIGINT", "interrupted"),
        3 => ("SIGQUIT", ""),
        4 => ("SIGILL", "an instruction that this CPU does not have"),
        5 => ("SIGTRAP", ""),
        6 => (
            "SIGABRT",
            "the program gave up by itself, most often at a failed assertion or an uncaught exception",
        ),
        7 => ("SIGBUS", "memory that could not be had, most often because /dev/shm is full"),
        8 => ("SIGFPE", "an arithmetic error, such as a division by zero"),
        9 => (
            "SIGKILL",
            "killed, and not for a memory limit of its own: by itself, by a program beside it, or by somebody on the host",
        ),
        10 => ("SIGUSR1", ""),
        11 => ("SIGSEGV", "the program used memory that it does not have"),
        12 => ("SIGUSR2", ""),
        13 => ("SIGPIPE", "it wrote to something that nobody reads any more"),
        14 => ("SIGALRM", "a timer of its own ran out"),
        15 => ("SIGTERM", "asked to end, and not by Lode"),
        16 => ("SIGSTKFLT", ""),
        24 => ("SIGXCPU", "more CPU time than its ulimit allows"),
        25 => ("SIGXFSZ", "a file larger than its ulimit allows"),
        26 => ("SIGVTALRM", ""),
        27 => ("SIGPROF", ""),
        29 => ("SIGIO", ""),
        30 => ("SIGPWR", ""),
        31 => ("SIGSYS", "a system call that tasks may not make"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_above_128_name_their_signal_and_ordinary_ones_stay_as_they_are() {
        for (code, words) in [
            (130, "SIGINT"),
            (132, "SIGILL"),
            (134, "SIGABRT"),
            (135, "/dev/shm"),
            (137, "SIGKILL"),
            (139, "SIGSEGV"),
            (141, "SIGPIPE"),
            (143, "SIGTERM"),
            (159, "SIGSYS"),
            (125, "wrapper"),
            (126, "could not be executed"),
            (127, "not found"),
            (255, "-1"),
            (-1, "does not know"),
        ] {
            let text = explain(code);
            assert!(text.starts_with(&format!("exit code {code}: ")) && text.contains(words), "{text}");
        }
        for plain in [1, 2, 42, 124, 200, 254, 256, i64::MAX] {
            assert_eq!(explain(plain), format!("exit code {plain}"));
        }
        assert!(explain(i64::MIN).contains("does not know"));
    }
}
