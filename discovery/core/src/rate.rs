//! How often each node may publish: the generic cell rate algorithm (ITU-T I.371), one number per node.

use std::collections::BTreeMap;

use lode_protocol::ids::NodeId;
use lode_protocol::units::Millis;

const MINUTE: u64 = 60_000;

/// Who published lately.
#[derive(Debug)]
pub(crate) struct Rates {
    /// Time that one publication costs.
    cost: Millis,
    /// How far ahead of the clock a node may be.
    burst: Millis,
    /// When a node has paid for all that it published. Who has paid is not kept.
    paid_at: BTreeMap<NodeId, Millis>,
}

impl Rates {
    /// So many per minute, all of which may come at once.
    pub(crate) fn per_minute(count: u32) -> Self {
        let count = u64::from(count.max(1));
        let cost = (MINUTE / count).max(1);
        let burst = Millis(cost.saturating_mul(count.saturating_sub(1)));
        Self { cost: Millis(cost), burst, paid_at: BTreeMap::new() }
    }

    /// Whether a node may publish now, or how long it has to wait.
    pub(crate) fn check(&self, node: &NodeId, now: Millis) -> Result<(), Millis> {
        let ahead = self.paid_at.get(node).map_or(Millis(0), |paid| paid.since(now));
        match ahead.since(self.burst) {
            Millis(0) => Ok(()),
            wait => Err(wait),
        }
    }

    /// It publishes.
    pub(crate) fn charge(&mut self, node: NodeId, now: Millis) {
        let paid = self.paid_at.entry(node).or_default();
        *paid = (*paid).max(now).plus(self.cost);
    }

    /// Forgets who has paid.
    pub(crate) fn forget(&mut self, now: Millis) {
        self.paid_at.retain(|_, paid| *paid > now);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.paid_at.len()
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::Address;

    use super::*;

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_one_at_a_time() {
        let (node, other) = (NodeId(Address([1; 20])), NodeId(Address([2; 20])));
        let mut rates = Rates::per_minute(30);
        for _ in 0..30 {
            assert_eq!(rates.check(&node, Millis(7)), Ok(()));
            rates.charge(node, Millis(7));
        }
        assert_eq!(rates.check(&node, Millis(7)), Err(Millis(2_000)));
        assert_eq!(rates.check(&other, Millis(7)), Ok(()));
        assert_eq!(rates.check(&node, Millis(2_006)), Err(Millis(1)));
        assert_eq!(rates.check(&node, Millis(2_007)), Ok(()));
        rates.forget(Millis(60_006));
        assert_eq!(rates.len(), 1);
        rates.forget(Millis(60_007));
        assert_eq!(rates.len(), 0);
    }
}
