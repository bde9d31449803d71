//! What of the chain's word is news about a node.

use lode_chain_types::{ChainEvent, Epoch, ProvenRecord, RegistryEvent, ValidatorsEvent};
use lode_gpu_proof::ProofClass;
use lode_protocol::ids::NodeId;

/// Whether there is nothing to say about a node: it was not proven and still is not, or it is as it was, and a renewal is
/// not due before `soon`.
pub(super) fn is_known(
    proven: Option<&ProvenRecord>,
    passed: usize,
    class: &ProofClass,
    soon: Epoch,
) -> bool {
    match proven.filter(|proven| proven.current) {
        None => passed == 0,
        Some(proven) => {
            let same = usize::from(proven.gpu_count) == passed && proven.class.0 == class.id.0;
            same && proven.expiry_epoch > soon
        }
    }
}

/// Nodes whose registration or proof an event changes.
pub(super) fn concerned(event: &ChainEvent) -> Vec<NodeId> {
    match event {
        ChainEvent::Registry(RegistryEvent::NodeAdded { node, .. })
        | ChainEvent::Registry(RegistryEvent::NodeRemoved { node, .. })
        | ChainEvent::Validators(ValidatorsEvent::NodeProven { node, .. })
        | ChainEvent::Validators(ValidatorsEvent::NodeUnproven { node, .. }) => vec![*node],
        ChainEvent::Registry(RegistryEvent::NodeReplaced { old, new, .. }) => vec![*old, *new],
        _ => Vec::new(),
    }
}
