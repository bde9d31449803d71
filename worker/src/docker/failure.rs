//! What Docker's errors mean. The engine gives text, not codes: the wordings here are those of 20.10 to 29.

use bollard::errors::Error;

use super::{transport, words};
use crate::core::event::EngineFailure;

/// Part of a task's life in which an error came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum During {
    Create,
    Start,
    Other,
}

/// Classifies an error of the engine.
pub(super) fn classify(error: &Error, during: During) -> EngineFailure {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            classify_answer(*status_code, message, during)
        }
        Error::DockerStreamError { error } => classify_answer(500, error, during),
        silent if is_silence(silent) => {
            EngineFailure::Unavailable(format!("the Docker engine does not answer: {silent}"))
        }
        // It has answered, only not so that it could be understood: that concerns this call and nobody else.
        odd => {
            words::keep("an answer of the engine could not be understood", &odd.to_string());
            EngineFailure::Other(
                "the node's container engine gave an answer that could not be read".to_owned(),
            )
        }
    }
}

/// Whether an error means that nobody answers. Other errors come of one request, or of its answer.
fn is_silence(error: &Error) -> bool {
    let is_transport = matches!(
        error,
        Error::RequestTimeoutError
            | Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::SocketNotFoundError(_)
    );
    is_transport && !transport::is_too_large(error)
}

/// Whether the engine says that there is no such thing.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine says that it is so already.
pub(super) fn is_unchanged(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 304 | 409, .. })
}

/// Whether the engine could not find the network that a container is to be created in.
pub(super) fn misses_network(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { message, .. } => {
            let text = message.to_ascii_lowercase();
            text.contains("network") && (text.contains("not found") || text.contains("unable to find"))
        }
        _ => false,
    }
}

const PORT: [&str; 3] = ["port is already allocated", "address already in use", "ports are not available"];
const DISK: [&str; 2] = ["no space left on device", "disk quota exceeded"];
const GPU: [&str; 8] = [
    "could not select device driver",
    "nvidia-container-cli",
    "nvidia-container-runtime",
    "nvidia-ctk",
    "unresolvable cdi devices",
    "error gathering device information",
    "unknown device",
    // Only a CDI file binds paths of the host.
    "bind source path does not exist",
];
/// The program that runs containers is missing or broken: runc and its like leave no word of their own then.
const RUNTIME: [&str; 7] = [
    "unknown runtime specified",
    "unknown or invalid runtime name",
    "invalid runtime name",
    "unable to retrieve oci runtime error",
    "failed to start shim",
    "binary not installed",
    "unable to find runtime",
];
const RUNTIME_MISSING: &str = "the node's container engine cannot run containers: its owner looks at docker.runtime, whether that runtime is installed, and at the log of the node's worker";
/// What only the host can be short of, or have set up wrongly: whatever else such an answer says, it is not about the
/// task.
const HOST: [&str; 14] = [
    "containerd.sock",
    "ttrpc: closed",
    "transport is closing",
    "context canceled",
    "context deadline exceeded",
    "cannot allocate memory",
    "resource temporarily unavailable",
    "too many open files",
    "error creating overlay mount",
    "layer does not exist",
    "apparmor",
    "keycreate",
    "seccomp",
    "input/output error",
];
/// What is wrong with a task or its image, and what to do about it. The first that an answer holds counts.
const CANNOT_RUN: [(&str, &str); 23] = [
    ("unable to find user", USER),
    ("unable to find group", USER),
    ("no matching entries in passwd", USER),
    ("no matching entries in group", USER),
    ("uids and gids must be in range", USER),
    ("linux spec user", USER),
    ("working directory", WORKDIR),
    ("cannot mkdir", WORKDIR),
    ("chdir to cwd", WORKDIR),
    ("cwd must be an absolute path", WORKDIR),
    ("container init was oom-killed", MEMORY),
    ("unable to set memory limit", MEMORY),
    ("exec format error", "the program is made for another kind of processor, or a script without `#!`"),
    ("executable file not found", COMMAND),
    ("no command specified", "neither the task nor its image names a command: set `command`"),
    ("argument list too long", "`args` and `env` together are longer than the kernel takes"),
    ("not a directory", "a path that the container needs is a file in the image"),
    ("no such file or directory", COMMAND),
    (
        "permission denied",
        "the command, or a directory on the way to it, may not be used by the image's USER",
    ),
    ("is a directory", COMMAND),
    ("mount path must be absolute", "a VOLUME of the image is no absolute path"),
    ("invalid environment variable", "a variable of the image or task has no proper name"),
    ("invalid hostname", "the container cannot be named like this"),
];
const USER: &str = "the image's USER names a user or group that the image does not have: use a number, or add it to /etc/passwd and /etc/group of the image";
const WORKDIR: &str = "the image's WORKDIR cannot be entered: it must be an absolute path to a directory that the image's USER may use";
const MEMORY: &str = "`resources.memory` is too little to start the container in";
const COMMAND: &str = "the image has no such command, or the interpreter or library that it needs is missing";

