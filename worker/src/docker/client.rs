//! The engine calls, each with a deadline.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions};
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lode_protocol::envelope::Realm;
use lode_protocol::ids::AssignmentId;
use lode_protocol::task::PullPolicy;
use lode_protocol::units::Millis;
use tokio::sync::OnceCell;

use super::call::{CALL, within};
use super::failure::{During, classify, is_missing, is_unchanged};
use super::image;
use super::labels::Ownership;
use super::logs::OutputReader;
use super::plan::{GpuAccess, Hardening};
use crate::core::effect::ContainerPlan;
use crate::core::event::{ContainerId, EngineFailure, Exit, Observed, ObservedState};
use crate::engine::{Captured, Engine, Marks};

/// Time a ping may take.
const PING: Duration = Duration::from_secs(10);
/// Time between two looks at the exit code of a command.
const EXIT_CODE_POLL: Duration = Duration::from_millis(20);
/// Time a pull may go without any progress.
const PULL_SILENCE: Duration = Duration::from_secs(300);

/// How to reach the engine and what containers are like.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Its socket.
    pub socket: PathBuf,
    /// Whose containers.
    pub ownership: Ownership,
    /// In which pool.
    pub realm: Realm,
    /// Limits for every task.
    pub hardening: Hardening,
    /// How GPUs are passed through.
    pub access: GpuAccess,
}

/// A Docker engine behind a unix socket. Connects at the first call; after a restart of the engine the next call works.
#[derive(Debug)]
pub struct DockerEngine {
    pub(super) config: EngineConfig,
    client: OnceCell<Docker>,
}

impl DockerEngine {
    /// Touches nothing yet.
    pub fn new(config: EngineConfig) -> Self {
        Self { config, client: OnceCell::new() }
    }

    /// As it was made.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// The client, once the engine's API version is known (bollard would otherwise send none).
    pub(super) async fn docker(&self) -> Result<&Docker, EngineFailure> {
        let connect = async {
            let path = self.config.socket.to_string_lossy();
            let docker = Docker::connect_with_unix(&path, CALL.as_secs(), API_DEFAULT_VERSION)?;
            within(PING, docker.negotiate_version()).await
        };
        self.client.get_or_try_init(|| connect).await.map_err(|error| classify(&error, During::Other))
    }

    async fn inspect(&self, container: &ContainerId) -> Result<ContainerInspectResponse, Error> {
        let docker = self.docker_or_timeout().await?;
        within(CALL, docker.inspect_container(&container.0, None::<InspectContainerOptions>)).await
    }

    pub(super) async fn docker_or_timeout(&self) -> Result<&Docker, Error> {
        self.docker().await.map_err(|_| Error::RequestTimeoutError)
    }

    async fn find_image(&self, reference: &str) -> Result<Option<String>, EngineFailure> {
        let docker = self.docker().await?;
        match within(CALL, docker.inspect_image(reference)).await {
            Ok(found) => {
                let digest = image::repository_digest(reference, &found.repo_digests.unwrap_or_default());
                Ok(digest.or(found.id))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(classify(&error, During::Other)),
        }
    }

    async fn fetch(&self, reference: &str) -> Result<(), EngineFailure> {
        // The engine answers nothing at all before the registry has: its silence is the registry's.
        let docker = self.docker().await?.clone().with_timeout(PULL_SILENCE);
        let (name, tag) = image::split(reference);
        let options = CreateImageOptionsBuilder::default().from_image(&name).tag(&tag).build();
        let mut progress = Box::pin(docker.create_image(Some(options), None, None));
        loop {
            match tokio::time::timeout(PULL_SILENCE, progress.next()).await {
                Err(_) => return Err(EngineFailure::PullFailed(format!("no progress for {PULL_SILENCE:?}"))),
                Ok(None) => return Ok(()),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(Error::RequestTimeoutError))) => {
                    return Err(EngineFailure::PullFailed(format!(
                        "the registry gave no answer for {PULL_SILENCE:?}"
                    )));
                }
                Ok(Some(Err(error))) => return Err(classify(&error, During::Pull)),
            }
        }
    }

    async fn containers(
        &self,
        filter: &HashMap<String, Vec<String>>,
    ) -> Result<Vec<ContainerSummary>, EngineFailure> {
        let docker = self.docker().await?;
        let options = ListContainersOptionsBuilder::default().all(true).filters(filter).build();
        within(CALL, docker.list_containers(Some(options)))
            .await
            .map_err(|error| classify(&error, During::Other))
    }

    async fn observe(&self, summary: ContainerSummary) -> Result<Option<Observed>, EngineFailure> {
        let Some(id) = summary.id else { return Ok(None) };
        let container = ContainerId(id);
        let assignment = Ownership::assignment(&summary.labels.unwrap_or_default());
        match self.inspect(&container).await {
            Ok(inspected) => Ok(Some(Observed { container, assignment, state: observed_state(&inspected) })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(classify(&error, During::Other)),
        }
    }
}

fn observed_state(inspected: &ContainerInspectResponse) -> ObservedState {
    let Some(state) = &inspected.state else { return ObservedState::Created };
    match state.status {
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => {
            ObservedState::Exited(exit_of(inspected))
        }
        Some(ContainerStateStatusEnum::CREATED) => ObservedState::Created,
        _ if state.running == Some(true) => ObservedState::Running,
        _ => ObservedState::Created,
    }
}

