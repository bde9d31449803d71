//! The life of an assignment, and what a worker reports about it.
//!
//! | from | to |
//! |---|---|
//! | `Assigned` | `Pulling`, `Starting`, `Stopping`, `Failed`, `Stopped`, `Lost` |
//! | `Pulling` | `Starting`, `Stopping`, `Failed`, `Stopped`, `Lost` |
//! | `Starting` | `Running`, `Stopping`, `Succeeded`, `Failed`, `Stopped`, `Lost` |
//! | `Running` | `Starting` (restart, no longer ready), `Stopping`, `Succeeded`, `Failed`, `Stopped`, `Lost` |
//! | `Stopping` | `Succeeded`, `Failed`, `Stopped`, `Lost` |
//! | final states | none |

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{AssignmentId, GpuUuid};
use crate::task::PortProtocol;
use crate::units::Timestamp;

/// Where an assignment stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum AssignmentState {
    /// Placed; the worker has not reported on it yet.
    #[n(0)]
    Assigned,
    /// The image is being fetched.
    #[n(1)]
    Pulling,
    /// The container is being created or started, or is not ready yet, or waits out a restart's back-off.
    #[n(2)]
    Starting,
    /// The container runs and is ready.
    #[n(3)]
    Running,
    /// The container was told to stop.
    #[n(4)]
    Stopping,
    /// Ended with exit code 0. Final.
    #[n(5)]
    Succeeded,
    /// Ended otherwise, or could not be run. Final.
    #[n(6)]
    Failed,
    /// Stopped because it was asked to. Final.
    #[n(7)]
    Stopped,
    /// Its node was lost. Final.
    #[n(8)]
    Lost,
}

impl AssignmentState {
    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Stopped | Self::Lost => true,
            Self::Assigned | Self::Pulling | Self::Starting | Self::Running | Self::Stopping => false,
        }
    }

    fn order(self) -> u8 {
        match self {
            Self::Assigned => 0,
            Self::Pulling => 1,
            Self::Starting => 2,
            Self::Running => 3,
            Self::Stopping => 4,
            Self::Succeeded | Self::Failed | Self::Stopped | Self::Lost => 5,
        }
    }

    /// Whether the table above has this step. States may be skipped forwards: reports are samples.
    pub fn may_become(self, next: AssignmentState) -> bool {
        if self.is_final() || self == next {
            return false;
        }
        next.order() > self.order() || (self == Self::Running && next == Self::Starting)
    }
}

/// Who is to blame for an end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The user's code, image or spec.
    #[n(0)]
    Task,
    /// The host: its engine, disk, GPU or network.
    #[n(1)]
    Node,
    /// The pool's owner or an operator asked for it.
    #[n(2)]
    Operator,
}

/// Why an assignment is where it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Exit code 0.
    #[n(0)]
    Completed,
    /// Exit code other than 0.
    #[n(1)]
    ExitedWithError,
    /// Over its memory limit.
    #[n(2)]
    OomKilled,
    /// No such image, or no right to pull it.
    #[n(3)]
    ImageNotFound,
    /// The registry could not be reached, or broke off.
    #[n(4)]
    PullFailed,
    /// The image has no such command, or cannot run here.
    #[n(5)]
    CannotStart,
    /// Not ready within its deadline, from the start or from when it no longer was.
    #[n(6)]
    NeverReady,
    /// Failed more often than its restart policy allows.
    #[n(7)]
    RestartLimit,
    /// Waits out the back-off before a restart.
    #[n(8)]
    CrashLoop,
    /// Somebody stopped the task.
    #[n(9)]
    StopRequested,
    /// The node is being emptied.
    #[n(10)]
    Drained,
    /// The node was removed from the pool.
    #[n(11)]
    Ejected,
    /// A newer incarnation replaces it.
    #[n(12)]
    Superseded,
    /// No news of the node for a lease.
    #[n(13)]
    NodeLost,
    /// A GPU of the assignment failed.
    #[n(14)]
    GpuLost,
    /// The container engine refused or did not answer.
    #[n(15)]
    EngineError,
    /// The host has no room on its disk.
    #[n(16)]
    DiskFull,
    /// A GPU of the order does not exist here or is in use.
    #[n(17)]
    GpuUnavailable,
    /// No port of the owner's range is free.
    #[n(18)]
    NoFreePort,
    /// The container vanished: somebody removed it.
    #[n(19)]
    ContainerVanished,
    /// The node never ran it within the deadline.
    #[n(20)]
    NeverStarted,
    /// What the task, or the pool, may cost is used up.
    #[n(21)]
    BudgetExhausted,
    /// The image names a registry that this node's owner does not pull from: it has no public address, or leads to one
    /// that is none.
    #[n(22)]
    RegistryNotAllowed,
    /// The registry takes no more requests from this host for now; the pull waits until it does.
    #[n(23)]
    RegistryLimit,
    /// The registry no longer has the content that the task is pinned to.
    #[n(24)]
    PinnedImageGone,
    /// Its image asks for a driver, a CUDA version or a GPU that this host does not have: nobody's fault, another node is
    /// tried.
    #[n(25)]
    UnmetRequirement,
    /// It ran and failed its liveness check.
    #[n(26)]
    Unhealthy,
    /// The host holds as many containers as it can: nobody's fault, another node is tried.
    #[n(27)]
    NodeFull,
    /// The container engine stopped or was started anew while the container ran: its end says nothing about the task.
    #[n(30)]
    EngineRestarted,
    /// The host was started anew while the container ran: its end says nothing about the task.
    #[n(31)]
    HostRestarted,
    /// The host itself ran out of memory: no limit of the task was reached.
    #[n(32)]
    HostOutOfMemory,
    /// Somebody on the host had the engine stop the container.
    #[n(33)]
    StoppedOnHost,
    /// The image was there, and somebody removed it before the container was made of it.
    #[n(34)]
    ImageRemoved,
    /// The engine has no program to run containers with (runc, the NVIDIA runtime), or that is broken.
    #[n(35)]
    RuntimeUnavailable,
    /// It failed in the same way on another node before: what follows the task over nodes is the task's.
    #[n(36)]
    FailsOnEveryNode,
}

