//! Calls of the registry of providers and nodes.

use lode_protocol::amount::Amount;
use lode_protocol::ids::NodeId;
use lode_protocol::join::NodeConsent;
use lode_protocol::keys::EthereumSignature;
use minicbor::{Decode, Encode};

use super::{AuthorizedNode, Permit};

/// Calls of the registry of providers and nodes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum RegistryCall {
    /// The sender becomes a provider and stakes. Without a permit an allowance must stand.
    #[n(0)]
    RegisterProvider {
        /// Stake.
        #[n(0)]
        amount: Amount,
        /// Permit for the registry.
        #[n(1)]
        permit: Option<Permit>,
    },
    /// The provider stakes more, from its allowance.
    #[n(1)]
    Stake {
        /// How much more.
        #[n(0)]
        amount: Amount,
    },
    /// The provider takes stake out.
    #[n(2)]
    RequestUnstake {
        /// How much.
        #[n(0)]
        amount: Amount,
    },
    /// The provider collects what has unbonded.
    #[n(3)]
    Withdraw,
    /// The sending provider adds a node that consented.
    #[n(4)]
    AddNode {
        /// What the node signed.
        #[n(0)]
        consent: NodeConsent,
        /// Units of compute.
        #[n(1)]
        units: u32,
        /// The node's signature.
        #[n(2)]
        signature: EthereumSignature,
    },
    /// Anybody adds nodes that both sides signed for.
    #[n(5)]
    AddNodes(#[n(0)] Vec<AuthorizedNode>),
    /// The sending provider puts a new key in a node's place.
    #[n(6)]
    ReplaceNode {
        /// The node that goes.
        #[n(0)]
        old: NodeId,
        /// What the new key signed.
        #[n(1)]
        consent: NodeConsent,
        /// The new key's signature.
        #[n(2)]
        signature: EthereumSignature,
    },
    /// The sending provider releases a node.
    #[n(7)]
    RemoveNode(#[n(0)] NodeId),
    /// The sending provider kills its unused authorisations.
    #[n(8)]
    RevokeAuthorizations,
    /// The deployer of the registry names the deployment's `Slashing` as the contract that may lock and slash stake.
    #[n(37)]
    SetSlasher,
}
