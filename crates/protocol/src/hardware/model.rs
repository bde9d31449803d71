//! Which GPUs a wanted model names.
//!
//! Names are compared by their words, never by their letters: `L4` is no `L40S`, `H200` no `GH200`, `A10` no `A100`. A GPU
//! is what was asked for if its name has every word of it, and nothing besides that makes another product of it: vendor,
//! family, socket and memory do not (`A100` names the `NVIDIA A100-SXM4-80GB`), everything else does (`RTX 4090` names
//! neither the `RTX 4090 D` nor the `RTX 4090 Laptop GPU`, `RTX 6000` not the `RTX 6000 Ada Generation`). A word that
//! nobody here knows counts as another product: the wrong card costs more than a question.
//!
//! Instances of a GPU (MIG) are named by their profile, and by nothing else: `MIG 1g.10gb`, or `A100 MIG 1g.10gb`.

use super::memory::is_nominally;
use crate::units::Bytes;

/// Words that make no other product of a GPU.
const SAME_PRODUCT: [&str; 26] = [
    "nvidia",
    "geforce",
    "quadro",
    "tesla",
    "rtx",
    "gtx",
    "gpu",
    "graphics",
    "card",
    "device",
    "accelerator",
    "pcie",
    "pci",
    "nvl",
    "sxm",
    "dgx",
    "dgxs",
    "fhhl",
    "ac",
    "active",
    "passive",
    "blackwell",
    "generation",
    "edition",
    "workstation",
    "server",
];
/// Series that people write without a space before the number.
const SERIES: [&str; 2] = ["rtx", "gtx"];
/// Digits from which on letters behind them are a word of their own: `4090D`, `6000Ada`.
const LONG_NUMBER: usize = 3;
const GIGABYTES: [&str; 3] = ["g", "gb", "gib"];
const MEGABYTES: [&str; 3] = ["m", "mb", "mib"];
const SLICE: &str = "mig";

/// A model that somebody wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedModel {
    text: String,
    /// In lower case, without what says nothing.
    words: Vec<String>,
    /// Gigabytes that it is sold with, where the wish says so.
    gigabytes: Option<u64>,
    /// Profile of the instance, like `1g.10gb`.
    profile: Option<String>,
    /// `MIG` is written in it.
    slice: bool,
}

/// How a GPU's name and a wanted model go together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Likeness {
    /// It is what was asked for.
    Same,
    /// Its name has all that was asked for, and more that makes another product of it.
    Close,
    /// It is something else.
    Other,
}

impl WantedModel {
    /// Reads what somebody wrote. Every text is a wish; some name nothing.
    pub fn parse(text: &str) -> Self {
        let mut wanted = WantedModel {
            text: text.trim().to_owned(),
            words: Vec::new(),
            gigabytes: None,
            profile: None,
            slice: false,
        };
        let words: Vec<String> = words(text).map(str::to_ascii_lowercase).collect();
        let mut rest = words.iter().peekable();
        while let Some(word) = rest.next() {
            let before_unit = rest.peek().is_some_and(|unit| GIGABYTES.contains(&unit.as_str()));
            if let (true, Ok(number)) = (before_unit, word.parse::<u64>()) {
                wanted.gigabytes = Some(number);
                rest.next();
            } else if let Some(number) = gigabytes(word) {
                wanted.gigabytes = Some(number);
            } else if word == SLICE {
                wanted.slice = true;
            } else if is_profile(word) {
                wanted.slice = true;
                wanted.profile = Some(word.clone());
            } else {
                wanted.words.push(word.clone());
            }
        }
        // Which vendor, and whose brand it was at the time, says nothing about the product.
        if wanted.words.iter().any(|word| has_digit(word)) {
            wanted.words.retain(|word| !matches!(word.as_str(), "nvidia" | "tesla" | "gpu"));
        } else {
            wanted.words.retain(|word| !matches!(word.as_str(), "nvidia" | "gpu"));
        }
        wanted
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether an instance of a GPU (MIG) is meant.
    pub fn is_slice(&self) -> bool {
        self.slice
    }

    /// Whether an instance is meant and its profile is not said.
    pub fn lacks_profile(&self) -> bool {
        self.slice && self.profile.is_none()
    }

    /// Whether a GPU of this name and memory is what was asked for.
    pub fn is(&self, name: &str, memory: Option<Bytes>) -> bool {
        self.likeness(name, memory) == Likeness::Same
    }

    /// How a GPU of this name and memory is like it.
    pub fn likeness(&self, name: &str, memory: Option<Bytes>) -> Likeness {
        if self.slice != is_slice_name(name) {
            return Likeness::Other;
        }
        if self.slice {
            let profile = |wanted: &String| words(name).any(|word| word.eq_ignore_ascii_case(wanted));
            if !self.profile.as_ref().is_some_and(profile) {
                return Likeness::Other;
            }
        }
        if !self.words.iter().all(|wanted| words(name).any(|word| is_word(wanted, word))) {
            return Likeness::Other;
        }
        if !self.gigabytes.is_none_or(|wanted| is_sold_with(name, memory, wanted)) {
            return Likeness::Other;
        }
        // A family (`GeForce RTX`), or a profile alone: every product of it was asked for.
        if !self.words.iter().any(|word| has_digit(word))
            && (self.profile.is_some() || !self.is_memory_only())
        {
            return Likeness::Same;
        }
        let other = words(name)
            .any(|word| !is_same_product(word) && !self.words.iter().any(|wanted| is_word(wanted, word)));
        if other { Likeness::Close } else { Likeness::Same }
    }

    /// `80GB` names no product.
    fn is_memory_only(&self) -> bool {
        self.words.is_empty() && self.gigabytes.is_some()
    }
}

/// Whether a GPU of this name is an instance of one.
pub fn is_slice_name(name: &str) -> bool {
    words(name).any(|word| word.eq_ignore_ascii_case(SLICE) || is_profile(word))
}

/// Gigabytes that a name says its GPU is sold with; of an instance those of its profile.
pub(super) fn named_gigabytes(name: &str) -> impl Iterator<Item = u64> {
    let slice = is_slice_name(name);
    words(name).filter_map(move |word| match word.rsplit_once('.') {
        Some((_, memory)) => gigabytes(memory),
        None if slice => None,
        None => gigabytes(word),
    })
}

fn is_sold_with(name: &str, memory: Option<Bytes>, wanted: u64) -> bool {
    words(name).filter_map(gigabytes).any(|named| named == wanted)
        || memory.is_some_and(|memory| is_nominally(memory, Bytes(wanted.saturating_mul(1 << 30))))
}

/// The words of a name: `RTX4090D` has the same as `RTX 4090 D`.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.')
        .map(|word| word.trim_matches('.'))
        .flat_map(|word| {
            let (series, rest) = split_series(word);
            let (number, suffix) = split_number(rest);
            [series, number, suffix]
        })
        .filter(|word| !word.is_empty())
}

