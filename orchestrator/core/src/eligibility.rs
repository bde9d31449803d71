//! What a node lacks, by the pool's requirements and the chain's facts, and where it stands in the protocol's words.
//! Every answer has a stable code; an unknown fact is said to be unknown.

use lode_protocol::error_code::ErrorCode;
use lode_protocol::hardware::nominal_memory;
use lode_protocol::ids::NodeId;
use lode_protocol::session::Membership;
use lode_protocol::units::Bytes;

use super::Core;
use super::admission::{GAVE_UP, Phase};
use super::hardware::GpuSlot;
use super::node::{Known, Node, NodeLifecycle};

impl Core {
    /// What keeps a node from being invited.
    pub(crate) fn shortfall(&self, node: &Node) -> Option<(ErrorCode, String)> {
        let missing = |code: &'static str, message: &str| Some((ErrorCode::new(code), message.to_owned()));
        let requirements = &self.config.requirements;
        let Some(pool) = self.chain_pool.filter(|_| self.chain_is_fresh()) else {
            return missing(
                "pool/view-stale",
                "the orchestrator cannot read the chain now; nothing needs to be done",
            );
        };
        if let Some(shortfall) = self.registration_shortfall(node) {
            return Some(shortfall);
        }
        if node.facts.membership == Known::Unknown {
            return missing("node/chain-unknown", "the chain has not been asked about this node yet");
        }
        if !pool.running {
            return missing("pool/not-running", "the pool has not been started, or has ended");
        }
        let gpus = node.hardware.physical_gpus();
        if gpus == 0
            && let Some(largest) = node.hardware.too_small().max_by_key(|slot| slot.kind.memory)
        {
            return Some((ErrorCode::new("node/gpu-too-small"), too_small(requirements.gpu_memory, largest)));
        }
        if gpus == 0 && !requirements.allow_cpu_only {
            return missing(
                "node/no-gpu",
                "this pool takes only nodes with GPUs, and the worker has found none",
            );
        }
        if gpus > 0 && u32::try_from(gpus).unwrap_or(u32::MAX) < requirements.gpus {
            let left_out = match node.hardware.too_small().count() {
                0 => String::new(),
                count => format!(
                    "; {count} more have less memory than {} and are left out",
                    requirements.gpu_memory
                ),
            };
            return Some((
                ErrorCode::new("node/too-few-gpus"),
                format!(
                    "this pool takes nodes with at least {} GPUs, this one has {gpus}{left_out}",
                    requirements.gpus
                ),
            ));
        }
        if let Some(engine) = requirements.engine
            && node.hardware.engine.is_none_or(|found| found < engine)
        {
            return Some((
                ErrorCode::new("node/engine-too-old"),
                format!("this pool asks for container engine {}.{} or newer", engine.0, engine.1),
            ));
        }
        if let Some(shortfall) = self.proof_shortfall(node) {
            return Some(shortfall);
        }
        if pool.max_nodes > 0 && pool.member_count >= pool.max_nodes {
            return missing("pool/full", "the pool has as many members as it takes");
        }
        if !node.is_alive() {
            return missing("node/silent", "the worker is not heard");
        }
        None
    }

    /// What is missing of the registration by its provider.
    fn registration_shortfall(&self, node: &Node) -> Option<(ErrorCode, String)> {
        let missing = |code: &'static str, message: &str| Some((ErrorCode::new(code), message.to_owned()));
        match node.facts.registration {
            Known::Unknown => {
                missing("node/chain-unknown", "the chain has not been asked about this node yet")
            }
            Known::Is(None) => missing(
                "node/not-registered",
                "no provider has registered this node; let its provider authorise it",
            ),
            Known::Is(Some(registration)) if !registration.eligible => {
                missing("node/not-eligible", "the provider's stake does not cover this node; add stake")
            }
            Known::Is(Some(registration)) if !registration.approved => Some((
                ErrorCode::new("node/pool-not-approved"),
                format!(
                    "the node's provider has not approved this pool; let it run `lode provider approve-pool {}`",
                    self.config.pool
                ),
            )),
            Known::Is(Some(_)) => None,
        }
    }

