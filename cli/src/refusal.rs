//! Refusals of the contracts as sentences: what happened, in what unit and at what time, and what to do next.
//!
//! One table, in parts by contract. A test compares it with `abi/*.json`: every custom error has its sentence, and every
//! value that a sentence names is one of the error's.

mod pools;
mod registry;
mod rewards;
mod sentence;
mod slashing;
mod token;
mod validators;

use lode_contracts::{Amount, Revert, timestamp_of_seconds};
use lode_protocol::units::{Millis, Timestamp};

use crate::failure::Kind;
use crate::output::{Denomination, moment};
use crate::refusal::sentence::{Sentence, places};

/// A refusal as a person reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Explained {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

/// In what words values are told.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The reward token that amounts of `Rewards` are of.
    pub(crate) reward: Denomination,
    /// The chain's time, if it is known.
    pub(crate) now: Option<Timestamp>,
}

impl Default for Setting {
    fn default() -> Self {
        Setting { reward: Denomination::lode(), now: None }
    }
}

fn table() -> impl Iterator<Item = &'static Sentence> {
    let parts: [&'static [Sentence]; 6] = [
        &registry::SENTENCES,
        &pools::SENTENCES,
        &validators::SENTENCES,
        &slashing::SENTENCES,
        &rewards::SENTENCES,
        &token::SENTENCES,
    ];
    parts.into_iter().flatten()
}

/// Says what a contract's refusal means. One of another deployment's contracts keeps its own words.
pub(crate) fn explain(revert: &Revert, setting: &Setting) -> Explained {
    let arguments = arguments(&revert.detail);
    let has = |name: &str| arguments.iter().any(|(argument, _)| *argument == name);
    // Two contracts may have errors of one name: the sentence that tells most of what this one carries is its own.
    let known = table().filter(|sentence| sentence.error == revert.name).max_by_key(|sentence| {
        let told = sentence.places().filter(|(name, _)| has(name)).count();
        let missing = sentence.places().count() - told;
        (std::cmp::Reverse(missing), told)
    });
    match known {
        Some(sentence) => Explained {
            kind: sentence.kind,
            message: format!("{} ({})", fill(sentence.says, &arguments, setting), revert.name),
            remedy: fill(sentence.next, &arguments, setting),
        },
        None => Explained {
            kind: Kind::Denied,
            message: format!("the contract refused: {}", revert.detail),
            remedy: match revert.name.as_str() {
                "Panic" => "report it: a contract's own check failed",
                _ => "check that the deployment file is of this chain's contracts (`lode chain verify`)",
            }
            .to_owned(),
        },
    }
}

/// What an item of a batch was refused for. The event carries the error's name alone: values are left out.
pub(crate) fn explain_name(name: &str) -> Explained {
    explain(&Revert { name: name.to_owned(), detail: name.to_owned() }, &Setting::default())
}

/// `Name(a: 1, b: "x, y")` as pairs.
fn arguments(detail: &str) -> Vec<(&str, String)> {
    let Some((_, rest)) = detail.split_once('(') else { return Vec::new() };
    let mut inside = rest.strip_suffix(')').unwrap_or(rest);
    let mut found = Vec::new();
    while let Some((name, rest)) = inside.split_once(": ") {
        let end = value_end(rest);
        let (value, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        found.push((name, value.trim_matches('"').to_owned()));
        inside = rest.strip_prefix(", ").unwrap_or("");
    }
    found
}

/// Where a value ends: at the next comma outside of quotes.
fn value_end(text: &str) -> usize {
    let mut quoted = false;
    for (index, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => return index,
            _ => {}
        }
    }
    text.len()
}

fn fill(text: &'static str, arguments: &[(&str, String)], setting: &Setting) -> String {
    let mut filled = text.to_owned();
    for (name, form) in places(text) {
        let value = arguments.iter().find(|(argument, _)| *argument == name);
        let shown = value.map_or_else(|| "…".to_owned(), |(_, value)| formed(value, form, setting));
        let place = if form.is_empty() { format!("{{{name}}}") } else { format!("{{{name}:{form}}}") };
        filled = filled.replace(&place, &shown);
    }
    filled
}

fn formed(value: &str, form: &str, setting: &Setting) -> String {
    let number = value.parse::<u128>().ok();
    let seconds = value.parse::<u64>().ok();
    let word = |words: &[&str]| {
        let index = seconds.and_then(|number| usize::try_from(number).ok());
        index.and_then(|index| words.get(index)).map_or_else(|| value.to_owned(), |word| (*word).to_owned())
    };
    match form {
        "tokens" => {
            number.map_or_else(|| value.to_owned(), |number| Denomination::lode().show(Amount(number)))
        }
        "reward" => number.map_or_else(|| value.to_owned(), |number| setting.reward.show(Amount(number))),
        "time" => seconds
            .map_or_else(|| value.to_owned(), |seconds| moment(timestamp_of_seconds(seconds), setting.now)),
        "seconds" => seconds
            .map_or_else(|| value.to_owned(), |seconds| Millis(seconds.saturating_mul(1_000)).to_string()),
        "pool-state" => word(&["unknown", "created and not started", "running", "ended"]),
        "root-state" => word(&["unknown", "in its veto window", "final", "vetoed"]),
        "phase" => word(&[
            "unknown",
            "in its evidence phase",
            "in its answer phase",
            "in its vote phase",
            "waiting to be resolved",
            "resolved: guilty",
            "resolved: acquitted",
        ]),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests;
