//! The tokens.

use super::sentence::{Sentence, sentence};
use crate::failure::Kind::{Conflict, Denied, Usage};

pub(super) const SENTENCES: [Sentence; 11] = [
    sentence(
        "ERC20InsufficientAllowance",
        Conflict,
        "{spender} may take {allowance:tokens}, {needed:tokens} are needed",
        "send the approval first",
    ),
    sentence(
        "ERC20InsufficientBalance",
        Conflict,
        "{sender} has {balance:tokens}, {needed:tokens} are needed",
        "send it tokens first: `lode chain balance ADDRESS` shows what it has",
    ),
    sentence("ERC20InvalidApprover", Usage, "{approver} cannot approve anything", "use another address"),
    sentence("ERC20InvalidReceiver", Usage, "{receiver} cannot have tokens", "use another address"),
    sentence("ERC20InvalidSender", Usage, "{sender} cannot send tokens", "use another address"),
    sentence("ERC20InvalidSpender", Usage, "{spender} cannot be approved", "use another address"),
    sentence(
        "ERC2612ExpiredSignature",
        Conflict,
        "the permit ran out {deadline:time}",
        "sign anew, with a later --deadline",
    ),
    sentence(
        "ERC2612InvalidSigner",
        Denied,
        "the permit is signed by {signer}, not by {owner}",
        "sign it with the key of {owner}; a permit counts for one amount, one nonce and one contract",
    ),
    sentence(
        "InvalidAccountNonce",
        Conflict,
        "the permit of {account} was used; its next nonce is {currentNonce}",
        "sign anew",
    ),
    sentence("OwnableInvalidOwner", Usage, "{owner} cannot own the token", "use another address"),
    sentence(
        "OwnableUnauthorizedAccount",
        Denied,
        "{account} does not own the token: only its owner makes tokens",
        "use the key that deployed it",
    ),
];
