//! Answering an accusation.

use std::path::Path;

use lode_contracts::{AccusationRecord, ChainReader as _, Intent, SlashingCall, SlashingParameters};
use lode_protocol::hash::Digest;
use lode_protocol::ids::AccusationId;
use lode_protocol::settlement::Answer;
use lode_protocol::units::Millis;

use crate::arguments::{Global, SignerFlags, StatementFlags};
use crate::commands::hash_of_file;
use crate::failure::Kind;
use crate::output::moment;
use crate::wallet::{Instead, Plan, Said, Statement, Wallet, check};

pub(super) async fn run(
    global: &Global,
    signer: &SignerFlags,
    flags: &StatementFlags,
    id: AccusationId,
    file: Option<&Path>,
    hash: Option<Digest>,
    uri: String,
) -> anyhow::Result<()> {
    let answer = match (file, hash) {
        (Some(file), _) => hash_of_file(file)?,
        (None, Some(hash)) => hash,
        (None, None) => return Err(Kind::Usage.because("give the answer with --file, or its --hash")),
    };
    let wallet = Wallet::open(global, signer).await?;
    let Some(record) = wallet.chain.accusation(id).await? else {
        let remedy = "run `lode validator accusations`";
        return Err(Kind::NotFound.with_remedy(format!("there is no accusation {id}"), remedy));
    };
    let terms = wallet.chain.slashing_terms().await?;
    let until = moment(answerable_until(&record, &terms), Some(wallet.now));
    let what = format!(
        "answer accusation {id} with {answer}, to be read at {uri}; answers are taken once, the time for them ends {until}"
    );
    let done = format!("accusation {id} is answered; the validators vote from then on");
    match flags.said(&wallet, Instead::Transaction).await? {
        Said::Directly => wallet
            .carry_out(&Plan::new(
                what,
                done,
                Intent::Slashing(SlashingCall::AnswerAccusation { id, answer, uri }),
            ))
            .await
            .map(drop),
        Said::Asked { signer, deadline } => {
            let statement = Answer { accusation: id, answer, uri, deadline };
            flags.ask(&wallet, signer, &Statement::Answer(statement))
        }
        Said::Signed { signer, deadline, signature } => {
            let statement = Answer { accusation: id, answer, uri, deadline };
            check(&wallet, &Statement::Answer(statement.clone()), signer, &signature)?;
            let intent = Intent::Slashing(SlashingCall::AnswerAccusationBySignature { statement, signature });
            wallet.carry_out(&Plan::new(what, done, intent)).await.map(drop)
        }
    }
}

/// The end of the answer phase.
pub(crate) fn answerable_until(
    record: &AccusationRecord,
    terms: &SlashingParameters,
) -> lode_protocol::units::Timestamp {
    let span = terms.evidence_seconds.saturating_add(terms.answer_seconds);
    record.opened_at.plus(Millis(span.saturating_mul(1_000)))
}
