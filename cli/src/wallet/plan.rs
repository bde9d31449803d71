//! What a command wants done on chain.

use lode_contracts::Intent;
use serde_json::{Map, Value};

use crate::output::Denomination;

/// Transactions in order, and words for them.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What it does, after "this will": `stake 100 LODE more`.
    pub(crate) what: String,
    /// What is so afterwards: `staked 100 LODE more`.
    pub(crate) done: String,
    pub(crate) steps: Vec<Intent>,
    /// The token that amounts of `Rewards` are of.
    pub(crate) reward: Denomination,
    /// What is said beside the transactions in JSON.
    pub(crate) more: Map<String, Value>,
}

impl Plan {
    /// One transaction.
    pub(crate) fn new(what: impl Into<String>, done: impl Into<String>, intent: Intent) -> Self {
        Plan {
            what: what.into(),
            done: done.into(),
            steps: vec![intent],
            reward: Denomination::lode(),
            more: Map::new(),
        }
    }

    /// The same after other transactions, which it needs.
    #[must_use]
    pub(crate) fn after(mut self, mut earlier: Vec<Intent>) -> Self {
        earlier.append(&mut self.steps);
        self.steps = earlier;
        self
    }

    /// The same about a pool that pays in this token.
    #[must_use]
    pub(crate) fn paid_in(mut self, reward: Denomination) -> Self {
        self.reward = reward;
        self
    }

    /// The same with a field more in JSON.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }
}
