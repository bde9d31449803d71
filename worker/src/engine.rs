//! What the worker asks of a container engine. Docker is the one adapter; tests use a fake with fault switches.

use std::fmt::Debug;

use async_trait::async_trait;
use futures::stream::BoxStream;
use lode_protocol::ids::AssignmentId;
use lode_protocol::logs::LogLine;
use lode_protocol::task::PullPolicy;
use lode_protocol::units::{Millis, Timestamp};

use crate::core::effect::ContainerPlan;
use crate::core::event::{ContainerId, EngineFailure, Exit, Observed};

/// Which output of a container is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogQuery {
    /// Go on when the end is reached, until the container ends.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u32>,
    /// Only output after this time.
    pub since: Option<Timestamp>,
}

/// A container engine. Every call has a deadline of its own and answers `Unavailable` when it passes.
#[async_trait]
pub trait Engine: Send + Sync + Debug {
    /// Its version, if it answers.
    async fn ping(&self) -> Result<String, EngineFailure>;

    /// Every container of this node and pool.
    async fn list(&self) -> Result<Vec<Observed>, EngineFailure>;

    /// Makes an image available; answers with its id in the engine.
    async fn pull(&self, image: &str, policy: PullPolicy) -> Result<String, EngineFailure>;

    /// Creates the task's network and container. Leftovers of an older try are removed first.
    async fn create(&self, plan: &ContainerPlan) -> Result<ContainerId, EngineFailure>;

    /// Starts a container.
    async fn start(&self, container: &ContainerId) -> Result<(), EngineFailure>;

    /// Waits until a container ends; may take for ever.
    async fn wait(&self, container: &ContainerId) -> Result<Exit, EngineFailure>;

    /// SIGTERM, then SIGKILL after the grace. A container that has ended is a success.
    async fn stop(&self, container: &ContainerId, grace: Millis) -> Result<(), EngineFailure>;

    /// Removes every container and network of an assignment.
    async fn remove(&self, id: &AssignmentId) -> Result<(), EngineFailure>;

    /// Removes one container.
    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineFailure>;

    /// Runs a command inside a container; answers with its exit code.
    async fn execute(&self, container: &ContainerId, command: &[String]) -> Result<i64, EngineFailure>;

    /// A container's output, line by line.
    fn logs(
        &self,
        container: &ContainerId,
        query: LogQuery,
    ) -> BoxStream<'static, Result<LogLine, EngineFailure>>;
}
