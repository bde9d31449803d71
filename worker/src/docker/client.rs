//! The engine calls, each with a deadline.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum,
};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder, WaitContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use lode_protocol::envelope::Realm;
use lode_protocol::hardware::SoftwareVersion;
use lode_protocol::ids::{AssignmentId, GpuUuid};
use lode_protocol::image::ImageReference;
use lode_protocol::units::Millis;
use tokio::sync::{OnceCell, watch};

use super::call::{CALL, within};
use super::failure::{During, classify, is_missing, is_unchanged};
use super::labels::Ownership;
use super::logs::OutputReader;
use super::memory_files::MemoryFiles;
use super::networks::Reserved;
use super::oom_kills::OomKills;
use super::plan::{GpuAccess, Hardening};
use super::pull::Removal;
use super::registries::{ImageAccess, Registries};
use super::require::{Host, HostGpu};
use super::transport::{self, Bound};
use crate::core::effect::{ContainerPlan, WantedImage};
use crate::core::event::{
    ContainerId, Ending, EngineFailure, EngineRun, Exit, Observed, ObservedState, PulledImage,
};
use crate::engine::{Captured, Engine, Marks, Ran};
use crate::gpus::GpuView;
use crate::subnets::Subnets;

/// Time a ping may take.
const PING: Duration = Duration::from_secs(10);
/// Time between two looks at a container's files in memory, and at what the host's kernel killed, while it is waited for.
const MEMORY_POLL: Duration = Duration::from_secs(5);

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
    /// Where images may come from, and how long that may take.
    pub images: ImageAccess,
    /// Where networks of tasks lie.
    pub subnets: Subnets,
}

/// A Docker engine behind a unix socket. Connects at the first call; after a restart of the engine the next call works.
#[derive(Debug)]
pub struct DockerEngine {
    pub(super) config: EngineConfig,
    pub(super) registries: Registries,
    pub(super) reserved: Reserved,
    client: OnceCell<Docker>,
    /// What images are judged by.
    gpus: Option<watch::Receiver<Arc<GpuView>>>,
    pub(super) oom_kills: OomKills,
    pub(super) memory_files: MemoryFiles,
}

impl DockerEngine {
    /// Touches nothing yet.
    pub fn new(config: EngineConfig) -> Self {
        Self {
            registries: Registries::new(&config.images),
            config,
            reserved: Reserved::default(),
            client: OnceCell::new(),
            gpus: None,
            oom_kills: OomKills::default(),
            memory_files: MemoryFiles::default(),
        }
    }

    /// Images that need another driver than this host's are refused before a container is made of them.
    #[must_use]
    pub fn judging_images_by(self, gpus: watch::Receiver<Arc<GpuView>>) -> Self {
        Self { gpus: Some(gpus), ..self }
    }

    /// What the host has for a task, for the image's own check.
    pub(super) fn host_for(&self, gpus: &[GpuUuid]) -> Option<Host> {
        let view = self.gpus.as_ref()?.borrow().clone();
        let offered = &view.offered;
        let gpu = |uuid: &GpuUuid| {
            let spec = offered.gpus.iter().find(|spec| spec.uuid == *uuid);
            let physical = spec.and_then(|spec| spec.parent.as_ref()).unwrap_or(uuid);
            HostGpu {
                architecture: spec.and_then(|spec| spec.compute_capability),
                brand: offered.brands.get(physical).map(|brand| brand.to_ascii_lowercase()),
            }
        };
        Some(Host {
            cuda: offered.cuda_version.map(SoftwareVersion::of_cuda),
            driver: offered.driver_version.as_deref().and_then(SoftwareVersion::parse),
            gpus: gpus.iter().map(gpu).collect(),
        })
    }

    /// As it was made.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// The client, once the engine's API version is known (bollard would otherwise send none).
    pub(super) async fn docker(&self) -> Result<&Docker, EngineFailure> {
        let connect = async {
            let socket = self.config.socket.clone();
            let send = move |request: BollardRequest| {
                let (socket, bound) = (socket.clone(), Bound::of(request.uri().path()));
                async move { transport::send(&socket, request, bound).await }
            };
            let (address, patience) = (Some("http://docker"), CALL.as_secs());
            let docker = Docker::connect_with_custom_transport(send, address, patience, API_DEFAULT_VERSION)?;
            within(PING, docker.negotiate_version()).await
        };
        self.client.get_or_try_init(|| connect).await.map_err(|error| classify(&error, During::Other))
    }

