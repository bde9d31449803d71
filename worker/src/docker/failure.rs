//! What Docker's errors mean. The engine gives text, not codes: the wordings here are those of 20.10 to 29.

use bollard::errors::Error;

use crate::core::event::EngineFailure;

/// Part of a task's life in which an error came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum During {
    Pull,
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
        other => EngineFailure::Unavailable(format!("the Docker engine does not answer: {other}")),
    }
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
const GPU: [&str; 6] = [
    "could not select device driver",
    "nvidia-container-cli",
    "nvidia-container-runtime",
    "unresolvable cdi devices",
    "error gathering device information",
    "unknown device",
];
const NO_IMAGE: [&str; 7] = [
    "manifest unknown",
    "manifest for",
    "not found",
    "does not exist",
    "pull access denied",
    "unauthorized",
    "invalid reference format",
];
const CANNOT_RUN: [&str; 6] = [
    "executable file not found",
    "no such file or directory",
    "exec format error",
    "permission denied",
    "no command specified",
    "is a directory",
];

fn classify_answer(status: u16, message: &str, during: During) -> EngineFailure {
    let text = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let detail = message.to_owned();
    if says(&DISK) {
        return EngineFailure::DiskFull(detail);
    }
    match during {
        During::Pull if status == 404 || says(&NO_IMAGE) => EngineFailure::ImageNotFound(detail),
        During::Pull => EngineFailure::PullFailed(detail),
        During::Create if text.contains("no such image") => EngineFailure::ImageNotFound(detail),
        During::Create | During::Start if says(&PORT) => EngineFailure::PortTaken(detail),
        During::Create | During::Start if says(&GPU) => EngineFailure::Gpu(detail),
        During::Create | During::Start if status == 400 || says(&CANNOT_RUN) => {
            EngineFailure::CannotStart(detail)
        }
        During::Create | During::Start | During::Other => EngineFailure::Other(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, message: &str, during: During) -> EngineFailure {
        let error = Error::DockerResponseServerError { status_code: status, message: message.to_owned() };
        classify(&error, during)
    }

    #[test]
    fn an_image_that_is_not_there_is_told_apart_from_a_registry_that_is_not() {
        let missing = "manifest for 127.0.0.1:5000/x:1 not found: manifest unknown: manifest unknown";
        assert!(matches!(answer(404, missing, During::Pull), EngineFailure::ImageNotFound(_)));
        let denied = "pull access denied for x, repository does not exist or may require 'docker login'";
        assert!(matches!(answer(404, denied, During::Pull), EngineFailure::ImageNotFound(_)));
        let down = "Get \"http://127.0.0.1:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused";
        assert!(matches!(answer(500, down, During::Pull), EngineFailure::PullFailed(_)));
        let full = "write /var/lib/docker/tmp/x: no space left on device";
        assert!(matches!(answer(500, full, During::Pull), EngineFailure::DiskFull(_)));
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
    fn a_silent_engine_is_unavailable_not_a_failed_task() {
        assert!(matches!(
            classify(&Error::RequestTimeoutError, During::Start),
            EngineFailure::Unavailable(_)
        ));
    }
}