    /// What keeps a member from being given work, as far as the chain says so.
    pub(crate) fn member_shortfall(&self, node: &Node) -> Option<(ErrorCode, String)> {
        match node.standing {
            NodeLifecycle::Member(_) | NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => {}
            NodeLifecycle::Joining(_) | NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => return None,
        }
        if node.facts.is_active_member() {
            return self.proof_shortfall(node);
        }
        self.registration_shortfall(node).or_else(|| {
            let (code, message) = match node.facts.membership {
                Known::Unknown => {
                    ("node/chain-unknown", "the chain has not been asked about this node yet")
                }
                Known::Is(_) => (
                    "node/not-member",
                    "its membership does not count now: its provider is banned from the pool, or registered it anew",
                ),
            };
            Some((ErrorCode::new(code), message.to_owned()))
        })
    }

    /// What is missing of the proof that the pool asks for.
    pub(crate) fn proof_shortfall(&self, node: &Node) -> Option<(ErrorCode, String)> {
        let least = self.config.requirements.proof?;
        // A node without GPUs has nothing to prove.
        node.hardware.described().next()?;
        match node.facts.proven_class() {
            Some(class) if class >= least => None,
            Some(class) => Some((
                ErrorCode::new("node/class-too-low"),
                format!("the node's proof is of class {class}, this pool asks for class {least}"),
            )),
            None => Some((
                ErrorCode::new("node/not-proven"),
                "no proof of the node's hardware counts now; validators prove it by themselves".to_owned(),
            )),
        }
    }

    /// Where the node stands, in the words of the protocol.
    pub(crate) fn membership(&self, id: &NodeId) -> Membership {
        self.nodes.get(id).map_or_else(
            || waiting("node/not-found", "the orchestrator does not know this node".to_owned()),
            |node| self.membership_of(node),
        )
    }

    pub(crate) fn membership_of(&self, node: &Node) -> Membership {
        match &node.standing {
            NodeLifecycle::Member(_) => Membership::Member,
            NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => Membership::Draining,
            NodeLifecycle::Ejected { message, .. } => Membership::Ejected { message: message.clone() },
            NodeLifecycle::Gone => Membership::Ejected { message: "the node has left the pool".to_owned() },
            NodeLifecycle::Joining(admission) => match &admission.phase {
                Phase::Waiting { .. } => self.shortfall(node).map_or_else(
                    || waiting("node/joining", "nothing is missing; an invite follows".to_owned()),
                    |(code, message)| Membership::Waiting { code, message },
                ),
                Phase::Invited { .. } => Membership::Invited,
                Phase::Consented { .. } => {
                    waiting("node/joining", "the join is on its way to the chain".to_owned())
                }
                Phase::CoolingDown { until, message, .. } => {
                    waiting("node/cooling-down", format!("{message}; it is tried again at {until}"))
                }
                Phase::GaveUp { message, .. } => {
                    waiting(GAVE_UP, format!("{message}; the pool's owner must readmit the node"))
                }
            },
        }
    }
}

/// Figures in both ways to count: what the pool asks for, what the driver shows.
fn too_small(least: Bytes, largest: &GpuSlot) -> String {
    let shown = largest.kind.memory.unwrap_or_default();
    let model = largest.kind.model.as_deref().unwrap_or("the largest");
    format!(
        "this pool takes GPUs with at least {least}; of this node's {model} ({}) has {shown}, which counts as {}",
        largest.uuid,
        nominal_memory(shown, largest.kind.model.as_deref())
    )
}

fn waiting(code: &'static str, message: String) -> Membership {
    Membership::Waiting { code: ErrorCode::new(code), message }
}
