//! Calls of `Slashing` and `Rewards`.

use alloy::primitives::Bytes;
use lode_protocol::settlement::Receipt;

use super::encode::{encode, split};
use super::{ClaimItem, Intent};
use crate::abi::{Rewards, Slashing};
use crate::convert::{to_address, to_bytes, to_u256, to_word};
use crate::earnings_tree::path_bytes;
use crate::record::Offence;

impl Intent {
    pub(super) fn slashing_call(&self) -> Bytes {
        match self {
            Intent::Accuse { provider, node, offence, amount, evidence, uri } => {
                encode(Slashing::accuseCall {
                    provider: to_address(provider.0),
                    node: to_address(node.0),
                    offence: to_offence(*offence),
                    amount: amount.0,
                    evidenceHash: to_word(*evidence),
                    evidenceUri: uri.clone(),
                })
            }
            Intent::AnswerAccusation { id, answer, uri } => encode(Slashing::answerCall {
                accusationId: id.0,
                answerHash: to_word(*answer),
                answerUri: uri.clone(),
            }),
            Intent::AnswerAccusationBySignature { statement, signature } => {
                encode(Slashing::answerBySignatureCall {
                    accusationId: statement.accusation.0,
                    answerHash: to_word(statement.answer),
                    answerUri: statement.uri.clone(),
                    deadline: statement.deadline,
                    signature: to_bytes(signature),
                })
            }
            Intent::VoteAccusation { id, guilty } => {
                encode(Slashing::voteCall { accusationId: id.0, guilty: *guilty })
            }
            Intent::CollectOwed { to } => encode(Slashing::collectCall { to: to_address(*to) }),
            Intent::ResolveAccusation { id } => encode(Slashing::resolveCall { accusationId: id.0 }),
            _ => Bytes::new(), // `call` sends only the slasher's intents here
        }
    }

    pub(super) fn rewards_call(&self) -> Bytes {
        match self {
            Intent::FundPool { pool, amount, permit: None } => {
                encode(Rewards::fundCall { poolId: pool.0, amount: to_u256(*amount) })
            }
            Intent::FundPool { pool, amount, permit } => {
                let (deadline, v, r, s) = split(permit);
                let amount = to_u256(*amount);
                encode(Rewards::fundWithPermitCall { poolId: pool.0, amount, deadline, v, r, s })
            }
            Intent::SetSpendCap { pool, cap } => {
                encode(Rewards::setSpendCapCall { poolId: pool.0, spendCap: cap.0 })
            }
            Intent::RequestBudgetWithdrawal { pool, amount } => {
                encode(Rewards::requestWithdrawalCall { poolId: pool.0, amount: amount.0 })
            }
            Intent::WithdrawBudget { pool, to } => {
                encode(Rewards::withdrawCall { poolId: pool.0, to: to_address(*to) })
            }
            Intent::PostRoot { pool, epoch, root, total, depth, proven_epoch } => {
                encode(Rewards::postRootCall {
                    poolId: pool.0,
                    epoch: epoch.0,
                    root: to_word(*root),
                    total: total.0,
                    depth: *depth,
                    provenEpoch: proven_epoch.0,
                })
            }
            Intent::VetoRoot { pool, epoch, evidence } => encode(Rewards::vetoRootCall {
                poolId: pool.0,
                epoch: epoch.0,
                evidenceHash: to_word(*evidence),
            }),
            Intent::RefuteRoot { pool, index, proven, other } => encode(Rewards::refuteRootCall {
                poolId: pool.0,
                index: *index,
                payee: to_address(proven.leaf.payee),
                cumulative: proven.leaf.cumulative.0,
                path: path_bytes(&proven.path).into(),
                otherPayee: to_address(other.leaf.payee),
                otherCumulative: other.leaf.cumulative.0,
                otherPath: path_bytes(&other.path).into(),
            }),
            Intent::Claim(item) => encode(Rewards::claimCall { item: claim(item) }),
            Intent::ClaimBatch(items) => {
                encode(Rewards::claimBatchCall { items: items.iter().map(claim).collect() })
            }
            Intent::Redeem { receipt, orchestrator_signature, node_signature } => {
                encode(Rewards::redeemCall {
                    receipt: to_receipt(receipt),
                    orchestratorSignature: to_bytes(orchestrator_signature),
                    nodeSignature: to_bytes(node_signature),
                })
            }
            Intent::VetoRedemption { pool, payee, evidence } => encode(Rewards::vetoRedemptionCall {
                poolId: pool.0,
                payee: to_address(*payee),
                evidenceHash: to_word(*evidence),
            }),
            Intent::SettleRedemption { pool, payee } => {
                encode(Rewards::settleRedemptionCall { poolId: pool.0, payee: to_address(*payee) })
            }
            _ => Bytes::new(), // `call` sends only the rewards' intents here
        }
    }
}

fn to_offence(offence: Offence) -> Slashing::Offence {
    match offence {
        Offence::ForgedProof => Slashing::Offence::ForgedProof,
        Offence::ForgedReceipt => Slashing::Offence::ForgedReceipt,
        Offence::ForeignHardware => Slashing::Offence::ForeignHardware,
    }
}

fn claim(item: &ClaimItem) -> Rewards::Claim {
    Rewards::Claim {
        poolId: item.pool.0,
        epoch: item.epoch.0,
        index: item.index,
        payee: to_address(item.payee),
        cumulative: item.cumulative.0,
        path: path_bytes(&item.path).into(),
    }
}

fn to_receipt(receipt: &Receipt) -> Rewards::Receipt {
    Rewards::Receipt {
        poolId: receipt.pool.0,
        epoch: receipt.epoch.0,
        node: to_address(receipt.node.0),
        payee: to_address(receipt.payee),
        usageHash: to_word(receipt.usage),
        amount: receipt.amount.0,
        cumulative: receipt.cumulative.0,
    }
}
