//! How a container came to its end: its exit and limits, whether somebody had the engine stop it, whether the host was out
//! of memory, and which life of the engine lived on.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::models::{ContainerInspectResponse, EventMessage, HostConfig};
use bollard::query_parameters::EventsOptionsBuilder;
use futures::TryStreamExt as _;
use lode_protocol::logs::EngineTime;
use lode_protocol::units::Bytes;

use super::call::{CALL, within};
use super::client::{DockerEngine, exit_of, has_exited};
use super::failure::{During, classify};
use crate::core::event::{ContainerId, Ending, EngineFailure, MemoryLimits};

/// A signal explains an end that comes this much later at most: what obeys it may tidy up first.
const SIGNAL_REACHES: u64 = 120_000_000_000;
/// Signals that end nothing by themselves: HUP, USR1, USR2, CHLD, CONT, URG, WINCH.
const HARMLESS: [&str; 7] = ["1", "10", "12", "17", "18", "23", "28"];

impl DockerEngine {
    pub(super) async fn ending(&self, container: &ContainerId) -> Result<Ending, EngineFailure> {
        let inspected = self.inspect(container).await.map_err(|error| classify(&error, During::Other))?;
        if !has_exited(&inspected) {
            return Err(EngineFailure::Other("it runs again: somebody on the host started it".to_owned()));
        }
        let files = self.memory_files.take(container);
        let host_out_of_memory = self.oom_kills.rose_before_the_end_of(container);
        let limits = inspected.host_config.as_ref().map(limits).unwrap_or_default();
        let stopped_by_hand = self.stopped_by_hand(container, &inspected).await?;
        // Last: only an engine that takes callers after all of this did not end it by stopping.
        let run = self.life().await?;
        Ok(Ending {
            exit: exit_of(&inspected),
            run,
            stopped_by_hand,
            host_out_of_memory,
            limits: MemoryLimits { files, ..limits },
        })
    }

    /// The signal that somebody had the engine send to this run of the container. The worker itself asks for none before it
    /// has noted that, and does not examine what it stopped.
    async fn stopped_by_hand(
        &self,
        container: &ContainerId,
        inspected: &ContainerInspectResponse,
    ) -> Result<Option<String>, EngineFailure> {
        let docker = self.docker().await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let filters = HashMap::from([("container", vec![container.0.as_str()]), ("event", vec!["kill"])]);
        let options = EventsOptionsBuilder::default()
            .since("0")
            .until(&format!("{}.{:09}", now.as_secs(), now.subsec_nanos()))
            .filters(&filters)
            .build();
        let events: Result<Vec<EventMessage>, _> =
            within(CALL, docker.events(Some(options)).try_collect()).await;
        match events {
            Ok(events) => Ok(signal(&events, inspected)),
            // Whether it lives at all is asked anyway; one that tells of no signals knows of none.
            Err(error) => {
                tracing::debug!(container = %container.0, %error, "the engine tells nothing of signals");
                Ok(None)
            }
        }
    }
}

fn signal(events: &[EventMessage], inspected: &ContainerInspectResponse) -> Option<String> {
    let state = inspected.state.as_ref()?;
    let time = |text: Option<&String>| Some(text?.parse::<EngineTime>().ok()?.0);
    let (started, finished) = (time(state.started_at.as_ref())?, time(state.finished_at.as_ref())?);
    let stop_signal = inspected.config.as_ref().and_then(|config| config.stop_signal.as_ref());
    let last = events.iter().rev().find(|event| {
        let at = event.time_nano.and_then(|at| u64::try_from(at).ok());
        at.is_some_and(|at| at >= started && at.saturating_add(SIGNAL_REACHES) >= finished)
    })?;
    let signal = last.actor.as_ref()?.attributes.as_ref()?.get("signal")?.clone();
    let may_end = stop_signal.is_some() || !HARMLESS.contains(&signal.as_str());
    may_end.then_some(signal)
}

