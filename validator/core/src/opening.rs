//! The messages that a file about a false opening is made of.

use lode_gpu_proof::evidence::{Evidence, Exhibit, Suspect};
use lode_gpu_proof::{Params, ProofError};

/// Everything that a file about an opening consists of, but what is suspected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpeningRecord {
    pub(super) prepare: Vec<u8>,
    pub(super) start: Vec<u8>,
    pub(super) product: Vec<u8>,
    pub(super) demand: Vec<u8>,
    pub(super) opened: Vec<u8>,
}

impl OpeningRecord {
    /// The file, where `error` is what the opening failed by.
    pub fn evidence(self, params: Params, error: &ProofError, rows: &[u64], walkers: &[u64]) -> Vec<u8> {
        let suspect = Suspect::of(error, rows, walkers);
        let Self { prepare, start, product, demand, opened } = self;
        let exhibit = Exhibit::Opening { product, demand, opened, suspect };
        Evidence::new(params, prepare, start, exhibit).to_bytes()
    }
}
