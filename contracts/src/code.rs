//! Whether what stands at an address is one of our contracts.
//!
//! Two comparisons, because neither replaces the other. The hash that was recorded when the contracts were deployed
//! covers every byte, immutable values included: it tells whether this is *that* deployment. The comparison with the
//! compiled artifact leaves the places of immutable values out and needs to trust no file: it tells whether this is
//! *our* source. A recorded hash decides, so that a client built from later sources goes on working with contracts that
//! stand; where none is recorded, the artifact decides.

use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::Address;
use serde::Serialize;

use crate::artifact::Artifact;
use crate::deployment::Deployment;
use crate::error::ChainError;

/// What stands at a contract's address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CodeReport {
    /// The contract's name.
    pub contract: &'static str,
    /// Where it should be.
    pub address: Address,
    /// keccak-256 of the code there; `None` when there is none.
    pub code_hash: Option<Digest>,
    /// Whether that is the hash that was recorded at the deployment; `None` when none was.
    pub as_recorded: Option<bool>,
    /// Whether the code is what this client's sources compile to, but for immutable values.
    pub as_compiled: bool,
}

impl CodeReport {
    pub(crate) fn new(
        deployment: &Deployment,
        artifact: &Artifact,
        place: (&'static str, Address),
        code: &[u8],
    ) -> Self {
        let (contract, address) = place;
        let code_hash = (!code.is_empty()).then(|| keccak256(code));
        let recorded = deployment.code_hashes.get(contract);
        CodeReport {
            contract,
            address,
            code_hash,
            as_recorded: recorded.map(|recorded| Some(*recorded) == code_hash),
            as_compiled: is_built_from(artifact, code),
        }
    }

    /// An error unless the contract can be used.
    pub fn verdict(&self) -> Result<(), ChainError> {
        let CodeReport { contract, address, .. } = *self;
        if self.code_hash.is_none() {
            return Err(ChainError::NoContract { contract, address });
        }
        if self.as_recorded.unwrap_or(self.as_compiled) {
            return Ok(());
        }
        Err(ChainError::WrongCode { contract, address })
    }
}

/// Whether the code is what the artifact compiles to, whatever its immutable values are.
pub(crate) fn is_built_from(artifact: &Artifact, code: &[u8]) -> bool {
    let expected = artifact.deployed_bytecode.as_ref();
    if expected.len() != code.len() {
        return false;
    }
    let mut at = 0;
    for immutable in &artifact.immutable_references {
        if immutable.start < at || expected.get(at..immutable.start) != code.get(at..immutable.start) {
            return false;
        }
        at = immutable.start.saturating_add(immutable.length);
    }
    expected.get(at..) == code.get(at..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_and_artifacts_stand_in_the_same_order() {
        let address = Address([1; 20]);
        let deployment = Deployment {
            chain_id: lode_protocol::ids::ChainId(1),
            block: 0,
            rpc_url: None,
            token: address,
            registry: address,
            pools: address,
            validators: address,
            slashing: address,
            rewards: address,
            commit: None,
            code_hashes: Default::default(),
        };
        let names = deployment.contracts().map(|(name, _)| name);
        assert_eq!(names, Artifact::all().map(|artifact| artifact.contract_name.as_str()));
    }

    #[test]
    fn a_recorded_hash_decides_and_without_one_the_artifact_does() {
        let report = |code_hash, as_recorded, as_compiled| CodeReport {
            contract: "Rewards",
            address: Address([1; 20]),
            code_hash,
            as_recorded,
            as_compiled,
        };
        let there = Some(Digest([2; 32]));
        assert_eq!(report(there, Some(true), false).verdict(), Ok(()));
        assert_eq!(report(there, None, true).verdict(), Ok(()));
        for wrong in [report(there, Some(false), true), report(there, None, false)] {
            assert!(matches!(wrong.verdict(), Err(ChainError::WrongCode { contract: "Rewards", .. })));
        }
        assert!(matches!(report(None, Some(false), false).verdict(), Err(ChainError::NoContract { .. })));
    }

    #[test]
    fn code_differs_from_its_artifact_in_immutable_values_only() {
        for artifact in Artifact::all() {
            let compiled = artifact.deployed_bytecode.to_vec();
            assert!(is_built_from(artifact, &compiled), "{}", artifact.contract_name);
            let Some(immutable) = artifact.immutable_references.first() else { continue };
            let mut with_value = compiled.clone();
            with_value[immutable.start + immutable.length - 1] = 0x2a;
            assert!(is_built_from(artifact, &with_value));
            let mut bent = compiled.clone();
            bent[immutable.start - 1] ^= 1;
            assert!(!is_built_from(artifact, &bent));
            *bent.last_mut().unwrap() ^= 1;
            assert!(!is_built_from(artifact, &bent));
            assert!(!is_built_from(artifact, &compiled[..compiled.len() - 1]));
            assert!(!is_built_from(artifact, &[]));
        }
    }
}
