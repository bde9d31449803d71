//! Repeatable randomness for the checks.

use crate::batch::{Batch, Table};

/// SplitMix64: small, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// Some bytes, at most `max`.
    pub fn bytes(&mut self, max: u64) -> Vec<u8> {
        let length = self.below(max + 1);
        (0..length).map(|_| self.number().to_le_bytes()[0]).collect()
    }
}

/// Puts and deletes over few keys, so that they meet; now and then a value of many pages.
#[must_use]
pub fn random_batch(random: &mut Random, tables: &[Table]) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..=random.below(12) {
        let Some(table) =
            usize::try_from(random.below(tables.len() as u64)).ok().and_then(|at| tables.get(at))
        else {
            continue;
        };
        let key = format!("key-{}", random.below(24)).into_bytes();
        match random.below(10) {
            0..=2 => batch.delete(*table, key),
            3 => batch.put(*table, key, random.bytes(40_000)),
            _ => batch.put(*table, key, random.bytes(60)),
        };
    }
    batch
}