fn exit_of(inspected: &ContainerInspectResponse) -> Exit {
    let state = inspected.state.as_ref();
    Exit {
        code: state.and_then(|state| state.exit_code).unwrap_or(-1),
        out_of_memory: state.and_then(|state| state.oom_killed).unwrap_or(false),
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn ping(&self) -> Result<String, EngineFailure> {
        let docker = self.docker().await?;
        let version =
            within(PING, docker.version()).await.map_err(|error| classify(&error, During::Other))?;
        Ok(version.version.unwrap_or_default())
    }

    async fn list(&self) -> Result<Vec<Observed>, EngineFailure> {
        let summaries = self.containers(&self.config.ownership.filter()).await?;
        let mut observed = Vec::with_capacity(summaries.len());
        for summary in summaries {
            observed.extend(self.observe(summary).await?);
        }
        Ok(observed)
    }

    async fn pull(&self, reference: &str, policy: PullPolicy) -> Result<String, EngineFailure> {
        let missing = |why: &str| EngineFailure::ImageNotFound(format!("{reference}: {why}"));
        match policy {
            PullPolicy::Never => {
                let found = self.find_image(reference).await?;
                found.ok_or_else(|| {
                    missing("the node does not have this image, and the task says pull = \"never\"")
                })
            }
            PullPolicy::Missing => match self.find_image(reference).await? {
                Some(found) => Ok(found),
                None => {
                    self.fetch(reference).await?;
                    self.find_image(reference).await?.ok_or_else(|| missing("not there after the pull"))
                }
            },
            PullPolicy::Always => {
                self.fetch(reference).await?;
                self.find_image(reference).await?.ok_or_else(|| missing("not there after the pull"))
            }
        }
    }

    async fn create(&self, plan: &ContainerPlan) -> Result<ContainerId, EngineFailure> {
        self.create_with_network(plan).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineFailure> {
        let docker = self.docker().await?;
        match within(CALL, docker.start_container(&container.0, None::<StartContainerOptions>)).await {
            // 304: it runs already.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
            Err(error) => Err(classify(&error, During::Start)),
        }
    }

    async fn wait(&self, container: &ContainerId) -> Result<Exit, EngineFailure> {
        let docker = self.docker().await?;
        let mut ends = Box::pin(docker.wait_container(&container.0, None::<WaitContainerOptions>));
        let ended = match ends.next().await {
            // A code other than 0 comes as an error; the inspection below tells it again, with the reason.
            None | Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => self.inspect(container).await,
            Some(Err(error)) => Err(error),
        };
        match ended {
            Ok(inspected) if matches!(observed_state(&inspected), ObservedState::Exited(_)) => {
                Ok(exit_of(&inspected))
            }
            Ok(_) => Err(EngineFailure::Unavailable(
                "the engine ended a wait although the container runs".to_owned(),
            )),
            Err(error) => Err(classify(&error, During::Other)),
        }
    }

    async fn stop(&self, container: &ContainerId, grace: Millis) -> Result<(), EngineFailure> {
        let docker = self.docker().await?;
        let seconds = i32::try_from(grace.0.div_ceil(1_000)).unwrap_or(i32::MAX);
        let deadline = grace.to_duration() + CALL;
        let patient = docker.clone().with_timeout(deadline);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        match within(deadline, patient.stop_container(&container.0, Some(options))).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) || is_unchanged(&error) => Ok(()),
            Err(error) => Err(classify(&error, During::Other)),
        }
    }

    async fn remove(&self, id: &AssignmentId) -> Result<(), EngineFailure> {
        let filter = self.config.ownership.filter_of(id);
        for summary in self.containers(&filter).await? {
            if let Some(container) = summary.id {
                self.remove_container(&ContainerId(container)).await?;
            }
        }
        let docker = self.docker().await?;
        let options = ListNetworksOptionsBuilder::default().filters(&filter).build();
        let networks = within(CALL, docker.list_networks(Some(options)));
        for network in networks.await.map_err(|error| classify(&error, During::Other))? {
            let Some(network) = network.id else { continue };
            match within(CALL, docker.remove_network(&network)).await {
                Ok(()) => {}
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(classify(&error, During::Other)),
            }
        }
        Ok(())
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineFailure> {
        let docker = self.docker().await?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match within(CALL, docker.remove_container(&container.0, Some(options))).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) || is_unchanged(&error) => Ok(()),
            Err(error) => Err(classify(&error, During::Other)),
        }
    }

    async fn execute(&self, container: &ContainerId, command: &[String]) -> Result<i64, EngineFailure> {
        let docker = self.docker().await?;
        let run = async {
            let options = CreateExecOptions { cmd: Some(command.to_vec()), ..Default::default() };
            let created = docker.create_exec(&container.0, options).await?;
            let start = StartExecOptions { detach: false, ..Default::default() };
            if let bollard::exec::StartExecResults::Attached { output, .. } =
                docker.start_exec(&created.id, Some(start)).await?
            {
                output.try_for_each(|_| std::future::ready(Ok(()))).await?;
            }
            // The output may end a moment before the engine has noted the exit code, and nothing tells when it has.
            loop {
                let inspected = docker.inspect_exec(&created.id).await?;
                match inspected.exit_code {
                    Some(code) if inspected.running != Some(true) => return Ok(code),
                    _ => tokio::time::sleep(EXIT_CODE_POLL).await,
                }
            }
        };
        within(CALL, run).await.map_err(|error| classify(&error, During::Other))
    }

    fn output(
        &self,
        container: &ContainerId,
        marks: Marks,
    ) -> BoxStream<'static, Result<Captured, EngineFailure>> {
        let Some(docker) = self.client.get().cloned() else {
            let failure = EngineFailure::Unavailable("the Docker engine has not answered yet".to_owned());
            return futures::stream::once(async { Err(failure) }).boxed();
        };
        OutputReader::new(docker, container.0.clone(), self.config.hardening.log_size, marks).stream()
    }
}
