//! What an orchestrator publishes about settlement, as JSON, for anybody: with it a stranger rebuilds every root and
//! checks every receipt. Served without a token under `/v1/epochs` and `/v1/payees` of the API and of the pool's HTTPS
//! endpoint. Amounts are decimal numbers of whole tokens, as text.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::amount::Amount;
use crate::error_code::ErrorCode;
use crate::hash::Digest;
use crate::ids::{Address, Epoch, PoolId};
use crate::keys::EthereumSignature;
use crate::settlement::Receipt;
use crate::usage::UsageStatement;

/// Where an epoch's root of earnings is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RootStatus {
    /// On its way to the chain.
    Submitted,
    /// On chain; can be vetoed.
    Pending,
    /// On chain for good.
    Final,
    /// Dropped by validators, or refuted; a later one covers its receipts.
    Vetoed,
    /// The chain did not take it; a later one covers its receipts.
    Failed,
}

/// A root of earnings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PublishedRoot {
    /// Hash of the tree's top.
    pub root: Digest,
    /// Sum of all leaves.
    pub total: Amount,
    /// Height of the tree.
    pub depth: u8,
    /// Epoch of the validators' root under which the work's nodes are proven.
    pub proven_epoch: Epoch,
    /// How far it is.
    pub status: RootStatus,
}

/// An epoch in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct EpochSummary {
    /// Its number.
    pub epoch: Epoch,
    /// Receipts of work in it.
    pub receipts: u64,
    /// What they earned together.
    pub amount: Amount,
    /// Its root; `None`: none was posted for it, a later one covers its receipts.
    pub root: Option<PublishedRoot>,
}

/// A list of epochs, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct EpochPage {
    /// The pool.
    pub pool: PoolId,
    /// Epochs in which something was earned, or a root was posted.
    pub items: Vec<EpochSummary>,
    /// `after` of the next page.
    pub next: Option<Epoch>,
}

/// A leaf of a tree of earnings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PublishedPayee {
    /// Its place, for ever.
    pub index: u64,
    /// Who is paid.
    pub payee: Address,
    /// Everything that it has earned in the pool.
    pub cumulative: Amount,
}

/// A receipt with its signatures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PublishedReceipt {
    /// The receipt.
    pub receipt: Receipt,
    /// The usage that it pays.
    pub usage: UsageStatement,
    /// Of the pool's orchestrator key.
    pub orchestrator_signature: EthereumSignature,
    /// Of the node's key; `None`: the node is gone, has not answered, or refused.
    pub node_signature: Option<EthereumSignature>,
    /// Why the node refused to sign.
    pub refused: Option<ErrorCode>,
}

/// Everything about an epoch: all pages together hold every leaf of its root and every receipt of work in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct EpochDocument {
    /// The pool.
    pub pool: PoolId,
    /// The epoch.
    pub epoch: Epoch,
    /// Its root; `None`: a later one covers its receipts.
    pub root: Option<PublishedRoot>,
    /// The earliest epoch whose receipts the root adds to the one before it.
    pub covers_from: Option<Epoch>,
    /// Leaves of the root, in the order of their indices, without gaps.
    pub payees: Vec<PublishedPayee>,
    /// `payees_after` of the next page.
    pub payees_next: Option<u64>,
    /// Receipts of work in the epoch.
    pub receipts: Vec<PublishedReceipt>,
    /// `after` of the next page.
    pub next: Option<String>,
}

/// What a payee can claim under one root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PayeeDocument {
    /// The pool.
    pub pool: PoolId,
    /// The root's epoch.
    pub epoch: Epoch,
    /// The root.
    pub root: PublishedRoot,
    /// The leaf.
    pub leaf: PublishedPayee,
    /// The leaf's way to the root, from the leaf upwards.
    pub path: Vec<PublishedSibling>,
}

/// A sibling on a leaf's way to the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PublishedSibling {
    /// Its hash.
    pub hash: Digest,
    /// Sum of the leaves below it.
    pub sum: Amount,
}
