//! `Rewards`.

use super::sentence::{Sentence, sentence};
use crate::failure::Kind::{Conflict, Denied, Failed, NotFound, Usage};

pub(super) const SENTENCES: [Sentence; 28] = [
    sentence(
        "NoRewardToken",
        NotFound,
        "there is no pool {poolId} that pays in a token",
        "see `lode pool show {poolId}`; the reward token is chosen when a pool is created",
    ),
    sentence(
        "TransferFailed",
        Failed,
        "the token {token} refused to pay {amount:reward} to {to}; nothing was recorded",
        "ask the token's issuer whether {to} may have it, and try again",
    ),
    sentence(
        "NotOrchestrator",
        Denied,
        "{caller} is not the orchestrator of pool {poolId}",
        "only the pool's orchestrator posts roots",
    ),
    sentence(
        "InsufficientBudget",
        Conflict,
        "pool {poolId} has {free:reward} that are not promised, {required:reward} are needed",
        "fund it: `lode pool fund {poolId} AMOUNT`",
    ),
    sentence(
        "BudgetTooLarge",
        Conflict,
        "pool {poolId} would hold {given:reward}; a budget holds at most {maximum:reward} at a time",
        "fund it with less, and again when work was paid",
    ),
    sentence(
        "SpendCapExceeded",
        Conflict,
        "pool {poolId} may promise {allowed:reward} now, this would be {increase:reward}",
        "its owner allows more with `lode pool spend-cap {poolId} AMOUNT`, or it waits for the next epoch",
    ),
    sentence(
        "EpochAlreadyPosted",
        Conflict,
        "roots come in the order of epochs: {latest} was posted, {epoch} is not later",
        "receipts that were left out are paid with `lode provider redeem`",
    ),
    sentence(
        "PostingDeadlinePassed",
        Conflict,
        "the time to post the root of epoch {epoch} ended {deadline:time}",
        "post a later epoch: its root covers everything before",
    ),
    sentence(
        "RootIsPending",
        Conflict,
        "the veto window of pool {poolId}'s root of epoch {epoch} ends {finalAt:time}",
        "come back then",
    ),
    sentence(
        "RootNotPending",
        Conflict,
        "the root of epoch {epoch} of pool {poolId} is not in its veto window",
        "see `lode pool budget {poolId}`",
    ),
    sentence(
        "RootNotFinal",
        Conflict,
        "the root of epoch {epoch} of pool {poolId} is {state:root-state}",
        "claim under a final one: leave --epoch out",
    ),
    sentence(
        "NotProven",
        Conflict,
        "the validators' root of epoch {provenEpoch} does not vouch for the work: there is none, or it is too old",
        "use a later epoch in which the validators agreed",
    ),
    sentence("InvalidDepth", Usage, "a tree of height {depth} is too high", "use versions that fit"),
    sentence(
        "TotalDecreased",
        Denied,
        "the total of a root never shrinks: it was {previous:reward}, now {given:reward}",
        "restore the orchestrator's data directory: it has forgotten what it owes",
    ),
    sentence(
        "InvalidClaimProof",
        Denied,
        "the path does not lead from {payee}'s leaf to the root of epoch {epoch} of pool {poolId}",
        "fetch the receipts of that epoch again",
    ),
    sentence(
        "NothingToClaim",
        Conflict,
        "{payee} has nothing to claim from pool {poolId}: {paid:reward} were paid, the root says {cumulative:reward}",
        "wait for a later root: `lode provider earnings` shows what is to come",
    ),
    sentence(
        "NothingTaken",
        Conflict,
        "the later root of pool {poolId} takes nothing away at place {index}",
        "nothing is to be done",
    ),
    sentence(
        "NoVotingWeight",
        Denied,
        "the bond of {validator} does not count",
        "only validators whose bond counts can veto",
    ),
    sentence("AlreadyVoted", Conflict, "{validator} has vetoed already", "nothing is to be done"),
    sentence(
        "InvalidOrchestratorSignature",
        Denied,
        "the receipt is not signed by the orchestrator of pool {poolId}",
        "use a receipt as the pool gave it; one of a replaced orchestrator key does not count",
    ),
    sentence(
        "InvalidNodeSignature",
        Denied,
        "the receipt is not signed by node {node}",
        "use a receipt as the node's worker kept it",
    ),
    sentence(
        "PostingStillOpen",
        Conflict,
        "the time to post epoch {epoch} ends {deadline:time}: the receipt may yet be paid by a root",
        "come back then",
    ),
    sentence(
        "RedemptionIsPending",
        Conflict,
        "a receipt of {payee} is being redeemed from pool {poolId}; it is paid {payableAt:time}",
        "then run `lode provider redeem --settle`",
    ),
    sentence(
        "NoRedemption",
        NotFound,
        "no receipt of {payee} is being redeemed from pool {poolId}",
        "begin with `lode provider redeem --receipt FILE`",
    ),
    sentence("TooEarly", Conflict, "that can be done {from:time}", "come back then"),
    sentence(
        "NothingToWithdraw",
        Conflict,
        "nothing of the budget of pool {poolId} was asked back, or nothing of it is free any more",
        "ask first: `lode pool withdraw {poolId} --request AMOUNT`",
    ),
    sentence(
        "ReceiptIsVoid",
        Denied,
        "the validators vetoed this receipt of {payee}; it never counts",
        "ask the validators why: the veto names its evidence",
    ),
    sentence(
        "PromiseExceeded",
        Conflict,
        "the roots of pool {poolId} contradict each other: {promised:reward} are promised, {required:reward} would be used",
        "ask the pool's owner; what was left out is paid with `lode provider redeem`",
    ),
];
