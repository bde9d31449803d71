//! What the core wants of the chain. The driver hands it on as it is; all of it may come twice.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Epoch, NodeId};
use lode_protocol::join::Invite;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::session::Leave;

/// To be followed on the chain, or put into the outbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChainCommand {
    /// Tell the core everything the chain knows about this node ([`super::event::Event::ChainNode`],
    /// `ChainMembership`, `ChainProven`) and every later change of it.
    FollowNode(NodeId),
    /// Tell the core once whether this node is registered ([`super::event::Event::NodeLookedUp`]). Nothing is lost if
    /// that never comes: who says hello again is looked up again, a minute later.
    LookUpNode(NodeId),
    /// Stop following; the node is forgotten.
    UnfollowNode(NodeId),
    /// Put a join into the outbox (idempotent by node and counter). The shell signs the invite again.
    SubmitJoin {
        /// The invite that was consented to.
        invite: Invite,
        /// The node's consent, verified.
        consent: EthereumSignature,
    },
    /// Put an ejection into the outbox (idempotent by node while it is a member).
    SubmitEject {
        /// Whom.
        node: NodeId,
    },
    /// Put a leave by signature into the outbox (idempotent by node and counter).
    SubmitLeave {
        /// Who leaves.
        node: NodeId,
        /// The node's statement, verified.
        leave: Leave,
    },
    /// Put a root of earnings into the outbox (idempotent by epoch).
    SubmitRoot {
        /// Its epoch.
        epoch: Epoch,
        /// Hash of the tree's top.
        root: Digest,
        /// Sum of all leaves.
        total: Amount,
        /// Height of the tree.
        depth: u8,
        /// Epoch of the validators' root that vouches for the nodes.
        proven_epoch: Epoch,
    },
    /// Tell the core how this epoch's root stands ([`super::event::Event::ChainRoot`]), now and whenever it changes. Only
    /// the latest one asked for is followed.
    FollowRoot(Epoch),
}
