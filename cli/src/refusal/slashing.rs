//! `Slashing`.

use super::sentence::{Sentence, sentence};
use crate::failure::Kind::{Conflict, Denied, NotFound, Usage};

pub(super) const SENTENCES: [Sentence; 14] = [
    sentence(
        "UnbondingTooShort",
        Usage,
        "stake could leave before it is judged: the unbonding time is {delay:seconds}, at least {required:seconds} are needed",
        "choose a longer --unbonding, or shorter phases",
    ),
    sentence("InvalidOffence", Usage, "that is no offence", "`lode validator accuse --help` lists them"),
    sentence("SelfAccusation", Denied, "{provider} cannot accuse itself", "use another key"),
    sentence(
        "AlreadyAccused",
        Conflict,
        "node {node} is accused already of as much or more, by accusation {accusationId}",
        "see `lode validator accusations {accusationId}`; only one that asks for more can be opened beside it",
    ),
    sentence(
        "AmountTooLarge",
        Usage,
        "{amount:tokens} are more than one accusation can take: {maximum:tokens} at most",
        "give a smaller --amount",
    ),
    sentence(
        "AccusationNotFound",
        NotFound,
        "there is no accusation {accusationId}",
        "run `lode validator accusations`",
    ),
    sentence(
        "WrongPhase",
        Conflict,
        "accusation {accusationId} is {actual:phase}: this is not the time for that",
        "`lode validator accusations {accusationId}` shows when what can be done",
    ),
    sentence(
        "NotAccused",
        Denied,
        "accusation {accusationId} is not against {caller}",
        "the accused provider's key answers",
    ),
    sentence(
        "AlreadyAnswered",
        Conflict,
        "accusation {accusationId} was answered; that is done once",
        "nothing is to be done",
    ),
    sentence(
        "InvalidAnswerSignature",
        Denied,
        "the answer to accusation {accusationId} is not signed by the accused provider",
        "sign what `lode provider answer --typed-data` prints with the provider's key",
    ),
    sentence(
        "NoVote",
        Denied,
        "{validator} has no vote about accusation {accusationId}: it is the accuser, or its bond did not count then",
        "nothing is to be done",
    ),
    sentence(
        "AlreadyVoted",
        Conflict,
        "{validator} has voted about accusation {accusationId}; that is done once",
        "nothing is to be done",
    ),
    sentence(
        "TreasuryCannotAccuse",
        Denied,
        "{treasury} is the treasury, which accuses nobody: it would be paid all that is slashed",
        "use another key",
    ),
    sentence("NothingOwed", Conflict, "nothing is owed to {to}", "nothing is to be done"),
];
