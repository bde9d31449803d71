//! The log of what the core says about what it does.

use lode_protocol::ids::NodeId;
use lode_protocol::proof::GpuVerdict;
use tracing::{info, warn};

use crate::core::{Judgement, Report};

/// Writes one line.
pub fn log(report: &Report) {
    match report {
        Report::RunBegun { node, gpus, epoch } => info!(%node, gpus, %epoch, "proving a node"),
        Report::NoVerdict { node, code, message } => {
            info!(%node, %code, message, "a run ended without a verdict");
        }
        Report::ForgedProof { node, evidence } => {
            warn!(%node, %evidence, "a node signed a forged proof; the evidence is kept");
        }
        Report::NotAccusedAgain { node } => info!(%node, "it is not accused once more"),
        Report::AccusedByAnother { node, accusation } => {
            info!(%node, %accusation, "it is accused by somebody else");
        }
        Report::NothingToHold { node } => warn!(%node, "its provider has no stake left that could be held"),
        Report::Accused { node, accusation } => warn!(%node, %accusation, "the node's provider is accused"),
        Report::AccusationRefused { node, error } => warn!(%node, error, "the accusation was refused"),
        Report::AccusationOpened { accusation, provider, node, accuser, offence } => {
            warn!(%accusation, %provider, %node, %accuser, ?offence, "a provider is accused");
        }
        Report::FoundGuilty { accusation, slashed } => {
            info!(%accusation, %slashed, "an accused provider was found guilty");
        }
        Report::Acquitted { accusation } => info!(%accusation, "an accused provider was acquitted"),
        Report::EvidenceShows { accusation, judgement: Judgement::Guilty { what, .. } } => {
            warn!(%accusation, what, "the evidence shows guilt");
        }
        Report::EvidenceShows { accusation, judgement: Judgement::Innocent { code, why } } => {
            info!(%accusation, %code, why, "the evidence shows no guilt");
        }
        Report::EvidenceUnavailable { accusation, code, message } => {
            info!(%accusation, %code, message, "evidence cannot be looked at");
        }
        Report::Voting { accusation, guilty, why } => info!(%accusation, guilty, why, "voting"),
        Report::PromiseHolds { matter } => info!(?matter, "a promise of a pool adds up"),
        Report::PromiseUnavailable { matter, message } => {
            info!(?matter, message, "a promise of a pool cannot be checked yet");
        }
        Report::RootRefuted { pool, epoch, index } => {
            warn!(%pool, %epoch, index, "a root takes earnings away; refuting it");
        }
        Report::Vetoed { matter, code, message } => {
            warn!(?matter, %code, message, "a promise of a pool is vetoed");
        }
    }
}

/// One line for each GPU that was judged.
pub fn judged(node: NodeId, gpus: &[GpuVerdict]) {
    for GpuVerdict { gpu, failure, elapsed } in gpus {
        match failure {
            None => info!(%node, %gpu, elapsed_ms = elapsed.0, "GPU passed"),
            Some(failure) => warn!(%node, %gpu, code = %failure.code, failure.message, "GPU failed"),
        }
    }
}
