//! Roots of earnings on chain.
//!
//! | standing | next |
//! |---|---|
//! | `Submitted` | `Pending` (the chain has it), `Failed` (the chain did not take it) |
//! | `Pending` | `Final`, `Vetoed` |
//!
//! The root is over everything that was ever earned, and is posted for the latest epoch that is over: once per epoch, one
//! at a time, and never by a stale view. Whatever keeps it from being posted, a later epoch's root covers it.

use lode_chain_types::EarningsTree;
use lode_protocol::amount::Amount;
use lode_protocol::envelope::encode;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::ids::Epoch;

use super::super::Core;
use super::super::effect::{Action, ChainCommand, OccurrenceKind, Table};
use super::super::event::{ChainBudget, RootFate};
use super::ledger::Closing;
use super::record::{EpochRoot, EpochRow, LEAVES_IN_PAGE, RootRow, RootStanding, root_page_key};

const VETOED: &str = "settlement/root-vetoed";
const FAILED: &str = "settlement/root-failed";

/// More payees than a root is made for: its leaves are written in one group, which the store bounds.
const MOST_PAYEES: usize = 1_000_000;

/// What an operator must know that keeps a root from being posted.
struct Obstacle {
    code: &'static str,
    message: String,
    remedy: &'static str,
}

impl Core {
    /// Posts the root if there is something to post and nothing is in the way.
    pub(crate) fn consider_posting(&mut self) {
        let obstacle = match self.postable() {
            Some((epoch, budget)) => match self.obstacle(&budget) {
                Some(obstacle) => Some(obstacle),
                None => self.post(epoch, &budget),
            },
            None => return,
        };
        self.tell_obstacle(obstacle);
    }

    /// The epoch whose root could be posted now, as far as the order of things is concerned.
    fn postable(&self) -> Option<(Epoch, ChainBudget)> {
        self.config.settlement.as_ref()?;
        if !self.chain_is_fresh() || self.ledger.closing != Closing::Done {
            return None;
        }
        let progress = &self.ledger.progress;
        let (epoch, budget, timing) = (progress.closed?, self.ledger.budget?, self.ledger.timing?);
        // Since the epoch was heard to be over, which is not before it was: the contract decides in the end.
        let in_time = self.now.monotonic.0.saturating_sub(self.ledger.timing_at.0) <= timing.posting.0;
        let later = budget.latest.is_none_or(|latest| epoch > latest);
        let again = progress.tried.is_some_and(|tried| epoch <= tried);
        // A proof of a later epoch vouches for nothing in this one: that its epoch is over is about to be heard.
        let behind = budget.proven.is_some_and(|proven| proven > epoch);
        let possible =
            progress.submitted.is_none() && !budget.in_veto && in_time && later && !again && !behind;
        (possible && self.ledger.total != budget.posted).then_some((epoch, budget))
    }

    fn obstacle(&self, budget: &ChainBudget) -> Option<Obstacle> {
        let total = self.ledger.total;
        let Some(increase) = total.checked_sub(budget.posted) else {
            return Some(Obstacle {
                code: "settlement/behind-chain",
                message: format!(
                    "The chain has a root over {} tokens, this orchestrator's store knows of {total} only: it is older.",
                    budget.posted
                ),
                remedy: "Restore the latest backup of the data directory: payees would lose earnings otherwise.",
            });
        };
        if budget.proven.is_none() {
            return Some(Obstacle {
                code: "settlement/no-proven-root",
                message:
                    "The validators have agreed on no root lately: nothing vouches for the pool's nodes."
                        .to_owned(),
                remedy: "Look at the validators; earnings are posted by themselves with the next root.",
            });
        }
        let short = |code, what: &str, have: Amount| Obstacle {
            code,
            message: format!("Earnings of {increase} tokens cannot be posted: {what} {have}."),
            remedy: "Fund the pool (`lode pool fund`) or raise its spend cap; they are posted by themselves then.",
        };
        if increase > budget.free {
            return Some(short("settlement/short-budget", "the pool's free budget is", budget.free));
        }
        if increase > budget.spendable_before {
            let cap = budget.spendable_before;
            return Some(short("settlement/over-cap", "the spend cap allows", cap));
        }
        None
    }