fn limits(host: &HostConfig) -> MemoryLimits {
    let size =
        |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    let memory = size(host.memory);
    let tmp = host.tmpfs.as_ref().and_then(|mounts| mounts.get("/tmp"));
    // A tmpfs without a size of its own has room for half of the host's memory: the limit comes first.
    let tmp = tmp.map(|options| tmpfs_size(options).or(memory).unwrap_or(u64::MAX));
    MemoryLimits {
        memory: memory.map(Bytes),
        tmp: tmp.map(Bytes),
        shm: size(host.shm_size).map(Bytes),
        files: None,
    }
}

/// Bytes, from mount options like `rw,size=64m`.
fn tmpfs_size(options: &str) -> Option<u64> {
    let size = options.split(',').find_map(|option| option.trim().strip_prefix("size="))?;
    let digits = size.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match size.strip_prefix(digits)?.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerState, EventActor};

    use super::*;

    const SECOND: i64 = 1_000_000_000;
    /// 2026-01-31T12:00:00Z.
    const STARTED: i64 = 1_769_860_800 * SECOND;

    fn inspected(stop_signal: Option<&str>) -> ContainerInspectResponse {
        ContainerInspectResponse {
            state: Some(ContainerState {
                started_at: Some("2026-01-31T12:00:00Z".to_owned()),
                finished_at: Some("2026-01-31T13:00:00.5Z".to_owned()),
                ..Default::default()
            }),
            config: Some(ContainerConfig {
                stop_signal: stop_signal.map(str::to_owned),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn kill(signal: &str, seconds_after_start: i64) -> EventMessage {
        let attributes = HashMap::from([("signal".to_owned(), signal.to_owned())]);
        EventMessage {
            actor: Some(EventActor { id: None, attributes: Some(attributes) }),
            time_nano: Some(STARTED + seconds_after_start * SECOND),
            ..Default::default()
        }
    }

    #[test]
    fn a_signal_that_somebody_sent_explains_the_end_that_follows_it_and_no_other() {
        let end = 3_600;
        for signal_sent in ["15", "9", "2", "3"] {
            let found = signal(&[kill(signal_sent, end)], &inspected(None));
            assert_eq!(found.as_deref(), Some(signal_sent));
        }
        assert_eq!(signal(&[], &inspected(None)), None);
        assert_eq!(signal(&[kill("15", 60)], &inspected(None)), None, "an hour before");
        assert_eq!(signal(&[kill("15", -10)], &inspected(None)), None, "to the run before");
        assert_eq!(signal(&[kill("1", end)], &inspected(None)), None, "a reload");
        assert_eq!(signal(&[kill("28", end)], &inspected(Some("SIGWINCH"))).as_deref(), Some("28"));
    }

    #[test]
    fn limits_are_those_that_the_engine_holds_the_container_to() {
        let tmpfs = |options: &str| Some(HashMap::from([("/tmp".to_owned(), options.to_owned())]));
        let host = HostConfig {
            memory: Some(64 << 20),
            tmpfs: tmpfs("rw,exec,nosuid,nodev,size=8388608"),
            shm_size: Some(32 << 20),
            ..Default::default()
        };
        let expected = MemoryLimits {
            memory: Some(Bytes::mebi(64)),
            tmp: Some(Bytes::mebi(8)),
            shm: Some(Bytes::mebi(32)),
            files: None,
        };
        assert_eq!(limits(&host), expected);
        assert_eq!(limits(&HostConfig { memory: Some(0), ..Default::default() }), MemoryLimits::default());
        let boundless = HostConfig { memory: Some(64 << 20), tmpfs: tmpfs("rw"), ..Default::default() };
        assert_eq!(limits(&boundless).tmp, Some(Bytes::mebi(64)));
        assert_eq!(tmpfs_size("size=64m,rw"), Some(64 << 20));
        assert_eq!(tmpfs_size("rw,size=50%"), None);
    }
}
