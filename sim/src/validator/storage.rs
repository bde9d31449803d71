//! A validator's rows: the same tables as those of its program.

use std::collections::BTreeMap;

use lode_protocol::envelope::{decode, encode};
use lode_protocol::hash::Digest;
use lode_validator_core::{Change, Loaded};
use minicbor::Decode;

use crate::disk::Write;

/// Tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Row {
    /// Results that wait, by node.
    Result,
    /// The attestation under way.
    Attestation,
    /// Files, by hash.
    File,
    /// Hashes of files, by number.
    FileName,
    /// Forgers, by node.
    Suspicion,
    /// Judgements, by accusation.
    Opinion,
    /// Punished deeds.
    Punished,
}

/// All rows of a store.
pub type Rows = BTreeMap<(Row, Vec<u8>), Vec<u8>>;

/// The rows of a change.
pub fn writes(change: Change) -> Vec<Write<Row>> {
    let key = |node: lode_protocol::ids::NodeId| node.0.0.to_vec();
    match change {
        Change::PutResult(result) => vec![(Row::Result, key(result.node), Some(encode(&result)))],
        Change::DeleteResult(node) => vec![(Row::Result, key(node), None)],
        Change::PutAttestation(attestation) => {
            vec![(Row::Attestation, Vec::new(), Some(encode(&attestation)))]
        }
        Change::PutFile { number, hash, bytes } => vec![
            (Row::File, hash.0.to_vec(), Some(bytes)),
            (Row::FileName, number.to_be_bytes().to_vec(), Some(hash.0.to_vec())),
        ],
        Change::DeleteFile { number, hash } => {
            vec![(Row::File, hash.0.to_vec(), None), (Row::FileName, number.to_be_bytes().to_vec(), None)]
        }
        Change::PutSuspicion(suspicion) => {
            vec![(Row::Suspicion, key(suspicion.node), Some(encode(&suspicion)))]
        }
        Change::DeleteSuspicion(node) => vec![(Row::Suspicion, key(node), None)],
        Change::PutOpinion(opinion) => {
            let key = opinion.accusation.0.to_be_bytes().to_vec();
            vec![(Row::Opinion, key, Some(encode(&opinion)))]
        }
        Change::DeleteOpinion(id) => vec![(Row::Opinion, id.0.to_be_bytes().to_vec(), None)],
        Change::PutPunished(deed, id) => vec![(Row::Punished, deed.0.to_vec(), Some(encode(&id)))],
    }
}

/// What a start finds.
///
/// # Errors
/// A row that cannot be read.
pub fn load(rows: &Rows) -> Result<Loaded, String> {
    let mut loaded = Loaded::default();
    for ((row, key), value) in rows {
        match row {
            Row::Result => loaded.results.push(read(value)?),
            Row::Attestation => loaded.attestation = Some(read(value)?),
            Row::File => {}
            Row::FileName => {
                let number = <[u8; 8]>::try_from(key.as_slice()).map_err(|error| error.to_string())?;
                let hash = <[u8; 32]>::try_from(value.as_slice()).map_err(|error| error.to_string())?;
                loaded.files.push((u64::from_be_bytes(number), Digest(hash)));
            }
            Row::Suspicion => loaded.suspicions.push(read(value)?),
            Row::Opinion => loaded.opinions.push(read(value)?),
            Row::Punished => {
                let deed = <[u8; 32]>::try_from(key.as_slice()).map_err(|error| error.to_string())?;
                loaded.punished.push((Digest(deed), read(value)?));
            }
        }
    }
    Ok(loaded)
}

/// A row's value.
///
/// # Errors
/// It cannot be read.
pub fn read<T: for<'b> Decode<'b, ()>>(value: &[u8]) -> Result<T, String> {
    decode(value).map_err(|error| error.to_string())
}
