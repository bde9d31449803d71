//! What the worker asks of a container engine. Docker is the one adapter; tests use a fake with fault switches.

use std::fmt::Debug;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use lode_protocol::ids::AssignmentId;
use lode_protocol::image::ImageReference;
use lode_protocol::logs::{EngineTime, LogSource};
use lode_protocol::units::Millis;

use crate::core::effect::{ContainerPlan, WantedImage};
use crate::core::event::{ContainerId, Ending, EngineFailure, EngineRun, Exit, Observed, PulledImage};

/// A piece of output as the engine keeps it: a line, or part of a long one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Where it was written.
    pub source: LogSource,
    /// How to find it again.
    pub mark: Mark,
    /// Without the line feed.
    pub bytes: Bytes,
    /// Whether a line feed follows.
    pub ends_line: bool,
}

/// Tells a piece among those of one source: the engine's stamp, and how many pieces of the source up to this one have
/// that stamp in a row (the parts of a long line share one).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// The engine's stamp.
    pub at: EngineTime,
    /// From 1.
    pub repeat: u32,
}

impl Mark {
    /// The mark of the piece behind this one.
    pub fn next(previous: Option<Mark>, at: EngineTime) -> Mark {
        let repeat = previous.filter(|mark| mark.at == at).map_or(1, |mark| mark.repeat.saturating_add(1));
        Mark { at, repeat }
    }
}

/// The last piece of each source that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    /// Of standard output; `None` if nothing was.
    pub stdout: Option<Mark>,
    /// Of standard error.
    pub stderr: Option<Mark>,
}

impl Marks {
    /// That of a source.
    pub fn of(&mut self, source: LogSource) -> &mut Option<Mark> {
        match source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr => &mut self.stderr,
        }
    }
}

/// What comes next of a container's output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Captured {
    /// This.
    Piece(Piece),
    /// Something that the engine no longer has.
    Missed,
    /// Said last, where nothing more can follow: the container had ended before the last of it was read. A stream that
    /// ends without it was read to where it was at that moment.
    End,
}

/// What came of a command inside a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ran {
    /// It ended with this exit code.
    Ended(i64),
    /// It took too long.
    TooLong {
        /// Whether it is gone.
        killed: bool,
    },
    /// It was not started: an earlier one still runs and cannot be killed.
    StillRuns,
}

/// A container engine. Every call has a deadline of its own and answers `Unavailable` when it passes.
#[async_trait]
pub trait Engine: Send + Sync + Debug {
    /// Its version, if it answers.
    async fn ping(&self) -> Result<String, EngineFailure>;

    /// The life of the engine that takes new callers now. One that is about to stop takes none.
    async fn life(&self) -> Result<EngineRun, EngineFailure>;

    /// Every container of this node and pool.
    async fn list(&self) -> Result<Vec<Observed>, EngineFailure>;

    /// Where it keeps images and containers on this host, if it says so.
    async fn data_root(&self) -> Result<Option<PathBuf>, EngineFailure>;

    /// Makes an image available.
    async fn pull(&self, wanted: &WantedImage) -> Result<PulledImage, EngineFailure>;

    /// Removes an image by this name, unless something uses it. One that is not there is a success.
    async fn remove_image(&self, image: &ImageReference) -> Result<(), EngineFailure>;

    /// Creates the task's network and container. Leftovers of an older try are removed first.
    async fn create(&self, plan: &ContainerPlan) -> Result<ContainerId, EngineFailure>;

    /// Starts a container.
    async fn start(&self, container: &ContainerId) -> Result<(), EngineFailure>;

    /// Waits until a container ends; may take for ever.
    async fn wait(&self, container: &ContainerId) -> Result<Exit, EngineFailure>;

    /// How a container that has ended came to its end, by the word of a life of the engine that went on afterwards.
    async fn examine(&self, container: &ContainerId) -> Result<Ending, EngineFailure>;

    /// SIGTERM, then SIGKILL after the grace. A container that has ended is a success.
    async fn stop(&self, container: &ContainerId, grace: Millis) -> Result<(), EngineFailure>;

    /// Removes every container and network of an assignment.
    async fn remove(&self, id: &AssignmentId) -> Result<(), EngineFailure>;

    /// Removes one container.
    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineFailure>;

    /// Runs a command inside a container, at most for `limit`; then it is killed. While an earlier one like it cannot be
    /// killed none is started.
    async fn execute(
        &self,
        container: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<Ran, EngineFailure>;

    /// The container's own address; `None` where this host has no way to it.
    async fn address(&self, container: &ContainerId) -> Result<Option<IpAddr>, EngineFailure>;

    /// A container's output behind `marks`, in the engine's order, until the container ends. What the engine wrote over
    /// before it was read is said where it is missing, and where all of it was read that is said at the end.
    fn output(
        &self,
        container: &ContainerId,
        marks: Marks,
    ) -> BoxStream<'static, Result<Captured, EngineFailure>>;
}