fn classify_answer(status: u16, message: &str, during: During) -> EngineFailure {
    let text = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    words::keep("the engine refused a call", message);
    let detail = words::told(message);
    if says(&DISK) {
        return EngineFailure::DiskFull(detail);
    }
    match during {
        // It was pulled a moment ago.
        During::Create if text.contains("no such image") => EngineFailure::ImageRemoved(detail),
        During::Create | During::Start if says(&PORT) => EngineFailure::PortTaken(detail),
        During::Create | During::Start if says(&GPU) => EngineFailure::Gpu(detail),
        During::Create | During::Start if says(&RUNTIME) => {
            EngineFailure::Runtime(RUNTIME_MISSING.to_owned())
        }
        During::Create | During::Start if says(&HOST) || is_about_control_groups(&text) => {
            EngineFailure::Other(detail)
        }
        During::Create | During::Start => match cannot_run(&text) {
            Some(why) => EngineFailure::CannotStart(why.to_owned()),
            // An engine answers 400 to what it was asked for, not to how it fares itself.
            None if status == 400 => EngineFailure::CannotStart(detail),
            None => EngineFailure::Other(detail),
        },
        During::Other => EngineFailure::Other(detail),
    }
}

/// Files of the host's control groups are no files of the image.
fn is_about_control_groups(text: &str) -> bool {
    text.contains("cgroup") && !text.contains("unable to set memory limit")
}

