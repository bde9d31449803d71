//! What a node committed to for one GPU.

use lode_protocol::hash::Digest;
use lode_protocol::proof::Phase;
use lode_protocol::units::Millis;

/// One commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Commit {
    pub(super) at: Millis,
    pub(super) root: Digest,
    /// The message as it was received.
    pub(super) sealed: Vec<u8>,
}

/// Arrival and root of the two commits. The first of each phase is final.
#[derive(Debug, Default)]
pub(super) struct Commits {
    pub(super) walk: Option<Commit>,
    pub(super) product: Option<Commit>,
    /// The walk's root by the word of the product's commit.
    pub(super) walk_of_product: Option<Digest>,
}

/// What a commit comes to.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// It is the first of its phase, or the same again.
    Fine,
    /// It excludes one that was received before: this one.
    Excludes(Vec<u8>),
    /// A product without its walk.
    Incomplete,
}

impl Commits {
    /// Takes a commit that answers this run's start.
    pub(super) fn take(&mut self, phase: Phase, walk: Option<Digest>, commit: Commit) -> Taken {
        match phase {
            Phase::Walk => {
                let before = self.walk.as_ref().filter(|before| before.root != commit.root);
                let product = self.product.as_ref().filter(|_| self.walk_of_product != Some(commit.root));
                if let Some(other) = before.or(product) {
                    return Taken::Excludes(other.sealed.clone());
                }
                self.walk.get_or_insert(commit);
            }
            Phase::Product => {
                let Some(walk) = walk else { return Taken::Incomplete };
                let before = self.product.as_ref();
                let before =
                    before.filter(|before| before.root != commit.root || self.walk_of_product != Some(walk));
                let walked = self.walk.as_ref().filter(|walked| walked.root != walk);
                if let Some(other) = before.or(walked) {
                    return Taken::Excludes(other.sealed.clone());
                }
                self.walk_of_product.get_or_insert(walk);
                self.product.get_or_insert(commit);
            }
        }
        Taken::Fine
    }

    pub(super) fn is_complete(&self) -> bool {
        self.walk.is_some() && self.product.is_some()
    }

    /// When the latest one arrived.
    pub(super) fn last(&self) -> Option<Millis> {
        self.product.as_ref().or(self.walk.as_ref()).map(|commit| commit.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(root: u8) -> Commit {
        Commit { at: Millis(1), root: Digest([root; 32]), sealed: vec![root] }
    }

    #[test]
    fn the_first_commit_of_each_phase_is_final_and_another_one_excludes_it() {
        let mut commits = Commits::default();
        assert_eq!(commits.take(Phase::Walk, None, commit(1)), Taken::Fine);
        assert_eq!(commits.take(Phase::Walk, None, commit(1)), Taken::Fine);
        assert_eq!(commits.take(Phase::Walk, None, commit(2)), Taken::Excludes(vec![1]));
        assert_eq!(commits.take(Phase::Product, None, commit(3)), Taken::Incomplete);
        assert!(!commits.is_complete());
        let other_walk = commits.take(Phase::Product, Some(Digest([2; 32])), commit(3));
        assert_eq!(other_walk, Taken::Excludes(vec![1]));
        assert_eq!(commits.take(Phase::Product, Some(Digest([1; 32])), commit(3)), Taken::Fine);
        assert!(commits.is_complete());
        let other_root = commits.take(Phase::Product, Some(Digest([1; 32])), commit(4));
        assert_eq!(other_root, Taken::Excludes(vec![3]));
    }

    #[test]
    fn a_walk_that_comes_after_its_product_must_be_the_one_it_names() {
        let mut commits = Commits::default();
        assert_eq!(commits.take(Phase::Product, Some(Digest([1; 32])), commit(3)), Taken::Fine);
        assert_eq!(commits.take(Phase::Walk, None, commit(2)), Taken::Excludes(vec![3]));
        assert_eq!(commits.take(Phase::Walk, None, commit(1)), Taken::Fine);
    }
}
