//! `ComputeRegistry`, and what all contracts that hold stake have in common.

use super::sentence::{Sentence, sentence};
use crate::failure::Kind::{Conflict, Denied, Failed, NotFound, Usage};

pub(super) const SENTENCES: [Sentence; 32] = [
    sentence(
        "NotDeployer",
        Denied,
        "only the account that deployed the contracts may say who slashes, {caller} is another",
        "use the key of the deployment",
    ),
    sentence(
        "SlasherAlreadySet",
        Conflict,
        "{slasher} slashes already; that never changes",
        "nothing is to be done",
    ),
    sentence(
        "NotSlasher",
        Denied,
        "only the slashing contract may do this, {caller} is another",
        "accuse instead: `lode validator accuse`",
    ),
    sentence(
        "StakeIsLocked",
        Conflict,
        "accusations hold {locked:tokens} of the provider's stake, {available:tokens} of it can move",
        "see `lode provider status`, and answer what is open: `lode provider answer`",
    ),
    sentence(
        "InvalidUnbondingDelay",
        Usage,
        "an unbonding time of {given:seconds} is not allowed: it must be longer than none and at most {maximum:seconds}",
        "choose another with --unbonding",
    ),
    sentence(
        "InvalidMinimumStake",
        Usage,
        "the stake per unit cannot be used",
        "choose another with --stake-per-unit",
    ),
    sentence(
        "ProviderAlreadyRegistered",
        Conflict,
        "{provider} is a provider already",
        "add to its stake with `lode provider stake`",
    ),
    sentence(
        "ProviderNotRegistered",
        NotFound,
        "{provider} is not a provider",
        "register it first: `lode provider register --stake AMOUNT`",
    ),
    sentence(
        "InsufficientStake",
        Conflict,
        "a stake of {stake:tokens} does not suffice: {required:tokens} are needed for the units of the provider's nodes",
        "stake more (`lode provider stake`), or release nodes first (`lode provider remove`)",
    ),
    sentence(
        "NothingUnbonding",
        Conflict,
        "nothing of the stake of {provider} is on its way out",
        "ask for some first: `lode provider unstake AMOUNT`",
    ),
    sentence(
        "StillUnbonding",
        Conflict,
        "the unbonding time is not over: the stake can be withdrawn {releaseAt:time}",
        "come back then, with `lode provider withdraw`",
    ),
    sentence("ZeroUnits", Usage, "a node counts at least one unit", "give --units 1 or more"),
    sentence(
        "NodeAlreadyRegistered",
        Conflict,
        "node {node} serves provider {provider} already",
        "that provider releases it with `lode provider remove`; nobody else can",
    ),
    sentence(
        "NotNodeProvider",
        Denied,
        "node {node} does not serve {caller}; its provider is {provider}",
        "check the node's address and the key",
    ),
    sentence(
        "WrongProvider",
        Denied,
        "the node consented to {given}, not to {expected}",
        "on the node, run `lode-worker init --provider {expected}` again",
    ),
    sentence(
        "SignatureExpired",
        Conflict,
        "the signature ran out {deadline:time}",
        "sign anew, with a later --deadline",
    ),
    sentence(
        "WrongConsentNonce",
        Conflict,
        "the consent of node {node} was used, or is for another registration: its nonce is {given}, the chain wants {expected}",
        "on the node, run `lode-worker init` again",
    ),
    sentence(
        "WrongAuthorizationNonce",
        Conflict,
        "the provider's authorisation was used or revoked: its nonce is {given}, the chain wants {expected}",
        "sign a new one: `lode provider authorize --typed-data`",
    ),
    sentence(
        "InvalidConsentSignature",
        Denied,
        "the consent is not signed by node {node}",
        "on the node, run `lode-worker init` again",
    ),
    sentence(
        "InvalidAuthorizationSignature",
        Denied,
        "the authorisation is not signed by provider {provider}",
        "sign what `lode provider authorize --typed-data` prints with the provider's key",
    ),
    sentence("ZeroAmount", Usage, "the amount is zero", "give an amount above zero"),
    sentence(
        "InsufficientAllowance",
        Conflict,
        "{owner} lets the contract take {allowance:tokens}, {required:tokens} are needed",
        "send the approval first; a permit that was used or changed does not count",
    ),
    sentence(
        "InexactTransfer",
        Failed,
        "the token moved another amount than asked for (a fee on transfer?)",
        "such a token cannot be used here",
    ),
    sentence("ZeroAddress", Usage, "{parameter} must not be the zero address", "give an address"),
    // Of the libraries that the contracts are built on.
    sentence(
        "SafeERC20FailedOperation",
        Denied,
        "the token {token} refused to move",
        "check the balance: `lode chain balance`",
    ),
    sentence(
        "SafeCastOverflowedUintDowncast",
        Usage,
        "{value} does not fit {bits} bits",
        "give a smaller number",
    ),
    sentence("CheckpointUnorderedInsertion", Failed, "the contract's history is out of order", "report it"),
    sentence("InvalidShortString", Failed, "a text of the contract cannot be read", "report it"),
    sentence("StringTooLong", Usage, "the text {str} is too long", "give a shorter one"),
    sentence("ECDSAInvalidSignature", Denied, "the signature is none", "paste all of it: 0x and 130 digits"),
    sentence(
        "ECDSAInvalidSignatureLength",
        Denied,
        "a signature of {length} bytes is none",
        "paste all of it: 0x and 130 digits",
    ),
    sentence(
        "ECDSAInvalidSignatureS",
        Denied,
        "the signature has a high s (EIP-2): another of the same meaning exists",
        "sign again with a wallet that gives low s",
    ),
];
