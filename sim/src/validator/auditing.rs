//! Roots of earnings as validators look at them: rebuilt from what the orchestrator publishes; and roots that somebody
//! posts with its stolen key.

use lode_chain_types::EarningsTree;
use lode_orchestrator_core::effect::Table;
use lode_orchestrator_core::settlement::{RootRow, root_key};
use lode_protocol::amount::Amount;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::Epoch;
use lode_validator_core::{Audit, Event, Matter, PostedRoot};

use super::storage::read;
use crate::chain::Transaction;
use crate::earnings::Posting;
use crate::reading::EPOCH;
use crate::world::World;

impl World {
    /// Somebody with the pool's key promises what nobody earned.
    pub(crate) fn forge_root(&mut self) {
        let over = Epoch(self.now / EPOCH);
        let earnings = &self.chain.earnings;
        let epoch = earnings.latest.map_or(over, |latest| latest.plus(1).max(over));
        let total = earnings.posted.saturating_add(Amount::tokens(1_000));
        let root = Digest(self.dice.bytes());
        self.chain.submit(Transaction::Root(Posting { epoch, root, total, depth: 1, forged: true }));
    }

    /// A validator has looked at a promise.
    pub(crate) fn promise_audited(&mut self, number: usize, matter: Matter) {
        let audit = match &matter {
            Matter::Root(posted) => self.rebuild(posted),
            Matter::Redemption(_) => unavailable("nobody redeems in this world"),
        };
        if let (Matter::Root(posted), Audit::Unavailable { .. }) = (&matter, &audit) {
            self.could_not_rebuild(number, posted.root);
        }
        self.validator_event(number, Event::Audited { matter, audit });
    }

    fn rebuild(&self, posted: &PostedRoot) -> Audit {
        if self.orchestrator.core.is_none() {
            return unavailable("the orchestrator does not answer");
        }
        let prefix = root_key(posted.epoch);
        let from = (Table::Roots, prefix.clone());
        let of_root = |(table, key): &(Table, Vec<u8>)| *table == Table::Roots && key.starts_with(&prefix);
        let rows = self.orchestrator.disk.rows.range(from..).take_while(|(key, _)| of_root(key));
        let pages: Result<Vec<_>, _> = rows.map(|(_, row)| read::<RootRow>(row)).collect();
        let leaves: Vec<_> = pages.into_iter().flatten().flat_map(|page| page.leaves).collect();
        if leaves.is_empty() {
            return unavailable("the orchestrator publishes nothing of this epoch");
        }
        match EarningsTree::new(leaves).ok() {
            Some(tree) if tree.root() == posted.root && tree.total() == posted.total => Audit::Right,
            Some(_) | None => Audit::Wrong {
                code: ErrorCode::new("settlement/other-root"),
                message: "the published leaves make another root".to_owned(),
            },
        }
    }
}

fn unavailable(message: &str) -> Audit {
    Audit::Unavailable { message: message.to_owned() }
}
