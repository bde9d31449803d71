//! Looks at what others point at: evidence, answers, pools' books. Everything comes from strangers: sizes, rates and times
//! are limited, hashes and signatures are checked, and what cannot be had is told as such, never as a no.
//!
//! Evidence, answers and books do not wait for each other. Whose books are looked at is the core's to say: it knows whose
//! window closes first.

mod answer;
mod audit;
mod books;
mod budget;
mod evidence;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod pages;
mod receipt;

use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{ChainReader, Deployment};
use lode_network::{FetchPolicy, Fetcher};
use lode_program::finding::FindingSet;
use lode_protocol::envelope::Realm;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, PoolId};
use tokio::sync::Semaphore;

pub use budget::LEAST as LEAST_PER_AUDIT;

use crate::core::{Audit, Charge, Event, Examination, Look, Matter};

/// Answers that are shown at one time: they are for people.
const ANSWERS: usize = 1;

/// A first look at books has this part of the longest time: pools that drip theirs would else take all turns until roots
/// that nobody came to look at are vetoed.
const FIRST_PART: u32 = 8;

/// Bounds on looks.
#[derive(Clone, Copy, Debug)]
pub struct InquiryLimits {
    /// On each request.
    pub policy: FetchPolicy,
    /// Pieces of evidence at once: each is a file of some megabytes.
    pub evidence: usize,
    /// Longest time for one look; the first one at a pool's promise has a part of it.
    pub longest: Duration,
    /// What one look at books may hold, about.
    pub bytes_per_audit: usize,
}

/// Looks at things, a few at once.
#[derive(Clone, Debug)]
pub struct Inquirer {
    fetch: Fetcher,
    reader: Arc<dyn ChainReader>,
    deployment: Deployment,
    /// Without a pool.
    realm: Realm,
    findings: FindingSet,
    limits: InquiryLimits,
    evidence: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Inquirer {
    /// By this chain, within these limits.
    pub fn new(reader: Arc<dyn ChainReader>, limits: InquiryLimits, findings: FindingSet) -> Self {
        let deployment = reader.deployment().clone();
        let realm = deployment.realm(PoolId(0));
        Self {
            fetch: Fetcher::new(concat!("lode-validator/", env!("CARGO_PKG_VERSION")), limits.policy),
            reader,
            deployment,
            realm,
            findings,
            limits,
            evidence: Arc::new(Semaphore::new(limits.evidence)),
            answers: Arc::new(Semaphore::new(ANSWERS)),
        }
    }

    /// Compares evidence with a charge.
    pub async fn examine(self, charge: Charge) -> Option<Event> {
        let id = charge.id;
        let _turn = self.evidence.acquire().await.ok()?;
        let looked = tokio::time::timeout(self.limits.longest, evidence::examine(&self, &charge));
        let examination = looked.await.unwrap_or_else(|_| evidence::late());
        Some(Event::Examined { id, examination })
    }

    /// Rebuilds what a pool promises.
    pub async fn audit(self, matter: Matter, look: Look) -> Option<Event> {
        let longest = match look {
            Look::First => self.limits.longest / FIRST_PART,
            Look::Again => self.limits.longest,
        };
        let looked = tokio::time::timeout(longest, books::look(&self, &matter));
        let audit = looked.await.unwrap_or_else(|_| Audit::Unavailable {
            message: format!("its books did not come within {longest:?}"),
        });
        Some(Event::Audited { matter, audit })
    }

    /// Shows an answer to people.
    pub async fn show_answer(self, id: AccusationId, hash: Digest, uri: String) -> Option<Event> {
        let _turn = self.answers.acquire().await.ok()?;
        answer::show(&self, id, hash, &uri).await;
        None
    }
}

/// What is told of an examination that broke off.
pub(crate) fn examination_broke_off(id: AccusationId) -> Event {
    let (code, message) = (ErrorCode::new("evidence/check-crashed"), "the check broke off".to_owned());
    Event::Examined { id, examination: Examination::Unavailable { code, message } }
}

/// What is told of an audit that broke off.
pub(crate) fn audit_broke_off(matter: Matter) -> Event {
    let message = "this validator's own check broke off".to_owned();
    Event::Audited { matter, audit: Audit::Unavailable { message } }
}
