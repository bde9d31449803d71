//! What survives a restart: results that wait, and the attestation under way with its salt.

use lode_protocol::envelope::{decode, encode};
use lode_protocol::ids::NodeId;
use lode_store::{Batch, Store, StoreError, Table};

use crate::core::{Attestation, Change, Loaded, NodeResult};

const RESULTS: Table = Table::new("results");
const ATTESTATION: Table = Table::new("attestation");
const CURRENT: &[u8] = b"current";

/// Reads everything. A row that cannot be read is skipped and named: its node is measured anew.
pub fn load(store: &dyn Store) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    for (key, value) in store.load(RESULTS)? {
        match decode::<NodeResult>(&value) {
            Ok(result) => loaded.results.push(result),
            Err(error) => {
                tracing::warn!(key = ?key, %error, "a stored result cannot be read; the node is measured anew")
            }
        }
    }
    if let Some(value) = store.get(ATTESTATION, CURRENT)? {
        match decode::<Attestation>(&value) {
            Ok(attestation) => loaded.attestation = Some(attestation),
            Err(error) => tracing::warn!(%error, "the stored attestation cannot be read; its epoch is lost"),
        }
    }
    Ok(loaded)
}

/// Adds a change to a batch.
pub fn add(batch: &mut Batch, change: Change) {
    let key = |node: NodeId| node.0.0.to_vec();
    match change {
        Change::PutResult(result) => batch.put(RESULTS, key(result.node), encode(&result)),
        Change::DeleteResult(node) => batch.delete(RESULTS, key(node)),
        Change::PutAttestation(attestation) => batch.put(ATTESTATION, CURRENT.to_vec(), encode(&attestation)),
        Change::DeleteAttestation => batch.delete(ATTESTATION, CURRENT.to_vec()),
    };
}
