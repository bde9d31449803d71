//! From the result of a run to a leaf of the epoch's tree.
//!
//! Honest validators must come to the same leaf without talking to each other, so that a leaf says nothing that only
//! one of them measured: a score is 10 000 (the class's limits were met) or 0, the time is the class's limit, and the
//! transcript names class, parameters, node and GPUs. What was measured is in this validator's log and status.

use lode_chain_types::{Epoch, Leaf};
use lode_gpu_proof::ProofClass;
use lode_protocol::hardware::uuid_set_hash;
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{GpuUuid, NodeId};
use lode_protocol::proof::ProofClassId;
use minicbor::{Decode, Encode};

/// Score of whoever met the limits of the class, in basis points.
const MET: u16 = 10_000;

/// How a node did in a run that was judged.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct NodeResult {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// GPUs that passed, sorted.
    #[n(1)]
    pub passed: Vec<GpuUuid>,
    /// How many did not.
    #[n(2)]
    pub failed: u16,
    /// The epoch in which it was judged.
    #[n(3)]
    pub judged_in: Epoch,
    /// How many epochs ended without a quorum for it.
    #[n(4)]
    pub attempts: u8,
}

impl NodeResult {
    /// The leaf of an epoch; `validity` in epochs.
    pub fn leaf(&self, class: &ProofClass, epoch: Epoch, validity: u64) -> Leaf {
        let pass = !self.passed.is_empty();
        let score = if pass { MET } else { 0 };
        let uuid_set = uuid_set_hash(&self.passed);
        Leaf {
            node: self.node,
            class: ProofClassId(class.id.0),
            gpu_count: u16::try_from(self.passed.len()).unwrap_or(u16::MAX),
            uuid_set,
            vram_gib: u32::try_from(class.params.dataset_bytes() >> 30).unwrap_or(u32::MAX),
            walk_score: score,
            gemm_score: score,
            median_millis: u32::try_from(class.total_limit_ms).unwrap_or(u32::MAX),
            pass,
            transcript: transcript(class, self.node, uuid_set),
            expiry_epoch: if pass { epoch.plus(validity) } else { epoch },
        }
    }
}

fn transcript(class: &ProofClass, node: NodeId, uuid_set: Digest) -> Digest {
    keccak256_of([
        b"Lode proof transcript v1".as_slice(),
        &class.id.0.to_be_bytes(),
        class.params.hash().as_bytes(),
        &node.0.0,
        &uuid_set.0,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(passed: &[&str]) -> NodeResult {
        NodeResult {
            node: NodeId::default(),
            passed: passed.iter().map(|uuid| uuid.parse().unwrap()).collect(),
            failed: 0,
            judged_in: Epoch(3),
            attempts: 0,
        }
    }

    #[test]
    fn the_leaf_does_not_depend_on_when_or_how_often_it_was_measured() {
        let one = result(&["GPU-a", "GPU-b"]);
        let other = NodeResult { judged_in: Epoch(2), attempts: 2, ..one.clone() };
        assert_eq!(one.leaf(&ProofClass::TINY, Epoch(4), 5), other.leaf(&ProofClass::TINY, Epoch(4), 5));
    }

    #[test]
    fn a_node_without_a_passed_gpu_gets_a_failing_leaf() {
        let leaf = result(&[]).leaf(&ProofClass::TINY, Epoch(4), 5);
        assert!(!leaf.pass && leaf.gpu_count == 0 && leaf.walk_score == 0);
        assert!(result(&["GPU-a"]).leaf(&ProofClass::TINY, Epoch(4), 5).pass);
    }
}
