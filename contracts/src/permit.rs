//! Permits of the token (ERC-2612): registering and staking in one transaction.

use alloy::sol_types::{Eip712Domain, SolStruct as _};
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;

use crate::Permit;
use crate::abi;
use crate::convert::{from_word, to_address, to_u256};
use crate::deployment::Deployment;

/// What the owner of tokens signs, so that `spender` may take `amount` of them until `deadline` (unix seconds).
///
/// The token is LodeToken: its EIP-712 domain has the name "Lode Token" and version "1".
pub fn permit_digest(
    deployment: &Deployment,
    owner: Address,
    spender: Address,
    amount: Amount,
    nonce: u64,
    deadline: u64,
) -> Digest {
    let domain = Eip712Domain::new(
        Some("Lode Token".into()),
        Some("1".into()),
        Some(alloy::primitives::U256::from(deployment.chain_id.0)),
        Some(to_address(deployment.token)),
        None,
    );
    let permit = abi::Permit {
        owner: to_address(owner),
        spender: to_address(spender),
        value: to_u256(amount),
        nonce: alloy::primitives::U256::from(nonce),
        deadline: alloy::primitives::U256::from(deadline),
    };
    from_word(permit.eip712_signing_hash(&domain))
}

/// The owner's permit for one of the deployment's contracts.
pub fn sign_permit(
    deployment: &Deployment,
    owner: &SigningKey,
    spender: Address,
    amount: Amount,
    nonce: u64,
    deadline: u64,
) -> Permit {
    let digest = permit_digest(deployment, owner.address(), spender, amount, nonce, deadline);
    Permit { deadline, signature: owner.sign_recoverable(&digest) }
}
