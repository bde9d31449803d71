//! What validators judge: accusations, roots, redemptions, votes that were never revealed.

use lode_contracts::{Intent, RewardsCall, SlashingCall, ValidatorsCall};
use lode_protocol::hash::Digest;

use super::accusations;
use super::accuse::{self, Charge};
use crate::arguments::{EvidenceFlags, Global, JudgementCommand, Verdict};
use crate::commands::{hash_of_file, transact};
use crate::failure::Kind;

impl EvidenceFlags {
    /// Keccak-256 of the evidence.
    fn digest(&self) -> anyhow::Result<Digest> {
        match (&self.evidence, self.evidence_hash) {
            (Some(file), _) => hash_of_file(file),
            (None, Some(hash)) => Ok(hash),
            (None, None) => {
                Err(Kind::Usage.because("give the evidence with --evidence, or its --evidence-hash"))
            }
        }
    }
}

pub(super) async fn run(global: &Global, command: JudgementCommand) -> anyhow::Result<()> {
    match command {
        JudgementCommand::Accuse { signer, provider, node, offence, amount, evidence, uri } => {
            let evidence = evidence.digest()?;
            let charge = Charge { provider, node, offence: offence.into(), amount, evidence, uri };
            accuse::run(global, &signer, charge).await
        }
        JudgementCommand::Vote { signer, accusation, verdict } => {
            let guilty = verdict == Verdict::Guilty;
            let word = if guilty { "guilty" } else { "innocent" };
            let what = format!("vote {word} about accusation {accusation}; votes are cast once");
            let done = format!("voted {word} about accusation {accusation}");
            transact(
                global,
                &signer,
                what,
                done,
                Intent::Slashing(SlashingCall::VoteAccusation { id: accusation, guilty }),
            )
            .await
        }
        JudgementCommand::Resolve { signer, accusation } => {
            let what = format!("have the verdict about accusation {accusation} carried out");
            let done =
                format!("accusation {accusation} is resolved; see `lode validator accusations {accusation}`");
            transact(
                global,
                &signer,
                what,
                done,
                Intent::Slashing(SlashingCall::ResolveAccusation { id: accusation }),
            )
            .await
        }
        JudgementCommand::Collect { signer, to } => {
            let what = format!("have what is owed from accusations paid to {to}");
            let done = format!("what was owed is paid to {to}");
            transact(global, &signer, what, done, Intent::Slashing(SlashingCall::CollectOwed { to })).await
        }
        JudgementCommand::Accusations { chain, accusation, provider, open } => {
            accusations::run(global, &chain, accusation, provider, open).await
        }
        JudgementCommand::Veto { signer, pool, epoch, evidence } => {
            let evidence = evidence.digest()?;
            let what = format!("ask for the root of epoch {epoch} of pool {pool} to be dropped");
            let done = format!("the veto against the root of epoch {epoch} of pool {pool} counts");
            transact(
                global,
                &signer,
                what,
                done,
                Intent::Rewards(RewardsCall::VetoRoot { pool, epoch, evidence }),
            )
            .await
        }
        JudgementCommand::VetoRedemption { signer, pool, payee, evidence } => {
            let evidence = evidence.digest()?;
            let what = format!("ask for the redemption of {payee} from pool {pool} to be dropped");
            let done = format!("the veto against the redemption of {payee} from pool {pool} counts");
            transact(
                global,
                &signer,
                what,
                done,
                Intent::Rewards(RewardsCall::VetoRedemption { pool, payee, evidence }),
            )
            .await
        }
        JudgementCommand::Penalize { signer, epoch, validator } => {
            let what = format!(
                "have the bond of {validator} cut, which committed in epoch {epoch} and never revealed"
            );
            let done = format!("the bond of {validator} is cut");
            transact(
                global,
                &signer,
                what,
                done,
                Intent::Validators(ValidatorsCall::PenalizeMissedReveal { epoch, validator }),
            )
            .await
        }
    }
}
