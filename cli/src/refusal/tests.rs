use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::*;

/// Every custom error of `abi/*.json`: name and parameter names.
fn errors() -> Vec<(String, Vec<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let artifact: Value = serde_json::from_str(&text).unwrap();
        for item in artifact["abi"].as_array().unwrap().iter().filter(|item| item["type"] == "error") {
            let inputs = item["inputs"].as_array().unwrap();
            let names = inputs.iter().map(|input| input["name"].as_str().unwrap().to_owned());
            found.push((item["name"].as_str().unwrap().to_owned(), names.collect()));
        }
    }
    assert!(found.len() > 60, "the ABI files were not found");
    found
}

fn revert(name: &str, parameters: &[String]) -> Revert {
    let values: Vec<String> = parameters.iter().map(|parameter| format!("{parameter}: 1")).collect();
    Revert { name: name.to_owned(), detail: format!("{name}({})", values.join(", ")) }
}

#[test]
fn every_custom_error_of_the_contracts_has_a_sentence_and_a_remedy() {
    for (name, parameters) in errors() {
        let explained = explain(&revert(&name, &parameters), &Setting::default());
        assert!(
            !explained.message.starts_with("the contract refused"),
            "{name}({parameters:?}) has no sentence"
        );
        assert!(explained.message.ends_with(&format!("({name})")), "{}", explained.message);
        assert!(!explained.remedy.is_empty(), "{name} says nothing of what to do next");
        for text in [&explained.message, &explained.remedy] {
            assert!(!text.contains('{') && !text.contains('}'), "{name}: {text}");
        }
    }
}

#[test]
fn no_sentence_is_about_an_error_that_no_contract_has() {
    let mut known: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for (name, parameters) in errors() {
        known.entry(name).or_default().push(parameters);
    }
    for sentence in table() {
        let forms = known.get(sentence.error);
        let named: Vec<_> = sentence.places().map(|(name, _)| name).collect();
        let fits = forms.is_some_and(|forms| {
            forms.iter().any(|form| named.iter().all(|name| form.iter().any(|known| known == name)))
        });
        assert!(fits, "{} with {named:?} is no error of the contracts", sentence.error);
    }
}

#[test]
fn values_are_told_in_their_unit_and_times_as_distance_and_date() {
    let revert = Revert {
        name: "StillUnbonding".to_owned(),
        detail: "StillUnbonding(releaseAt: 1800003600)".to_owned(),
    };
    let setting = Setting { now: Some(timestamp_of_seconds(1_800_000_000)), ..Setting::default() };
    let explained = explain(&revert, &setting);
    assert_eq!(
        explained.message,
        "the unbonding time is not over: the stake can be withdrawn in 1h (2027-01-15T09:00:00Z) (StillUnbonding)"
    );
    assert_eq!(explained.kind, Kind::Conflict);
    let revert = Revert {
        name: "InsufficientStake".to_owned(),
        detail:
            "InsufficientStake(provider: 0x01, stake: 1500000000000000000, required: 2000000000000000000)"
                .to_owned(),
    };
    let message = explain(&revert, &Setting::default()).message;
    assert!(message.contains("1.5 LODE") && message.contains("2 LODE"), "{message}");
}

#[test]
fn two_errors_of_one_name_are_told_apart_by_what_they_carry() {
    let said = |name: &str, detail: &str| {
        let revert = Revert { name: name.to_owned(), detail: format!("{name}({detail})") };
        explain(&revert, &Setting::default()).message
    };
    assert!(said("InsufficientStake", "given: 1, minimum: 2").starts_with("a bond"));
    assert!(said("InsufficientStake", "provider: 0x01, stake: 1, required: 2").starts_with("a stake"));
    assert!(said("InvalidConsentSignature", "node: 0x01").starts_with("the consent is not"));
    assert!(
        said("InvalidConsentSignature", "poolId: 1, node: 0x01").starts_with("the consent to join pool 1")
    );
    assert!(said("AlreadyVoted", "validator: 0x01").contains("vetoed"));
    assert!(said("AlreadyVoted", "accusationId: 7, validator: 0x01").contains("accusation 7"));
}

#[test]
fn an_item_of_a_batch_has_its_sentence_although_the_chain_tells_its_name_alone() {
    let explained = explain_name("WrongConsentNonce");
    assert!(explained.message.starts_with("the consent of node … was used"), "{}", explained.message);
    assert!(!explained.remedy.is_empty());
}

#[test]
fn an_error_of_other_contracts_keeps_its_own_words() {
    let revert = Revert { name: "Unknown".to_owned(), detail: "it gave no reason".to_owned() };
    let explained = explain(&revert, &Setting::default());
    assert_eq!(explained.message, "the contract refused: it gave no reason");
    assert_eq!(explained.kind, Kind::Denied);
}

#[test]
fn values_with_commas_and_quotes_do_not_confuse_the_reader() {
    let found = arguments("TextTooLong(parameter: \"a, b: c\", length: 5, maximum: 4)");
    assert_eq!(
        found,
        [("parameter", "a, b: c".to_owned()), ("length", "5".to_owned()), ("maximum", "4".to_owned())]
    );
    assert_eq!(arguments("ZeroAmount()"), []);
    assert_eq!(arguments("nonsense"), []);
}
