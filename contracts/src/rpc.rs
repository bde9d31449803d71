//! The real chain: JSON-RPC over HTTP. Every request has a deadline; every failure is classified.

mod logs;
mod reader;
mod simulate;
mod token;
mod transport;
mod writer;

use std::collections::BTreeSet;
use std::time::Duration;

use lode_protocol::ids::{Address, ChainId, ValidatorId};
use tokio::sync::{Mutex, OnceCell};

use self::logs::LogHabits;
use crate::ChainCursor;
use crate::EpochTiming;
use crate::artifact::Artifact;
use crate::code::CodeReport;
use crate::convert::to_address;
use crate::deployment::Deployment;
use crate::error::ChainError;
use crate::{SettlementParameters, SlashingParameters, StakingParameters};
pub use simulate::Simulated;
pub use token::TokenInfo;
pub(crate) use transport::{CallRequest, Transport};
pub(crate) use writer::{sign, unsigned};

/// How the code of an account with a key begins that delegates to a contract, and its length (EIP-7702).
const DELEGATION: [u8; 3] = [0xef, 0x01, 0x00];
const DELEGATION_BYTES: usize = 23;

/// How to talk to the chain's RPC.
#[derive(Clone, PartialEq, Eq)]
pub struct RpcConfig {
    /// HTTP(S) URL. May carry a key: it is never logged.
    pub url: String,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Most calls in one request.
    pub batch_size: usize,
    /// Most blocks in one request for events. Where the RPC allows fewer, fewer are asked for.
    pub max_range: u64,
}

impl RpcConfig {
    /// The usual limits.
    pub fn new(url: impl Into<String>) -> Self {
        RpcConfig { url: url.into(), timeout: Duration::from_secs(10), batch_size: 100, max_range: 2000 }
    }
}

impl std::fmt::Debug for RpcConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcConfig").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The contracts of one deployment, behind an RPC.
#[derive(Debug)]
pub struct RpcChain {
    transport: Transport,
    deployment: Deployment,
    logs: LogHabits,
    verified: OnceCell<()>,
    timing: OnceCell<EpochTiming>,
    terms: OnceCell<StakingParameters>,
    slashing_terms: OnceCell<SlashingParameters>,
    settlement_terms: OnceCell<SettlementParameters>,
    known_validators: Mutex<Option<KnownValidators>>,
}

/// Who ever registered as a validator, up to a block.
#[derive(Debug, Clone)]
struct KnownValidators {
    seen: ChainCursor,
    ids: BTreeSet<ValidatorId>,
}

impl RpcChain {
    /// Prepares the connection; does no I/O. A rustls crypto provider must be installed.
    pub fn new(config: RpcConfig, deployment: Deployment) -> Result<Self, ChainError> {
        deployment.validate().map_err(|error| ChainError::Invalid { detail: error.to_string() })?;
        Ok(RpcChain {
            logs: LogHabits::new(config.max_range),
            transport: Transport::new(&config)?,
            deployment,
            verified: OnceCell::new(),
            timing: OnceCell::new(),
            terms: OnceCell::new(),
            slashing_terms: OnceCell::new(),
            settlement_terms: OnceCell::new(),
            known_validators: Mutex::new(None),
        })
    }

    /// The transport, once it is known to serve the right chain.
    async fn verified(&self) -> Result<&Transport, ChainError> {
        self.verified.get_or_try_init(|| self.check()).await?;
        Ok(&self.transport)
    }

    /// Asks for the chain's id and looks at the code at every address.
    async fn check(&self) -> Result<(), ChainError> {
        let got = self.transport.chain_id().await?;
        let expected = self.deployment.chain_id;
        if got != expected {
            return Err(ChainError::WrongChain { expected, got });
        }
        self.code_reports().await?.iter().try_for_each(CodeReport::verdict)
    }

    /// Whether an account is a contract, so that it has no key to sign with. One that delegates to code (EIP-7702) has one.
    pub async fn is_contract(&self, account: Address) -> Result<bool, ChainError> {
        let code = self.verified().await?.code(to_address(account)).await?;
        let delegates = code.len() == DELEGATION_BYTES && code.starts_with(&DELEGATION);
        Ok(!code.is_empty() && !delegates)
    }

    /// What stands at the contracts' addresses.
    pub async fn code_reports(&self) -> Result<Vec<CodeReport>, ChainError> {
        let mut reports = Vec::new();
        for (place, artifact) in self.deployment.contracts().into_iter().zip(Artifact::all()) {
            let code = self.transport.code(to_address(place.1)).await?;
            reports.push(CodeReport::new(&self.deployment, artifact, place, &code));
        }
        Ok(reports)
    }
}

/// The id of the chain behind an RPC, for those who have no deployment yet.
pub async fn chain_id(config: &RpcConfig) -> Result<ChainId, ChainError> {
    Transport::new(config)?.chain_id().await
}
