//! The contracts as compiled: ABI and creation code, embedded from `abi/`.

use std::sync::OnceLock;

use alloy::json_abi::JsonAbi;
use alloy::primitives::Bytes;
use serde::Deserialize;

/// One file of `abi/`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Artifact {
    pub(crate) contract_name: String,
    pub(crate) abi: JsonAbi,
    pub(crate) bytecode: Bytes,
    pub(crate) deployed_bytecode: Bytes,
    /// Where the constructor writes values into the code, in order and apart.
    pub(crate) immutable_references: Vec<ImmutableReference>,
}

/// A place in the code that holds an immutable value.
#[derive(Deserialize)]
pub(crate) struct ImmutableReference {
    pub(crate) start: usize,
    pub(crate) length: usize,
}

macro_rules! artifact {
    ($function:ident, $file:literal) => {
        pub(crate) fn $function() -> &'static Artifact {
            static PARSED: OnceLock<Artifact> = OnceLock::new();
            PARSED.get_or_init(|| {
                serde_json::from_str(include_str!(concat!("../../abi/", $file)))
                    .expect("abi files are generated, checked in, and parsed by a test")
            })
        }
    };
}

impl Artifact {
    artifact!(token, "LodeToken.json");
    artifact!(registry, "ComputeRegistry.json");
    artifact!(pools, "ComputePools.json");
    artifact!(validators, "ValidatorSet.json");

    artifact!(slashing, "Slashing.json");
    artifact!(rewards, "Rewards.json");

    pub(crate) fn all() -> [&'static Artifact; 6] {
        [
            Self::token(),
            Self::registry(),
            Self::pools(),
            Self::validators(),
            Self::slashing(),
            Self::rewards(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use alloy::primitives::B256;
    use alloy::sol_types::{SolEventInterface, SolInterface};

    use super::*;
    use crate::abi;

    #[test]
    fn every_function_and_event_that_the_client_uses_is_in_the_abi_files() {
        fn check<F: SolInterface>(artifact: &Artifact, events: &[B256]) {
            let functions: BTreeSet<[u8; 4]> =
                artifact.abi.functions().map(|function| function.selector().0).collect();
            for selector in F::selectors() {
                let shown = hex::encode(selector);
                assert!(
                    functions.contains(&selector),
                    "{}: 0x{shown} is not in the ABI",
                    artifact.contract_name
                );
            }
            let known: BTreeSet<B256> = artifact.abi.events().map(|event| event.selector()).collect();
            for event in events {
                assert!(
                    known.contains(event),
                    "an event of {} is not in the ABI: {event}",
                    artifact.contract_name
                );
            }
            assert!(artifact.bytecode.len() > 1000, "{} has no code", artifact.contract_name);
        }
        use abi::{
            ComputePools as P, ComputeRegistry as R, LodeToken as T, Rewards as W, Slashing as S,
            ValidatorSet as V,
        };
        check::<T::LodeTokenCalls>(Artifact::token(), &[]);
        check::<R::ComputeRegistryCalls>(Artifact::registry(), &topics::<R::ComputeRegistryEvents>());
        check::<P::ComputePoolsCalls>(Artifact::pools(), &topics::<P::ComputePoolsEvents>());
        check::<V::ValidatorSetCalls>(Artifact::validators(), &topics::<V::ValidatorSetEvents>());
        check::<S::SlashingCalls>(Artifact::slashing(), &topics::<S::SlashingEvents>());
        check::<W::RewardsCalls>(Artifact::rewards(), &topics::<W::RewardsEvents>());
    }

    fn topics<E: SolEventInterface + Selectors>() -> Vec<B256> {
        E::all()
    }

    /// `SolEventInterface` has no list of its events; each generated enum has a constant.
    trait Selectors {
        fn all() -> Vec<B256>;
    }

    macro_rules! selectors {
        ($($name:ty),*) => {$(
            impl Selectors for $name {
                fn all() -> Vec<B256> {
                    <$name>::SELECTORS.iter().map(|selector| B256::from(*selector)).collect()
                }
            }
        )*};
    }
    selectors!(
        abi::ComputeRegistry::ComputeRegistryEvents,
        abi::ComputePools::ComputePoolsEvents,
        abi::ValidatorSet::ValidatorSetEvents,
        abi::Slashing::SlashingEvents,
        abi::Rewards::RewardsEvents
    );

    #[test]
    fn every_event_of_the_contracts_is_known_to_the_client() {
        // A new event that nobody decodes would be lost silently.
        let known: BTreeSet<B256> = [
            topics::<abi::ComputeRegistry::ComputeRegistryEvents>(),
            topics::<abi::ComputePools::ComputePoolsEvents>(),
            topics::<abi::ValidatorSet::ValidatorSetEvents>(),
            topics::<abi::Slashing::SlashingEvents>(),
            topics::<abi::Rewards::RewardsEvents>(),
        ]
        .concat()
        .into_iter()
        .collect();
        for artifact in Artifact::all().into_iter().filter(|artifact| artifact.contract_name != "LodeToken") {
            for event in artifact.abi.events().filter(|event| event.name != "EIP712DomainChanged") {
                assert!(known.contains(&event.selector()), "{}.{}", artifact.contract_name, event.name);
            }
        }
    }
}