fn split_series(word: &str) -> (&str, &str) {
    for series in SERIES {
        if let Some((head, rest)) = word.split_at_checked(series.len())
            && head.eq_ignore_ascii_case(series)
            && has_digit(rest)
        {
            return (head, rest);
        }
    }
    ("", word)
}

fn split_number(word: &str) -> (&str, &str) {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = word.split_at_checked(digits).unwrap_or((word, ""));
    if digits < LONG_NUMBER || suffix.contains('.') || is_unit(suffix) {
        (word, "")
    } else {
        (number, suffix)
    }
}

fn is_unit(text: &str) -> bool {
    GIGABYTES.iter().chain(&MEGABYTES).any(|unit| text.eq_ignore_ascii_case(unit))
}

fn has_digit(word: &str) -> bool {
    word.bytes().any(|letter| letter.is_ascii_digit())
}

/// `80GB`, `480G`.
fn gigabytes(word: &str) -> Option<u64> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at_checked(digits)?;
    if GIGABYTES.iter().any(|known| unit.eq_ignore_ascii_case(known)) { number.parse().ok() } else { None }
}

/// `1g.10gb`, `1c.3g.20gb`: slices and their memory.
fn is_profile(word: &str) -> bool {
    let Some((slices, memory)) = word.rsplit_once('.') else { return false };
    let slice = |part: &str| {
        let number = part.strip_suffix(['g', 'G', 'c', 'C']);
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|letter| letter.is_ascii_digit()))
    };
    gigabytes(memory).is_some() && slices.split('.').all(slice)
}

/// `SXM` is written for any generation of that socket.
fn is_word(wanted: &str, word: &str) -> bool {
    wanted.eq_ignore_ascii_case(word) || (wanted == "sxm" && is_numbered(word, "sxm"))
}

fn is_same_product(word: &str) -> bool {
    SAME_PRODUCT.iter().any(|known| word.eq_ignore_ascii_case(known))
        || is_numbered(word, "sxm")
        || is_numbered(word, "hbm")
        || is_numbered(word, "gddr")
        || word.eq_ignore_ascii_case(SLICE)
        || is_profile(word)
        || (word.starts_with(|letter: char| letter.is_ascii_digit()) && {
            let digits = word.bytes().take_while(u8::is_ascii_digit).count();
            word.split_at_checked(digits).is_some_and(|(_, unit)| is_unit(unit))
        })
}

/// `SXM4`, `HBM3e`, `GDDR6X`.
fn is_numbered(word: &str, stem: &str) -> bool {
    word.split_at_checked(stem.len()).is_some_and(|(head, rest)| {
        head.eq_ignore_ascii_case(stem) && rest.starts_with(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests;
