//! How much a step may still look at and place: what is left over goes on in the next one.

use super::super::config::Tunables;

/// What it takes to look at a node itself, where it takes one to pass a place in the index.
const NODE: u32 = 8;

/// What is left of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Effort {
    looks: u32,
    placements: u32,
    #[cfg(test)]
    counted: Counted,
}

/// What was looked at.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) places: u32,
    pub(crate) nodes: u32,
}

impl Effort {
    pub(super) fn of_step(terms: &Tunables) -> Self {
        Effort {
            looks: terms.step_visits,
            placements: terms.step_placements,
            #[cfg(test)]
            counted: Counted::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn looks(looks: u32) -> Self {
        Effort { looks, placements: u32::MAX, counted: Counted::default() }
    }

    #[cfg(test)]
    pub(crate) fn counted(self) -> Counted {
        self.counted
    }

    pub(super) fn is_spent(self) -> bool {
        self.looks == 0 || self.placements == 0
    }

    /// A place in the index, or a shape in the queue, was looked at.
    pub(super) fn look(&mut self) {
        self.looks = self.looks.saturating_sub(1);
        #[cfg(test)]
        {
            self.counted.places += 1;
        }
    }

    /// A node was looked at.
    pub(super) fn visit(&mut self) {
        self.looks = self.looks.saturating_sub(NODE);
        #[cfg(test)]
        {
            self.counted.nodes += 1;
        }
    }

    pub(super) fn place(&mut self) {
        self.placements = self.placements.saturating_sub(1);
    }

    /// Takes half of it out.
    pub(super) fn split(&mut self) -> Effort {
        let mut half = *self;
        (half.looks, half.placements) = (self.looks / 2, self.placements / 2);
        self.looks -= half.looks;
        self.placements -= half.placements;
        half
    }

    pub(super) fn give_back(&mut self, rest: Effort) {
        self.looks = self.looks.saturating_add(rest.looks);
        self.placements = self.placements.saturating_add(rest.placements);
    }
}
