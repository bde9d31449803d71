//! Rows of settlement: CBOR with numbered fields, numbers are never reused. Keys are big-endian, so that rows of one
//! epoch lie together.

use lode_chain_types::EarningsLeaf;
use lode_protocol::amount::Amount;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, Epoch, NodeId, TaskId};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::Receipt;
use lode_protocol::usage::{UsageLine, UsageStatement};
use minicbor::{Decode, Encode};

/// Key of the one row of the settlement table.
pub(crate) const SETTLEMENT_KEY: &[u8] = b"settlement";

/// How far settlement is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(crate) struct Progress {
    /// The epoch that usage is counted into; `None` until the chain has named one.
    #[n(0)]
    pub(crate) open: Option<Epoch>,
    /// The latest epoch that is over.
    #[n(1)]
    pub(crate) closed: Option<Epoch>,
    /// The epoch whose root is on its way to the chain.
    #[n(2)]
    pub(crate) submitted: Option<Epoch>,
    /// The latest epoch for which a root was submitted: there is no second try for the same one.
    #[n(3)]
    pub(crate) tried: Option<Epoch>,
    /// The oldest epoch that is over and was not told as closed: some of its receipts may not be written yet.
    #[n(4)]
    pub(crate) untold: Option<Epoch>,
}

/// Usage of one node that no receipt tells yet.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct MeterRow {
    #[n(0)]
    pub(crate) epoch: Epoch,
    #[n(1)]
    pub(crate) lines: Vec<MeterLine>,
}

/// One line of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct MeterLine {
    #[n(0)]
    pub(crate) payee: Address,
    #[n(1)]
    pub(crate) line: UsageLine,
}

/// What a payee has earned, and its place in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct PayeeRow {
    #[n(0)]
    pub(crate) index: u64,
    #[n(1)]
    pub(crate) cumulative: Amount,
}

/// A receipt that its node has not answered.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Offer {
    #[n(0)]
    pub(crate) receipt: Receipt,
    #[n(1)]
    pub(crate) usage: UsageStatement,
}

/// Where a root is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum RootStanding {
    #[n(0)]
    Submitted,
    #[n(1)]
    Pending,
    #[n(2)]
    Final,
    #[n(3)]
    Vetoed,
    #[n(4)]
    Failed,
}

/// A root that was submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct EpochRoot {
    #[n(0)]
    pub(crate) root: Digest,
    #[n(1)]
    pub(crate) total: Amount,
    #[n(2)]
    pub(crate) depth: u8,
    #[n(3)]
    pub(crate) proven: Epoch,
    #[n(4)]
    pub(crate) standing: RootStanding,
    /// The first epoch whose receipts it adds to the root before it.
    #[n(5)]
    pub(crate) covers_from: Option<Epoch>,
    /// Rows that its leaves take; without it they are one row, under [`root_key`].
    #[n(6)]
    pub(crate) pages: Option<u32>,
}

impl EpochRoot {
    /// Keys of all its rows.
    pub(crate) fn keys(&self, epoch: Epoch) -> Vec<Vec<u8>> {
        match self.pages {
            Some(pages) => (0..pages).map(|page| root_page_key(epoch, page)).collect(),
            None => vec![root_key(epoch)],
        }
    }
}

/// An epoch that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(crate) struct EpochRow {
    #[n(0)]
    pub(crate) receipts: u64,
    #[n(1)]
    pub(crate) amount: Amount,
    #[n(2)]
    pub(crate) root: Option<EpochRoot>,
}

/// An order that was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct OrderRow {
    #[n(0)]
    pub(crate) task: TaskId,
    /// Unix seconds: afterwards the order cannot be used again anyway.
    #[n(1)]
    pub(crate) deadline: u64,
}

/// A receipt as it is kept. The orchestrator's signature is made when it is asked for: a new key makes it anew.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ReceiptRow {
    /// The receipt.
    #[n(0)]
    pub receipt: Receipt,
    /// The usage that it pays.
    #[n(1)]
    pub usage: UsageStatement,
    /// The node's signature, verified.
    #[n(2)]
    pub node_signature: Option<EthereumSignature>,
    /// Why the node did not sign.
    #[n(3)]
    pub refused: Option<ErrorCode>,
}

/// Leaves of a root, by place: a page of them ([`root_page_key`]).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RootRow {
    /// Leaves, at most [`LEAVES_IN_PAGE`].
    #[n(0)]
    pub leaves: Vec<EarningsLeaf>,
}

/// Key of a receipt. Its first eight bytes are the epoch.
pub fn receipt_key(epoch: Epoch, node: NodeId, payee: Address) -> Vec<u8> {
    let mut key = epoch.0.to_be_bytes().to_vec();
    key.extend(node.0.0);
    key.extend(payee.0);
    key
}

/// Leaves in one row: a row stays small, however many payees there are.
pub const LEAVES_IN_PAGE: usize = 10_000;

/// What the keys of all rows of a root begin with. Before there were pages it was the key of the only row.
pub fn root_key(epoch: Epoch) -> Vec<u8> {
    epoch.0.to_be_bytes().to_vec()
}

/// Key of a page of a root's leaves; pages count from 0.
pub fn root_page_key(epoch: Epoch, page: u32) -> Vec<u8> {
    let mut key = root_key(epoch);
    key.extend(page.to_be_bytes());
    key
}

pub(crate) fn read_epoch_key(key: &[u8]) -> Option<Epoch> {
    Some(Epoch(u64::from_be_bytes(key.try_into().ok()?)))
}

pub(crate) fn read_address_key(key: &[u8]) -> Option<Address> {
    Some(Address(key.try_into().ok()?))
}

pub(crate) fn read_digest_key(key: &[u8]) -> Option<Digest> {
    Some(Digest(key.try_into().ok()?))
}
