//! How a validator works.

use lode_chain_types::Amount;
use lode_gpu_proof::ProofClass;
use lode_protocol::envelope::Realm;
use lode_protocol::ids::{Address, ValidatorId};
use lode_protocol::units::Millis;

/// How this validator works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address.
    pub validator: ValidatorId,
    /// Chain and deployment, without a pool: what proofs are bound to.
    pub realm: Realm,
    /// The contract that takes bonds of accusers.
    pub slashing: Address,
    /// Class that is proven.
    pub class: ProofClass,
    /// Epochs a proof counts; 0 is as many as the contract allows.
    pub validity_epochs: u64,
    /// Wait after a run without success; it doubles while a node keeps failing.
    pub retry: Millis,
    /// Runs at once.
    pub concurrent_runs: usize,
    /// Looks at pools' roots at once, and as many at redemptions.
    pub concurrent_audits: usize,
    /// Whether and how forgers are accused.
    pub accusing: Option<Accusing>,
}

/// How forgers are accused. Bonds are money, so this is never a default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accusing {
    /// Stake to accuse for; less where the contract allows less.
    pub amount: Amount,
    /// Where `/evidence/…` of this validator is served to others.
    pub public_url: String,
    /// Most accusations under way, each with its bond.
    pub most_open: usize,
}