    pub(super) async fn inspect(&self, container: &ContainerId) -> Result<ContainerInspectResponse, Error> {
        let docker = self.docker_or_timeout().await?;
        within(CALL, docker.inspect_container(&container.0, None::<InspectContainerOptions>)).await
    }

    pub(super) async fn docker_or_timeout(&self) -> Result<&Docker, Error> {
        self.docker().await.map_err(|_| Error::RequestTimeoutError)
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
        let state = match self.inspect(&container).await {
            Ok(inspected) => observed_state(&inspected),
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => match classify(&error, During::Other) {
                failure @ EngineFailure::Unavailable(_) => return Err(failure),
                // What cannot be read of one container hides none of the others.
                _ => listed_state(summary.state),
            },
        };
        Ok(Some(Observed { container, assignment, state }))
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

/// What the list says of a container that could not be looked at: everything but its exit code.
fn listed_state(state: Option<ContainerSummaryStateEnum>) -> ObservedState {
    match state {
        Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD) => {
            ObservedState::Exited(Exit { code: -1, out_of_memory: false })
        }
        Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED) => {
            ObservedState::Running
        }
        _ => ObservedState::Created,
    }
}

/// Why a container could not be ended. One that hangs in the kernel makes the engine wait: that it does not answer here
/// says nothing of the engine.
fn unended(error: &Error, waited: Duration) -> EngineFailure {
    match error {
        Error::RequestTimeoutError => {
            EngineFailure::Other(format!("the engine could not end it within {} s", waited.as_secs()))
        }
        other => classify(other, During::Other),
    }
}

pub(super) fn has_exited(inspected: &ContainerInspectResponse) -> bool {
    matches!(observed_state(inspected), ObservedState::Exited(_))
}

pub(super) fn exit_of(inspected: &ContainerInspectResponse) -> Exit {
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

    async fn life(&self) -> Result<EngineRun, EngineFailure> {
        DockerEngine::life(self).await
    }

    async fn list(&self) -> Result<Vec<Observed>, EngineFailure> {
        let summaries = self.containers(&self.config.ownership.filter()).await?;
        let mut observed = Vec::with_capacity(summaries.len());
        for summary in summaries {
            observed.extend(self.observe(summary).await?);
        }
        Ok(observed)
    }

    async fn data_root(&self) -> Result<Option<PathBuf>, EngineFailure> {
        self.root().await
    }

    async fn pull(&self, wanted: &WantedImage) -> Result<PulledImage, EngineFailure> {
        self.make_available(wanted).await
    }

    async fn remove_image(&self, image: &ImageReference) -> Result<(), EngineFailure> {
        match self.remove_name(image).await? {
            Removal::Done => Ok(()),
            Removal::Used => Err(EngineFailure::Other(format!("{image} is in use"))),
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
        self.oom_kills.note(container);
        let process = match self.inspect(container).await {
            Ok(inspected) => inspected.state.and_then(|state| state.pid).filter(|process| *process > 0),
            // The wait itself tells what is wrong.
            Err(_) => None,
        };
        let ended = loop {
            match tokio::time::timeout(MEMORY_POLL, ends.next()).await {
                Err(_) => {
                    self.oom_kills.note(container);
                    process.into_iter().for_each(|process| self.memory_files.look(container, process));
                }
                Ok(ended) => break ended,
            }
        };
        let ended = match ended {
            // A code other than 0 comes as an error; the inspection below tells it again, with the reason.
            None | Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => self.inspect(container).await,
            Some(Err(error)) => Err(error),
        };
        match ended {
            Ok(inspected) if has_exited(&inspected) => Ok(exit_of(&inspected)),
            Ok(_) => Err(EngineFailure::Unavailable(
                "the engine ended a wait although the container runs".to_owned(),
            )),
            Err(error) => Err(classify(&error, During::Other)),
        }
    }

    async fn examine(&self, container: &ContainerId) -> Result<Ending, EngineFailure> {
        self.ending(container).await
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
            Err(error) => Err(unended(&error, deadline)),
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
        self.oom_kills.forget(container);
        let _seen = self.memory_files.take(container);
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match within(CALL, docker.remove_container(&container.0, Some(options))).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) || is_unchanged(&error) => Ok(()),
            Err(error) => Err(unended(&error, CALL)),
        }
    }

    async fn execute(
        &self,
        container: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<Ran, EngineFailure> {
        self.run_command(container, command, limit).await
    }

    async fn address(&self, container: &ContainerId) -> Result<Option<IpAddr>, EngineFailure> {
        self.own_address(container).await
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