/// What is wrong with the task, in words.
fn cannot_run(text: &str) -> Option<&'static str> {
    CANNOT_RUN.iter().find(|(words, _)| text.contains(words)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, message: &str, during: During) -> EngineFailure {
        let error = Error::DockerResponseServerError { status_code: status, message: message.to_owned() };
        classify(&error, during)
    }

    #[test]
    fn start_errors_name_their_cause() {
        let port = "driver failed programming external connectivity on endpoint x: Bind for 0.0.0.0:80 failed: port is already allocated";
        assert!(matches!(answer(500, port, During::Start), EngineFailure::PortTaken(_)));
        let gpu = "could not select device driver \"nvidia\" with capabilities: [[gpu]]";
        assert!(matches!(answer(500, gpu, During::Start), EngineFailure::Gpu(_)));
        let command =
            "OCI runtime create failed: exec: \"/nope\": stat /nope: no such file or directory: unknown";
        assert!(matches!(answer(400, command, During::Start), EngineFailure::CannotStart(_)));
    }

    #[test]
    fn what_is_wrong_with_a_task_is_its_own_fault_and_named_whatever_the_status() {
        for (status, message, names) in [
            (500, "unable to find user appuser: no matching entries in passwd file", "USER"),
            (400, "linux spec user: unable to find user appuser: no matching entries in passwd file", "USER"),
            (500, "unable to find group nogrp: no matching entries in group file", "USER"),
            (500, "uids and gids must be in range 0-2147483647", "USER"),
            (500, "Cannot mkdir: /etc/passwd is not a directory", "WORKDIR"),
            (
                500,
                "OCI runtime create failed: container_linux.go:380: starting container process caused: chdir to cwd (\"/root/x\") set in config.json failed: permission denied: unknown",
                "WORKDIR",
            ),
            (400, "the working directory 'app' is invalid, it needs to be an absolute path", "WORKDIR"),
            (
                500,
                "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"nope\": executable file not found in $PATH: unknown",
                "no such command",
            ),
            (
                400,
                "failed to create shim: OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"/app\": permission denied: unknown",
                "may not be used",
            ),
            (
                500,
                "OCI runtime create failed: runc create failed: unable to start container process: container init was OOM-killed (memory limit too low?): unknown",
                "resources.memory",
            ),
            (400, "No command specified", "`command`"),
            (500, "OCI runtime create failed: exec /x: argument list too long: unknown", "args"),
            (
                500,
                "invalid mount config for type \"volume\": invalid mount path: 'data' mount path must be absolute",
                "VOLUME",
            ),
        ] {
            let failure = answer(status, message, During::Start);
            let EngineFailure::CannotStart(detail) = &failure else { panic!("{message}: {failure:?}") };
            assert!(detail.contains(names) && !detail.contains(message), "{detail}");
        }
    }

    #[test]
    fn what_the_host_lacks_is_not_taken_for_the_task_s_fault() {
        for message in [
            "Unknown runtime specified nvidia",
            "unknown or invalid runtime name: runsc",
            "OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/io.containerd.runtime.v2.task/moby/x/log.json: no such file or directory): fork/exec /usr/bin/runc: no such file or directory: unknown",
            "failed to create shim: OCI runtime create failed: unable to retrieve OCI runtime error (open /x/log.json: no such file or directory): exec: \"runc\": executable file not found in $PATH: unknown",
            "failed to start shim: exec: \"containerd-shim-runc-v2\": executable file not found in $PATH: unknown",
            "runtime \"io.containerd.runc.v2\" binary not installed \"containerd-shim-runc-v2\": file does not exist: unknown",
        ] {
            for status in [400, 404, 500] {
                let failure = answer(status, message, During::Start);
                assert!(matches!(failure, EngineFailure::Runtime(_)), "{message}: {failure:?}");
            }
        }
        let nvidia = "OCI runtime create failed: unable to retrieve OCI runtime error (open log.json: no such file or directory): exec: \"nvidia-container-runtime\": executable file not found in $PATH: unknown";
        assert!(matches!(answer(500, nvidia, During::Start), EngineFailure::Gpu(_)));
        for message in [
            "connection error: desc = \"transport: error while dialing: dial unix /run/containerd/containerd.sock: connect: no such file or directory\"",
            "dial unix /run/containerd/containerd.sock: connect: permission denied",
            "error creating overlay mount to /var/lib/docker/overlay2/x/merged: no such file or directory",
            "OCI runtime create failed: mkdir /sys/fs/cgroup/memory/docker/x: no such file or directory: unknown",
            "fork/exec /usr/bin/containerd-shim: cannot allocate memory",
            "apparmor failed to apply profile: write /proc/self/attr/exec: no such file or directory",
        ] {
            // An engine answers 400 wherever the words happen to hold those of the command.
            for status in [400, 500] {
                let failure = answer(status, message, During::Start);
                assert!(matches!(failure, EngineFailure::Other(_)), "{message}: {failure:?}");
            }
        }
        let pruned = answer(404, "No such image: x@sha256:00", During::Create);
        assert!(matches!(pruned, EngineFailure::ImageRemoved(_)), "{pruned:?}");
    }

    #[test]
    fn an_engine_that_looks_for_the_network_before_it_is_there_is_understood() {
        let missing = |message: &str| {
            misses_network(&Error::DockerResponseServerError {
                status_code: 404,
                message: message.to_owned(),
            })
        };
        assert!(missing("network lode-ab-1 not found"));
        assert!(missing("unable to find network with name or ID lode-ab-1: network not found"));
        assert!(!missing("No such image: x:1"));
        assert!(!misses_network(&Error::RequestTimeoutError));
    }

    #[test]
    fn an_answer_that_cannot_be_understood_is_one_call_s_trouble_and_not_the_engine_s_silence() {
        let json = serde_json::from_str::<u8>("{").unwrap_err();
        let odd = [
            Error::JsonSerdeError { err: json },
            Error::JsonDataError { message: "x".to_owned(), column: 1 },
            Error::DockerResponseServerError { status_code: 400, message: "CANARY".to_owned() },
            Error::APIVersionParseError {},
        ];
        for error in odd {
            let failure = classify(&error, During::Other);
            assert!(matches!(failure, EngineFailure::Other(_)), "{failure:?}");
            assert!(!failure.detail().contains("CANARY"), "{failure:?}");
        }
        let full = Error::IOError { err: std::io::Error::from(std::io::ErrorKind::ConnectionReset) };
        assert!(matches!(classify(&full, During::Other), EngineFailure::Unavailable(_)));
    }

    #[test]
    fn a_silent_engine_is_unavailable_not_a_failed_task() {
        assert!(matches!(
            classify(&Error::RequestTimeoutError, During::Start),
            EngineFailure::Unavailable(_)
        ));
    }
}
