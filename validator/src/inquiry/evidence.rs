//! Evidence: fetched, compared with its hash, judged, and compared with the charge.

use lode_contracts::{ChainError, Offence};
use lode_gpu_proof::evidence::{Deed, MAX_EVIDENCE_BYTES, Verdict, verify_evidence};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::keccak256;

use super::{Inquirer, receipt};
use crate::chain::served;
use crate::core::{Charge, Examination, Judgement};

/// Looks at the evidence of a charge.
pub(super) async fn examine(inquirer: &Inquirer, charge: &Charge) -> Examination {
    let limit = match charge.offence {
        Offence::ForgedProof => MAX_EVIDENCE_BYTES,
        Offence::ForgedReceipt => receipt::MAX_BYTES,
        Offence::ForeignHardware => {
            let why = "nothing that could be shown proves to whom hardware belongs".to_owned();
            return Examination::Seen(Judgement::innocent("evidence/no-form", why));
        }
    };
    let bytes = match inquirer.fetch.get(&charge.uri, limit).await {
        Ok(bytes) => bytes,
        Err(error) => return unavailable(error.code(), error.to_string()),
    };
    if keccak256(&bytes) != charge.evidence {
        let message = format!("what lies at {} is not the evidence that was named", charge.uri);
        return unavailable(ErrorCode::new("evidence/other-file"), message);
    }
    let judged = match charge.offence {
        Offence::ForgedReceipt => receipt::examine(inquirer, charge, &bytes).await,
        Offence::ForgedProof | Offence::ForeignHardware => proof(inquirer, charge, bytes).await,
    };
    match judged {
        Ok(judgement) => Examination::Seen(judgement),
        Err(error) => unavailable(error.code(), error.to_string()),
    }
}

async fn proof(inquirer: &Inquirer, charge: &Charge, bytes: Vec<u8>) -> Result<Judgement, ChainError> {
    // Rows of large classes take a second to compute.
    let judged = tokio::task::spawn_blocking(move || verify_evidence(&bytes)).await;
    let verdict = match judged {
        Ok(verdict) => verdict,
        Err(error) => {
            tracing::error!(%error, "judging evidence broke off");
            let why = "this validator's own judgement broke off: a doubt is for the accused".to_owned();
            return Ok(Judgement::innocent("evidence/check-crashed", why));
        }
    };
    let (deed, guilt) = match verdict {
        Verdict::Innocent(acquittal) => {
            return Ok(Judgement::innocent(acquittal.code(), acquittal.to_string()));
        }
        Verdict::Guilty { deed, guilt } => (deed, guilt),
    };
    if let Err(innocent) = charge.is_about(&deed, inquirer.realm) {
        return Ok(innocent);
    }
    judge_owner(inquirer, charge, &deed, guilt.to_string()).await
}

/// Whoever ran the node when it signed pays for it, and nobody else.
async fn judge_owner(
    inquirer: &Inquirer,
    charge: &Charge,
    deed: &Deed,
    what: String,
) -> Result<Judgement, ChainError> {
    if served(inquirer.reader.as_ref(), charge.provider, charge.node, deed.span()).await? {
        return Ok(Judgement::Guilty { deed: deed.id(), what });
    }
    let why = format!("node {} did not serve provider {} when it signed", charge.node, charge.provider);
    Ok(Judgement::innocent("evidence/other-provider", why))
}

fn unavailable(code: ErrorCode, message: String) -> Examination {
    Examination::Unavailable { code, message }
}

/// The look took too long.
pub(super) fn late() -> Examination {
    unavailable(ErrorCode::new("fetch/unreachable"), "it did not come in time".to_owned())
}
