//! One line of the table of refusals: an error of a contract, what it means, what to do next.

use crate::failure::Kind;

/// What is said of one error. `{parameter}` stands for its value, `{parameter:form}` for the value in a form: `tokens`
/// (of the staking token), `reward` (of the pool's reward token), `time`, `seconds`, `pool-state`, `root-state`, `phase`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sentence {
    pub(super) error: &'static str,
    pub(super) kind: Kind,
    pub(super) says: &'static str,
    pub(super) next: &'static str,
}

impl Sentence {
    /// The values that it names, with their forms.
    pub(super) fn places(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        places(self.says).chain(places(self.next))
    }
}

pub(super) const fn sentence(
    error: &'static str,
    kind: Kind,
    says: &'static str,
    next: &'static str,
) -> Sentence {
    Sentence { error, kind, says, next }
}

/// The places of a sentence that values go to: name and form.
pub(super) fn places(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}'))
        .map(|(place, _)| place.split_once(':').unwrap_or((place, "")))
}
