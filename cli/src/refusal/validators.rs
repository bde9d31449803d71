//! `ValidatorSet`.

use super::sentence::{Sentence, sentence};
use crate::failure::Kind::{Conflict, Denied, NotFound, Usage};

pub(super) const SENTENCES: [Sentence; 25] = [
    sentence("InvalidParameter", Usage, "{parameter} cannot be {given}", "choose another value"),
    sentence(
        "ValidatorAlreadyRegistered",
        Conflict,
        "{validator} is a validator already",
        "add to its bond with `lode validator stake`",
    ),
    sentence(
        "ValidatorNotRegistered",
        NotFound,
        "{validator} is not a validator",
        "register it first: `lode validator register --bond AMOUNT --endpoint ENDPOINT`",
    ),
    sentence(
        "ValidatorExiting",
        Conflict,
        "validator {validator} leaves: its bond can be withdrawn {exitAt:time}",
        "after `lode validator withdraw` it can register again",
    ),
    sentence(
        "NotExiting",
        Conflict,
        "validator {validator} has not asked to leave",
        "ask first: `lode validator exit`",
    ),
    sentence(
        "StillBonded",
        Conflict,
        "the bond can be withdrawn {exitAt:time}",
        "come back then, with `lode validator withdraw`",
    ),
    sentence(
        "InsufficientStake",
        Usage,
        "a bond of {given:tokens} is too small: {minimum:tokens} at least",
        "give a larger --bond",
    ),
    sentence(
        "WrongEpoch",
        Conflict,
        "the call is about epoch {given}, it is epoch {current}",
        "try in the right epoch: `lode chain info` says which one runs",
    ),
    sentence(
        "CommitPhaseOver",
        Conflict,
        "the commit phase of epoch {epoch} ended {until:time}",
        "commit in the first half of the next epoch",
    ),
    sentence(
        "RevealPhaseNotBegun",
        Conflict,
        "the reveal phase of epoch {epoch} begins {from:time}",
        "reveal in the second half of the epoch",
    ),
    sentence(
        "NoWeight",
        Denied,
        "the bond of {validator} does not count in epoch {epoch}",
        "it counts from the epoch after it was staked",
    ),
    sentence(
        "AlreadyCommitted",
        Conflict,
        "{validator} has committed in epoch {epoch}",
        "nothing is to be done",
    ),
    sentence(
        "NotCommitted",
        Conflict,
        "{validator} has not committed in epoch {epoch}",
        "nothing is to be done",
    ),
    sentence(
        "WrongReveal",
        Denied,
        "what is revealed does not hash to {committed}",
        "reveal the root and salt of the commitment",
    ),
    sentence(
        "BeaconAlreadyDrawn",
        Conflict,
        "the beacon of epoch {epoch} is drawn already",
        "nothing is to be done",
    ),
    sentence("NoBeacon", Conflict, "epoch {epoch} has no beacon", "draw it in the first half of the epoch"),
    sentence(
        "EpochNotOver",
        Conflict,
        "epoch {epoch} is not over; it is epoch {current}",
        "come back when it is over",
    ),
    sentence("ZeroDigest", Usage, "a hash must not be zero", "give the hash of something"),
    sentence(
        "RootNotAccepted",
        Conflict,
        "the validators agreed on no root in epoch {epoch}",
        "use an epoch with an accepted root",
    ),
    sentence(
        "InvalidProof",
        Denied,
        "the path does not lead from node {node}'s leaf to the root of epoch {epoch}",
        "use leaf and path of that epoch",
    ),
    sentence(
        "StaleProof",
        Conflict,
        "a leaf of node {node} of epoch {recordedEpoch} was shown already; this one is of epoch {givenEpoch}",
        "nothing is to be done",
    ),
    sentence(
        "ProofExpired",
        Conflict,
        "the proof of node {node} counted until epoch {expiryEpoch}; it is epoch {currentEpoch}",
        "the validators prove it again by themselves",
    ),
    sentence(
        "ExpiryTooFar",
        Denied,
        "the proof of node {node} says that it counts until epoch {expiryEpoch}; epoch {maximum} is the latest allowed",
        "the validators agreed on something senseless: report it",
    ),
    sentence(
        "NodeNotRegistered",
        NotFound,
        "node {node} is not registered",
        "its provider does it with `lode provider authorize`",
    ),
    sentence(
        "LengthMismatch",
        Usage,
        "{leaves} leaves came with {paths} paths",
        "give one path for each leaf",
    ),
];
