//! Evidence of a forged receipt: the receipt as the orchestrator serves it, with its usage and both signatures.
//!
//! Guilty is whoever countersigned a receipt whose own usage says otherwise. Whether the work was done cannot be seen
//! from a receipt: that is between node and orchestrator, who both signed.

use lode_contracts::{ChainError, EpochTiming};
use lode_protocol::eip712::Domain;
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::Address;
use lode_protocol::published::PublishedReceipt;

use super::Inquirer;
use crate::core::{Charge, Judgement};

/// Largest receipt that is looked at: a statement has at most a thousand lines.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Compares a receipt with a charge.
pub(super) async fn examine(
    inquirer: &Inquirer,
    charge: &Charge,
    bytes: &[u8],
) -> Result<Judgement, ChainError> {
    let published: PublishedReceipt = match serde_json::from_slice(bytes) {
        Ok(published) => published,
        Err(error) => {
            return Ok(Judgement::innocent("evidence/malformed", format!("it is no receipt: {error}")));
        }
    };
    let orchestrator = inquirer.reader.pool(published.receipt.pool).await?.map(|pool| pool.orchestrator);
    let timing = inquirer.reader.epoch_timing().await?;
    Ok(judge(charge, &published, &inquirer.deployment.rewards_domain(), orchestrator, &timing))
}

/// Pure: the same receipt gives the same judgement everywhere.
fn judge(
    charge: &Charge,
    published: &PublishedReceipt,
    domain: &Domain,
    orchestrator: Option<Address>,
    timing: &EpochTiming,
) -> Judgement {
    let PublishedReceipt { receipt, usage, orchestrator_signature, node_signature, .. } = published;
    let innocent = |code, why: &str| Judgement::innocent(code, why.to_owned());
    if receipt.node != charge.node {
        return innocent("evidence/other-node", "the receipt is of another node");
    }
    if receipt.payee != charge.provider.0 {
        return innocent("evidence/other-provider", "the receipt pays somebody else");
    }
    if timing.ends(receipt.epoch).plus(charge.detection) < charge.opened_at {
        return innocent(
            "evidence/too-old",
            "the receipt is older than an offence may be when it is accused",
        );
    }
    let digest = receipt.digest(domain);
    let by = |address: Address, signature: &lode_protocol::keys::EthereumSignature| {
        signature.recover(&digest) == Ok(address)
    };
    if !node_signature.as_ref().is_some_and(|signature| by(receipt.node.0, signature)) {
        return innocent("evidence/bad-message", "the node did not sign the receipt");
    }
    if !orchestrator.is_some_and(|address| by(address, orchestrator_signature)) {
        return innocent("evidence/bad-message", "the pool's orchestrator did not sign the receipt");
    }
    if usage.digest() != receipt.usage {
        return innocent("evidence/unbound", "the usage is not the one that the receipt names");
    }
    if usage.is_of(receipt) {
        return innocent("evidence/nothing-false", "the receipt pays what its usage says");
    }
    let deed: Digest = keccak256_of([b"Lode receipt deed v1".as_slice(), &digest.0]);
    Judgement::Guilty { deed, what: "the node signed a receipt that its own usage contradicts".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_contracts::{Amount, Epoch, Offence, timestamp_of_seconds};
    use lode_protocol::ids::{AccusationId, ChainId, NodeId, PoolId, ProviderId};
    use lode_protocol::keys::SigningKey;
    use lode_protocol::proof::ProofClassId;
    use lode_protocol::settlement::{Receipt, rewards_domain};
    use lode_protocol::units::Millis;
    use lode_protocol::usage::{UsageLine, UsageStatement};

    const TIMING: EpochTiming = EpochTiming { epoch_seconds: 60, max_validity_epochs: 3 };
    const PROVIDER: Address = Address([7; 20]);

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32]).unwrap()
    }

    fn domain() -> Domain {
        rewards_domain(ChainId(1), Address([9; 20]))
    }

    fn published(amount: Amount) -> PublishedReceipt {
        let lines = vec![UsageLine {
            class: ProofClassId(1),
            order: None,
            price_per_gpu_hour: Amount::tokens(2),
            gpu_millis: 3_600_000,
        }];
        let node = NodeId(key(1).address());
        let usage = UsageStatement { pool: PoolId(1), epoch: Epoch(5), node, payee: PROVIDER, lines };
        let receipt = Receipt {
            pool: PoolId(1),
            epoch: Epoch(5),
            node,
            payee: PROVIDER,
            usage: usage.digest(),
            amount,
            cumulative: Amount::tokens(50),
        };
        sign(receipt, usage)
    }

    fn sign(receipt: Receipt, usage: UsageStatement) -> PublishedReceipt {
        let digest = receipt.digest(&domain());
        PublishedReceipt {
            receipt,
            usage,
            orchestrator_signature: key(2).sign_recoverable(&digest),
            node_signature: Some(key(1).sign_recoverable(&digest)),
            refused: None,
        }
    }

    fn charge() -> Charge {
        Charge {
            id: AccusationId(1),
            provider: ProviderId(PROVIDER),
            node: NodeId(key(1).address()),
            accuser: Address([8; 20]),
            offence: Offence::ForgedReceipt,
            evidence: Digest::default(),
            uri: String::new(),
            opened_at: timestamp_of_seconds(400),
            detection: Millis::seconds(60),
        }
    }

    fn judged(charge: &Charge, published: &PublishedReceipt) -> Result<(), String> {
        match judge(charge, published, &domain(), Some(key(2).address()), &TIMING) {
            Judgement::Guilty { .. } => Ok(()),
            Judgement::Innocent { code, .. } => Err(code.to_string()),
        }
    }

    #[test]
    fn whoever_signs_for_more_than_its_usage_says_is_guilty_and_an_honest_receipt_is_not() {
        assert_eq!(judged(&charge(), &published(Amount::tokens(3))), Ok(()));
        assert_eq!(
            judged(&charge(), &published(Amount::tokens(2))),
            Err("evidence/nothing-false".to_owned())
        );
    }

    #[test]
    fn a_receipt_without_both_signatures_or_with_other_usage_proves_nothing() {
        let forged = published(Amount::tokens(3));
        let unsigned = PublishedReceipt { node_signature: None, ..forged.clone() };
        let by_nobody =
            PublishedReceipt { orchestrator_signature: forged.node_signature.unwrap(), ..forged.clone() };
        let by_itself =
            PublishedReceipt { node_signature: Some(forged.orchestrator_signature), ..forged.clone() };
        for receipt in [unsigned, by_nobody, by_itself] {
            assert_eq!(judged(&charge(), &receipt), Err("evidence/bad-message".to_owned()));
        }
        let other = PublishedReceipt {
            usage: UsageStatement { lines: Vec::new(), ..forged.usage.clone() },
            ..forged
        };
        assert_eq!(judged(&charge(), &other), Err("evidence/unbound".to_owned()));
    }

    #[test]
    fn a_receipt_of_others_or_of_long_ago_proves_nothing() {
        let forged = published(Amount::tokens(3));
        let cases = [
            (Charge { node: NodeId(PROVIDER), ..charge() }, "evidence/other-node"),
            (Charge { provider: ProviderId(Address([1; 20])), ..charge() }, "evidence/other-provider"),
            (Charge { opened_at: timestamp_of_seconds(421), ..charge() }, "evidence/too-old"),
        ];
        for (charge, code) in cases {
            assert_eq!(judged(&charge, &forged), Err(code.to_owned()));
        }
    }
}