    fn post(&mut self, epoch: Epoch, budget: &ChainBudget) -> Option<Obstacle> {
        let proven = budget.proven?;
        let broken = |message: String| {
            Some(Obstacle {
                code: "settlement/no-tree",
                message: format!("No root can be made of the pool's earnings: {message}."),
                remedy: "Restore the latest backup of the data directory: a payee's row is lost or damaged.",
            })
        };
        let Some(leaves) = self.ledger.leaves() else {
            return broken("a payee's place in the tree is empty".to_owned());
        };
        if leaves.len() > MOST_PAYEES {
            return Some(Obstacle {
                code: "settlement/too-many-payees",
                message: format!(
                    "The pool owes to {} payees; a root is made for at most {MOST_PAYEES}.",
                    leaves.len()
                ),
                remedy: "Earnings are kept and published as receipts, which `lode provider redeem` pays one by one.",
            });
        }
        let tree = match EarningsTree::new(leaves.clone()) {
            Ok(tree) => tree,
            Err(error) => return broken(error.to_string()),
        };
        let root = EpochRoot {
            root: tree.root(),
            total: tree.total(),
            depth: tree.depth(),
            proven,
            standing: RootStanding::Submitted,
            covers_from: budget.latest.map(|latest| latest.plus(1)),
            pages: Some(u32::try_from(leaves.len().div_ceil(LEAVES_IN_PAGE)).unwrap_or(u32::MAX)),
        };
        self.ledger.epochs.get_or_insert(epoch, EpochRow::default()).root = Some(root);
        self.ledger.progress.submitted = Some(epoch);
        self.ledger.progress.tried = Some(epoch);
        for (page, leaves) in (0u32..).zip(leaves.chunks(LEAVES_IN_PAGE)) {
            let row = RootRow { leaves: leaves.to_vec() };
            self.change(Table::Roots, root_page_key(epoch, page), Some(encode(&row)));
        }
        self.log(OccurrenceKind::RootSubmitted { epoch, root: root.root, total: root.total });
        self.submit_root(epoch, root);
        None
    }

    /// Hands a root over, also once more after a restart.
    pub(crate) fn submit_root(&mut self, epoch: Epoch, root: EpochRoot) {
        let EpochRoot { root, total, depth, proven, .. } = root;
        self.command_chain(ChainCommand::SubmitRoot { epoch, root, total, depth, proven_epoch: proven });
        self.command_chain(ChainCommand::FollowRoot(epoch));
    }

    fn tell_obstacle(&mut self, obstacle: Option<Obstacle>) {
        let code = obstacle.as_ref().map(|obstacle| obstacle.code);
        let before = std::mem::replace(&mut self.ledger.obstacle, code);
        if before == code {
            return;
        }
        if let Some(before) = before {
            self.act(Action::ClearFinding { code: ErrorCode::new(before), subject: String::new() });
        }
        if let Some(Obstacle { code, message, remedy }) = obstacle {
            self.act(Action::RaiseFinding(Finding::error(code, message).remedy(remedy)));
        }
    }

    /// The chain's latest root says what became of ours.
    pub(crate) fn root_seen_in_budget(&mut self, budget: ChainBudget) {
        let (Some(submitted), Some(latest)) = (self.ledger.progress.submitted, budget.latest) else { return };
        if latest == submitted {
            self.root_stands(submitted, RootStanding::Pending);
        } else if latest > submitted {
            // Somebody else with our key posted in between.
            self.root_stands(submitted, RootStanding::Failed);
        }
    }

    pub(crate) fn chain_root_seen(&mut self, epoch: Epoch, fate: RootFate) {
        let standing = match fate {
            RootFate::Pending => RootStanding::Pending,
            RootFate::Final => RootStanding::Final,
            RootFate::Vetoed => RootStanding::Vetoed,
        };
        self.root_stands(epoch, standing);
        self.consider_posting();
    }

    /// The outbox could not post it.
    pub(crate) fn root_failed(&mut self, epoch: Epoch, message: &str) {
        if self.ledger.progress.submitted != Some(epoch) {
            return;
        }
        let message = format!("The chain did not take the root of epoch {epoch}: {message}");
        self.act(Action::RaiseFinding(Finding::warning(FAILED, message).remedy(
            "Nothing is lost: the next epoch's root covers it. Look at the reason if it happens again.",
        )));
        self.root_stands(epoch, RootStanding::Failed);
        // Another epoch may have ended meanwhile.
        self.consider_posting();
    }

    fn root_stands(&mut self, epoch: Epoch, standing: RootStanding) {
        let Some(root) = self.ledger.epochs.get(&epoch).and_then(|row| row.root) else { return };
        let before = root.standing;
        let moves = match (before, standing) {
            (RootStanding::Submitted, _) => standing != RootStanding::Submitted,
            (RootStanding::Pending, RootStanding::Final | RootStanding::Vetoed) => true,
            // What was given up came about after all.
            (RootStanding::Failed, RootStanding::Pending | RootStanding::Final | RootStanding::Vetoed) => {
                true
            }
            (RootStanding::Pending | RootStanding::Failed, _) => false,
            (RootStanding::Final | RootStanding::Vetoed, _) => false,
        };
        if !moves {
            return;
        }
        if let Some(root) = self.ledger.epochs.get_mut(&epoch).and_then(|row| row.root.as_mut()) {
            root.standing = standing;
        }
        if self.ledger.progress.submitted == Some(epoch) {
            self.ledger.progress.submitted = None;
        }
        let clear = |code| Action::ClearFinding { code: ErrorCode::new(code), subject: String::new() };
        match standing {
            RootStanding::Submitted | RootStanding::Failed => {}
            RootStanding::Pending => self.act(clear(FAILED)),
            RootStanding::Final => self.act(clear(VETOED)),
            RootStanding::Vetoed => {
                let message = format!(
                    "The validators dropped the root of epoch {epoch}; its earnings are not paid yet."
                );
                self.act(Action::RaiseFinding(Finding::error(VETOED, message).remedy(
                    "Read their evidence (event `VetoCast`) and check `/v1/epochs`; the next epoch's root posts them again.",
                )));
            }
        }
    }
}
