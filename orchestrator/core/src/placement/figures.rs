//! What there is of the GPUs that a replica asks for, in words and figures: for people who wonder why it waits, or which of
//! several products they will get.

use std::collections::BTreeSet;

use lode_protocol::hardware::{Likeness, WantedModel, nominal_memory};
use lode_protocol::units::Bytes;

use super::super::hardware::{GpuKind, Profile};
use super::requirement::Requirement;

/// Names in one sentence.
const NAMED: usize = 6;

/// The kinds of GPU that some nodes have, seen by one requirement.
#[derive(Debug, Default)]
pub(super) struct Figures<'a> {
    /// What was asked for, but for its memory.
    accepted: BTreeSet<&'a GpuKind>,
    /// Other products whose names have everything that was asked for.
    close: BTreeSet<&'a str>,
    /// Everything else.
    other: BTreeSet<&'a str>,
    /// Instances of GPUs that nobody asked for.
    slices: BTreeSet<&'a str>,
}

impl<'a> Figures<'a> {
    pub(super) fn of(profiles: impl Iterator<Item = &'a Profile>, requirement: &Requirement) -> Self {
        let mut figures = Figures::default();
        if requirement.gpus == 0 {
            return figures;
        }
        let kinds: BTreeSet<&GpuKind> = profiles.flatten().collect();
        for kind in kinds {
            if requirement.accepts_model(kind) {
                figures.accepted.insert(kind);
                continue;
            }
            let Some(model) = kind.model.as_deref() else { continue };
            let close = |wanted: &WantedModel| {
                wanted.is_slice() == kind.slice && wanted.likeness(model, kind.memory) == Likeness::Close
            };
            if requirement.models.iter().any(close) {
                figures.close.insert(model);
            } else if kind.slice {
                figures.slices.insert(model);
            } else {
                figures.other.insert(model);
            }
        }
        figures
    }

    /// What helps where no GPU is of a wanted model.
    pub(super) fn on_models(&self) -> String {
        let mut text = String::new();
        if !self.close.is_empty() {
            text += &format!(
                "; {} is another product by its name: ask for it in full if you want it",
                list(self.close.iter().copied())
            );
        }
        if !self.slices.is_empty() {
            text += &format!(
                "; instances are given only where their profile is asked for: {}",
                list(self.slices.iter().copied())
            );
        }
        if !self.other.is_empty() && self.accepted.is_empty() {
            text += &format!("; there are: {}", list(self.other.iter().copied()));
        }
        text
    }

    /// What helps where no GPU of a wanted model has the memory.
    pub(super) fn on_memory(&self) -> Option<String> {
        let sold = |kind: &GpuKind| nominal_memory(kind.memory.unwrap_or_default(), kind.model.as_deref());
        let most = self.accepted.iter().copied().map(sold).max().filter(|most| *most > Bytes(0))?;
        let figures = self.accepted.iter().copied().rev().map(|kind| {
            let model = kind.model.as_deref().unwrap_or("a GPU without a name");
            match kind.memory {
                Some(shown) => format!("{model} has {shown}, which counts as {}", sold(kind)),
                None => format!("{model} does not say how much it has"),
            }
        });
        Some(format!("ask for at most {most} ({})", list(figures)))
    }

    /// What a wish means that could be meant for several products.
    pub(super) fn on_choice(&self, requirement: &Requirement) -> Option<String> {
        let mut told = Vec::new();
        for wanted in &requirement.models {
            let fits = |kind: &&GpuKind| {
                kind.model.as_deref().is_some_and(|model| wanted.is(model, kind.memory))
                    && requirement.accepts_memory(kind)
            };
            let kinds = self.accepted.iter().copied().filter(fits);
            let products: BTreeSet<&str> = kinds.filter_map(|kind| kind.model.as_deref()).collect();
            let close = self.close.iter().filter(|model| wanted.likeness(model, None) == Likeness::Close);
            let others: Vec<&str> = close.copied().collect();
            if products.is_empty() || (products.len() == 1 && others.is_empty()) {
                continue;
            }
            let not =
                if others.is_empty() { String::new() } else { format!(", not {}", list(others.into_iter())) };
            told.push(format!("{:?} fits {}{not}", wanted.text(), list(products.into_iter())));
        }
        if told.is_empty() {
            return None;
        }
        Some(format!("{}: write more of a name to get one of them.", told.join("; ")))
    }
}

fn list<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<T> = names.collect();
    let mut text = names.iter().take(NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text += &format!(" and {more} more");
    }
    text
}
