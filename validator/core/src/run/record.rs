//! What was said in a run, as it was sent and received: what evidence is made of.

use std::collections::BTreeMap;

use lode_gpu_proof::Params;
use lode_gpu_proof::evidence::{Evidence, Exhibit};
use lode_protocol::hash::Digest;
use lode_protocol::ids::GpuUuid;
use lode_protocol::proof::Challenge;

use super::commits::Commits;
use crate::opening::OpeningRecord;

/// A message that was sent, and the digest that names it in answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    pub(super) digest: Digest,
    pub(super) bytes: Vec<u8>,
}

/// The challenger's side of a run.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Asked {
    pub(super) prepare: Option<Sent>,
    pub(super) start: Option<Sent>,
    pub(super) demand: Option<Sent>,
}

impl Asked {
    /// Keeps a message of this run. The first of each kind is the one that was sent.
    pub(super) fn keep(&mut self, challenge: &Challenge, digest: Digest, bytes: Vec<u8>) {
        let place = match challenge {
            Challenge::Prepare { .. } => &mut self.prepare,
            Challenge::Start { .. } => &mut self.start,
            Challenge::Open { .. } => &mut self.demand,
            Challenge::Verdict { .. } => return,
        };
        place.get_or_insert(Sent { digest, bytes });
    }

    pub(super) fn start_digest(&self) -> Option<Digest> {
        self.start.as_ref().map(|sent| sent.digest)
    }

    pub(super) fn demand_digest(&self) -> Option<Digest> {
        self.demand.as_ref().map(|sent| sent.digest)
    }

    /// The file about two commits that exclude each other.
    pub(super) fn two_commits(&self, params: Params, first: &[u8], second: &[u8]) -> Option<Vec<u8>> {
        let (prepare, start) = (self.prepare.as_ref()?, self.start.as_ref()?);
        let exhibit = Exhibit::TwoCommits { first: first.to_vec(), second: second.to_vec() };
        Some(Evidence::new(params, prepare.bytes.clone(), start.bytes.clone(), exhibit).to_bytes())
    }
}

/// What a file about this opening would be made of, if everything was kept.
pub(super) fn opening_record(asked: &Asked, commits: &Commits, opened: Vec<u8>) -> Option<OpeningRecord> {
    Some(OpeningRecord {
        prepare: asked.prepare.as_ref()?.bytes.clone(),
        start: asked.start.as_ref()?.bytes.clone(),
        product: commits.product.as_ref()?.sealed.clone(),
        demand: asked.demand.as_ref()?.bytes.clone(),
        opened,
    })
}

/// Files about GPUs of one run: at most one for each.
pub(super) type Files = BTreeMap<GpuUuid, Vec<u8>>;
