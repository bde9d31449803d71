//! Looks at what others point at: evidence, answers, pools' books. Everything comes from strangers: sizes and times are
//! limited, hashes and signatures are checked, and what cannot be had is told as such, never as a no.

mod answer;
mod audit;
mod books;
mod evidence;
mod receipt;

use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{ChainReader, Deployment};
use lode_network::{GuardPolicy, GuardedClient};
use lode_program::finding::FindingSet;
use lode_protocol::envelope::Realm;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, PoolId};
use tokio::sync::Semaphore;

use crate::core::{Audit, Charge, Event, Matter};

/// Looks at once: each may hold a file of some megabytes.
const AT_ONCE: usize = 4;
/// Longest time for one look.
const LONGEST: Duration = Duration::from_secs(300);

/// Looks at things, a few at once.
#[derive(Clone, Debug)]
pub struct Inquirer {
    fetch: GuardedClient,
    reader: Arc<dyn ChainReader>,
    deployment: Deployment,
    /// Without a pool.
    realm: Realm,
    findings: FindingSet,
    turns: Arc<Semaphore>,
}

impl Inquirer {
    /// By this chain, within this policy.
    pub fn new(reader: Arc<dyn ChainReader>, policy: GuardPolicy, findings: FindingSet) -> Self {
        let deployment = reader.deployment().clone();
        let realm = deployment.realm(PoolId(0));
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { fetch: GuardedClient::new(policy), reader, deployment, realm, findings, turns }
    }

    /// Compares evidence with a charge.
    pub async fn examine(self, charge: Charge) -> Option<Event> {
        let id = charge.id;
        let _turn = self.turns.acquire().await.ok()?;
        let looked = tokio::time::timeout(LONGEST, evidence::examine(&self, &charge));
        let examination = looked.await.unwrap_or_else(|_| evidence::late());
        Some(Event::Examined { id, examination })
    }

    /// Rebuilds what a pool promises.
    pub async fn audit(self, matter: Matter) -> Option<Event> {
        let _turn = self.turns.acquire().await.ok()?;
        let looked = tokio::time::timeout(LONGEST, books::look(&self, &matter));
        let audit = looked
            .await
            .unwrap_or_else(|_| Audit::Unavailable { message: "its books did not come in time".to_owned() });
        Some(Event::Audited { matter, audit })
    }

    /// Shows an answer to people.
    pub async fn show_answer(self, id: AccusationId, hash: Digest, uri: String) -> Option<Event> {
        let _turn = self.turns.acquire().await.ok()?;
        answer::show(&self, id, hash, &uri).await;
        None
    }
}
