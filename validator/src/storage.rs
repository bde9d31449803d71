//! What survives a restart: results that wait, the attestation under way with its salt, evidence and what becomes of it.

use lode_protocol::envelope::{decode, encode};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, NodeId};
use lode_store::{Batch, Store, StoreError, Table};
use minicbor::Decode;

use crate::core::{Attestation, Change, Loaded, NodeResult, Opinion, Suspicion};

const RESULTS: Table = Table::new("results");
const ATTESTATION: Table = Table::new("attestation");
const CURRENT: &[u8] = b"current";
const FILES: Table = Table::new("files");
const FILE_NAMES: Table = Table::new("file_names");
const SUSPICIONS: Table = Table::new("suspicions");
const OPINIONS: Table = Table::new("opinions");
const PUNISHED: Table = Table::new("punished");

/// Reads everything but the files. A row that cannot be read is skipped and named: what it was about is found anew.
pub fn load(store: &dyn Store) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded {
        results: rows::<NodeResult>(store, RESULTS)?,
        suspicions: rows::<Suspicion>(store, SUSPICIONS)?,
        opinions: rows::<Opinion>(store, OPINIONS)?,
        ..Loaded::default()
    };
    for (key, value) in store.load(FILE_NAMES)? {
        let name = <[u8; 8]>::try_from(key.as_slice()).ok().zip(<[u8; 32]>::try_from(value).ok());
        match name {
            Some((number, hash)) => loaded.files.push((u64::from_be_bytes(number), Digest(hash))),
            None => {
                tracing::warn!(?key, "the name of a stored file cannot be read; it is not shown any more")
            }
        }
    }
    for (key, value) in store.load(PUNISHED)? {
        match (<[u8; 32]>::try_from(key.as_slice()), decode::<AccusationId>(&value)) {
            (Ok(deed), Ok(id)) => loaded.punished.push((Digest(deed), id)),
            _ => tracing::warn!(?key, "a stored deed cannot be read; it may be judged once more"),
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

fn rows<T: for<'b> Decode<'b, ()>>(store: &dyn Store, table: Table) -> Result<Vec<T>, StoreError> {
    let mut read = Vec::new();
    for (key, value) in store.load(table)? {
        match decode::<T>(&value) {
            Ok(row) => read.push(row),
            Err(error) => tracing::warn!(?table, ?key, %error, "a stored row cannot be read and is skipped"),
        }
    }
    Ok(read)
}

/// A file that is shown to whoever asks; `None` is not kept.
pub fn file(store: &dyn Store, hash: Digest) -> Result<Option<Vec<u8>>, StoreError> {
    store.get(FILES, &hash.0)
}

/// Adds a change to a batch.
pub fn add(batch: &mut Batch, change: Change) {
    let key = |node: NodeId| node.0.0.to_vec();
    let number = |id: AccusationId| id.0.to_be_bytes().to_vec();
    match change {
        Change::PutResult(result) => batch.put(RESULTS, key(result.node), encode(&result)),
        Change::DeleteResult(node) => batch.delete(RESULTS, key(node)),
        Change::PutAttestation(attestation) => batch.put(ATTESTATION, CURRENT.to_vec(), encode(&attestation)),
        Change::PutFile { number, hash, bytes } => {
            batch.put(FILES, hash.0.to_vec(), bytes);
            batch.put(FILE_NAMES, number.to_be_bytes().to_vec(), hash.0.to_vec())
        }
        Change::DeleteFile { number, hash } => {
            batch.delete(FILES, hash.0.to_vec());
            batch.delete(FILE_NAMES, number.to_be_bytes().to_vec())
        }
        Change::PutSuspicion(suspicion) => batch.put(SUSPICIONS, key(suspicion.node), encode(&suspicion)),
        Change::DeleteSuspicion(node) => batch.delete(SUSPICIONS, key(node)),
        Change::PutOpinion(opinion) => batch.put(OPINIONS, number(opinion.accusation), encode(&opinion)),
        Change::DeleteOpinion(id) => batch.delete(OPINIONS, number(id)),
        Change::PutPunished(deed, id) => batch.put(PUNISHED, deed.0.to_vec(), encode(&id)),
    };
}
