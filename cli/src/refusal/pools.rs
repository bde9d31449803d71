//! `ComputePools`.

use super::sentence::{Sentence, sentence};
use crate::failure::Kind::{Conflict, Denied, NotFound, Usage};

pub(super) const SENTENCES: [Sentence; 22] = [
    sentence("PoolNotFound", NotFound, "there is no pool {poolId}", "run `lode pool ls`"),
    sentence(
        "WrongPoolState",
        Conflict,
        "pool {poolId} is {actual:pool-state}; for this it must be {expected:pool-state}",
        "see `lode pool show {poolId}`",
    ),
    sentence(
        "PoolNotRunning",
        Conflict,
        "pool {poolId} takes no joins: it is {actual:pool-state}",
        "its owner starts it with `lode pool start {poolId}`; one that ended stays so",
    ),
    sentence(
        "NotPoolOwner",
        Denied,
        "{caller} is not the owner of pool {poolId}",
        "use the owner's key: `lode pool show {poolId}` names it",
    ),
    sentence(
        "NotPendingOwner",
        Denied,
        "pool {poolId} is not offered to {caller}",
        "its owner offers it with `lode pool transfer`",
    ),
    sentence(
        "NotPoolAuthority",
        Denied,
        "{caller} is neither the owner nor the orchestrator of pool {poolId}",
        "use one of their keys: `lode pool show {poolId}` names them",
    ),
    sentence(
        "OrchestratorRetired",
        Conflict,
        "{orchestrator} was the orchestrator of pool {poolId} before and never returns, so that its old invites stay dead",
        "make another key: `lode key new FILE`",
    ),
    sentence(
        "TextTooLong",
        Usage,
        "{parameter} has {length} bytes, at most {maximum} are allowed",
        "give a shorter one",
    ),
    sentence(
        "PoolFull",
        Conflict,
        "pool {poolId} has as many nodes as it may: {maxNodes}",
        "wait until one leaves",
    ),
    sentence(
        "WrongCounter",
        Conflict,
        "the signature was used, or is for another join of node {node}: its counter is {given}, the chain wants {expected}",
        "sign anew",
    ),
    sentence(
        "InvalidInviteSignature",
        Denied,
        "the invite of node {node} is not signed by the orchestrator of pool {poolId}",
        "the orchestrator sends a new one by itself",
    ),
    sentence(
        "InvalidConsentSignature",
        Denied,
        "the consent to join pool {poolId} is not signed by node {node}",
        "restart the node's worker: it signs anew",
    ),
    sentence(
        "InvalidLeaveSignature",
        Denied,
        "the leave is signed neither by node {node} nor by its provider",
        "sign what `lode provider leave --typed-data` prints with one of their keys",
    ),
    sentence(
        "NodeNotEligible",
        Conflict,
        "node {node} is not registered, or its provider's stake does not suffice",
        "its provider sees why: `lode provider status`",
    ),
    sentence(
        "NodeIsBanned",
        Conflict,
        "node {node} is banned from pool {poolId}",
        "the pool's owner lets it back with `lode pool unban`",
    ),
    sentence(
        "ProviderIsBanned",
        Conflict,
        "provider {provider} is banned from pool {poolId}",
        "the pool's owner lets it back with `lode pool unban-provider`",
    ),
    sentence(
        "PoolNotApproved",
        Denied,
        "provider {provider} has not approved pool {poolId}",
        "the provider does it with `lode provider approve-pool {poolId}`",
    ),
    sentence(
        "WrongApprovalNonce",
        Conflict,
        "the approval of {provider} was used: its nonce is {given}, the chain wants {expected}",
        "sign a new one: `lode provider approve-pool --typed-data`",
    ),
    sentence(
        "InvalidApprovalSignature",
        Denied,
        "the approval is not signed by provider {provider}",
        "sign what `lode provider approve-pool --typed-data` prints with the provider's key",
    ),
    sentence("NotMember", Conflict, "node {node} is not a member of pool {poolId}", "nothing is to be done"),
    sentence("NotBanned", Conflict, "{subject} is not banned from pool {poolId}", "nothing is to be done"),
    sentence(
        "NotNodeOrProvider",
        Denied,
        "{caller} is neither node {node} nor its provider",
        "use one of their keys, or have a leave signed: `lode provider leave --typed-data`",
    ),
];