impl Reason {
    /// Who is to blame.
    pub fn fault(self) -> Option<Fault> {
        match self {
            // Neither the node's nor the task's: whoever asks a registry too often is everybody behind one address.
            Self::Completed | Self::RegistryLimit | Self::UnmetRequirement | Self::NodeFull => None,
            Self::ExitedWithError
            | Self::OomKilled
            | Self::ImageNotFound
            | Self::CannotStart
            | Self::NeverReady
            | Self::RestartLimit
            | Self::Unhealthy
            | Self::CrashLoop
            | Self::RegistryNotAllowed
            | Self::PinnedImageGone
            | Self::FailsOnEveryNode => Some(Fault::Task),
            Self::PullFailed
            | Self::NodeLost
            | Self::GpuLost
            | Self::EngineError
            | Self::DiskFull
            | Self::GpuUnavailable
            | Self::NoFreePort
            | Self::ContainerVanished
            | Self::NeverStarted
            | Self::EngineRestarted
            | Self::HostRestarted
            | Self::HostOutOfMemory
            | Self::StoppedOnHost
            | Self::ImageRemoved
            | Self::RuntimeUnavailable => Some(Fault::Node),
            Self::StopRequested
            | Self::Drained
            | Self::Ejected
            | Self::Superseded
            | Self::BudgetExhausted => Some(Fault::Operator),
        }
    }
}

/// How far an assignment had come when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum EndPhase {
    /// GPUs, ports and the image were being seen to.
    #[n(0)]
    Preparing,
    /// The container was being made.
    #[n(1)]
    Creating,
    /// The container was being started.
    #[n(2)]
    Starting,
    /// The container ran.
    #[n(3)]
    Running,
}

/// A container port and where the host publishes it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct PublishedPort {
    /// Name of the port in the spec.
    #[n(0)]
    pub name: String,
    /// Port inside the container.
    #[n(1)]
    pub container: u16,
    /// Port of the host.
    #[n(2)]
    pub host: u16,
    /// Transport.
    #[n(3)]
    pub protocol: PortProtocol,
}

/// What a worker says about one assignment. The latest report counts; nothing is inferred from its absence.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct AssignmentReport {
    /// Which.
    #[n(0)]
    pub id: AssignmentId,
    /// Where it stands.
    #[n(1)]
    pub state: AssignmentState,
    /// Why.
    #[n(2)]
    pub reason: Option<Reason>,
    /// The worker's own words, never those of a registry or of the engine (at most [`AssignmentReport::MAX_DETAIL`] bytes).
    #[n(3)]
    pub detail: String,
    /// Exit code of the last run.
    #[n(4)]
    pub exit_code: Option<i64>,
    /// How often the container was restarted.
    #[n(5)]
    pub restarts: u32,
    /// GPUs it holds.
    #[n(6)]
    pub gpus: Vec<GpuUuid>,
    /// Ports it publishes.
    #[n(7)]
    pub ports: Vec<PublishedPort>,
    /// Digest of the image that runs, as the engine names it.
    #[n(8)]
    pub image: Option<String>,
    /// When this state was reached, by the node's clock.
    #[n(9)]
    pub at: Timestamp,
    /// Of an end: how far it had come. With the reason this tells equal failures from different ones, whatever an
    /// engine's words are.
    #[n(10)]
    pub phase: Option<EndPhase>,
}

impl AssignmentReport {
    /// Longest detail, in bytes.
    pub const MAX_DETAIL: usize = 1_024;
}

#[cfg(test)]
mod tests {
    use super::AssignmentState::{self, *};

    const ALL: [AssignmentState; 9] =
        [Assigned, Pulling, Starting, Running, Stopping, Succeeded, Failed, Stopped, Lost];

    #[test]
    fn nothing_follows_a_final_state() {
        for from in ALL.into_iter().filter(|state| state.is_final()) {
            assert!(ALL.into_iter().all(|to| !from.may_become(to)), "{from:?}");
        }
    }

    #[test]
    fn only_a_restart_or_lost_readiness_goes_backwards() {
        assert!(Running.may_become(Starting));
        assert!(!Running.may_become(Pulling));
        assert!(!Stopping.may_become(Running));
        assert!(Assigned.may_become(Running));
    }
}
