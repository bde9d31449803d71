//! How accusations look.

use lode_contracts::{AccusationPhase, AccusationRecord, ChainReader as _, SlashingParameters};
use lode_protocol::ids::{AccusationId, ProviderId};
use lode_protocol::units::{Millis, Timestamp};
use serde_json::{Value, json};

use super::{lode, phase_word};
use crate::arguments::{ChainFlags, Global};
use crate::failure::Kind;
use crate::output::{self, Format, Sheet, moment, utc};
use crate::wallet::chain;

pub(super) async fn run(
    global: &Global,
    flags: &ChainFlags,
    one: Option<AccusationId>,
    provider: Option<ProviderId>,
    open: bool,
) -> anyhow::Result<()> {
    let chain = chain(global, flags).await?;
    let ids: Vec<AccusationId> = match one {
        Some(id) => vec![id],
        None => (1..=chain.accusation_count().await?).map(AccusationId).collect(),
    };
    let records = chain.accusations(&ids).await?;
    if let (Some(id), [None]) = (one, records.as_slice()) {
        let remedy = "run `lode validator accusations` without a number";
        return Err(Kind::NotFound.with_remedy(format!("there is no accusation {id}"), remedy));
    }
    let records: Vec<AccusationRecord> = records
        .into_iter()
        .flatten()
        .filter(|record| provider.is_none_or(|provider| provider == record.provider))
        .filter(|record| !open || !record.phase.is_over())
        .collect();
    let terms = chain.slashing_terms().await?;
    let now = chain.head().await?.timestamp;
    match (global.output, one, records.as_slice()) {
        (Format::Json, Some(_), [record]) => output::json(&as_json(record, &terms)),
        (Format::Json, ..) => {
            let items: Vec<Value> = records.iter().map(|record| as_json(record, &terms)).collect();
            output::json(&json!({ "items": items }))
        }
        (Format::Table | Format::Wide, Some(_), [record]) => {
            let epoch_weight = chain.total_weight(record.epoch).await?;
            output::sheet(&sheet(record, &terms, &lode(epoch_weight), now))
        }
        (Format::Table | Format::Wide, ..) => {
            let mut sheet = Sheet::new(["accusation", "provider", "node", "phase", "held", "next"])
                .or_else("no accusations");
            for record in &records {
                sheet.row([
                    record.id.to_string(),
                    record.provider.to_string(),
                    record.node.to_string(),
                    phase_word(record.phase).to_owned(),
                    lode(record.amount),
                    next(record, &terms, now),
                ]);
            }
            output::sheet(&sheet)
        }
    }
}

/// Ends of the phases: evidence, answer, vote.
fn ends(record: &AccusationRecord, terms: &SlashingParameters) -> [Timestamp; 3] {
    let mut at = record.opened_at;
    [terms.evidence_seconds, terms.answer_seconds, terms.vote_seconds].map(|seconds| {
        at = at.plus(Millis(seconds.saturating_mul(1_000)));
        at
    })
}

fn next(record: &AccusationRecord, terms: &SlashingParameters, now: Timestamp) -> String {
    let [_, answer, vote] = ends(record, terms);
    let until = |time| moment(time, Some(now));
    match (record.phase, record.answer) {
        (AccusationPhase::Evidence | AccusationPhase::Answer, None) => {
            format!("the provider can answer; that ends {}", until(answer))
        }
        (AccusationPhase::Evidence | AccusationPhase::Answer, Some(_)) => {
            format!("validators vote from {} on", utc(answer))
        }
        (AccusationPhase::Vote, _) => format!("validators vote; that ends {}", until(vote)),
        (AccusationPhase::Decided, _) => format!("`lode validator resolve {}`", record.id),
        (AccusationPhase::Guilty | AccusationPhase::Acquitted, _) => "-".to_owned(),
    }
}

fn as_json(record: &AccusationRecord, terms: &SlashingParameters) -> Value {
    let [evidence, answer, vote] = ends(record, terms).map(utc);
    let mut value = json!(record);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("evidence_ends".to_owned(), json!(evidence));
        fields.insert("answer_ends".to_owned(), json!(answer));
        fields.insert("vote_ends".to_owned(), json!(vote));
    }
    value
}

fn sheet(record: &AccusationRecord, terms: &SlashingParameters, weight: &str, now: Timestamp) -> Sheet {
    let mut sheet = Sheet::new(["what", "value"]);
    let offence = serde_json::to_value(record.offence).unwrap_or_default();
    sheet.row(["accusation".to_owned(), record.id.to_string()]);
    sheet.row(["accuser".to_owned(), record.accuser.to_string()]);
    sheet.row(["provider".to_owned(), record.provider.to_string()]);
    sheet.row(["node".to_owned(), record.node.to_string()]);
    sheet.row(["offence".to_owned(), offence.as_str().unwrap_or_default().to_owned()]);
    sheet.row(["phase".to_owned(), phase_word(record.phase).to_owned()]);
    sheet.row(["held".to_owned(), lode(record.amount)]);
    sheet.row(["accuser's bond".to_owned(), lode(record.bond)]);
    sheet.row(["opened".to_owned(), moment(record.opened_at, Some(now))]);
    sheet.row(["evidence".to_owned(), record.evidence.to_string()]);
    let answer = record.answer.map_or_else(|| "none".to_owned(), |answer| answer.to_string());
    sheet.row(["answer".to_owned(), answer]);
    sheet.row([
        "votes".to_owned(),
        format!(
            "guilty {}, innocent {}, of {weight} in epoch {}",
            lode(record.guilty_weight),
            lode(record.innocent_weight),
            record.epoch
        ),
    ]);
    sheet.row(["next".to_owned(), next(record, terms, now)]);
    sheet
}

#[cfg(test)]
mod tests {
    use lode_contracts::{Amount, DeployParameters, Epoch, Offence};
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::{Address, NodeId};

    use super::*;

    fn record(phase: AccusationPhase) -> AccusationRecord {
        AccusationRecord {
            id: AccusationId(3),
            accuser: Address([1; 20]),
            provider: ProviderId(Address([2; 20])),
            node: NodeId(Address([3; 20])),
            offence: Offence::ForgedProof,
            phase,
            amount: Amount::tokens(5),
            bond: Amount::tokens(1),
            opened_at: Timestamp(0),
            epoch: Epoch(1),
            guilty_weight: Amount::ZERO,
            innocent_weight: Amount::ZERO,
            evidence: Digest([4; 32]),
            answer: None,
        }
    }

    #[test]
    fn each_phase_says_who_can_do_what_and_until_when() {
        let terms = DeployParameters::development().slashing;
        let words = |phase| next(&record(phase), &terms, Timestamp(0));
        assert_eq!(
            words(AccusationPhase::Evidence),
            "the provider can answer; that ends in 15s (1970-01-01T00:00:15Z)"
        );
        assert_eq!(words(AccusationPhase::Vote), "validators vote; that ends in 30s (1970-01-01T00:00:30Z)");
        assert_eq!(words(AccusationPhase::Decided), "`lode validator resolve 3`");
        assert_eq!(words(AccusationPhase::Guilty), "-");
    }

    #[test]
    fn an_accusation_for_programs_has_the_ends_of_its_phases() {
        let value = as_json(&record(AccusationPhase::Evidence), &DeployParameters::development().slashing);
        assert_eq!(value["phase"], "evidence");
        assert_eq!(value["vote_ends"], "1970-01-01T00:00:30Z");
    }
}
