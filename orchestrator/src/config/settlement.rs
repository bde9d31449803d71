//! What work is paid.

use std::collections::{BTreeMap, BTreeSet};

use lode_program::{Exit, ExitError};
use lode_protocol::amount::Amount;
use lode_protocol::ids::Address;
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Millis;
use serde::Deserialize;

use crate::core::config::{Prices, Settlement};

/// `[settlement]`. Without the section the pool pays nothing. To end payment set the price to 0 and leave the section until
/// everything that was earned is posted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettlementConfig {
    /// What one GPU costs for one hour, in whole tokens.
    pub price_per_gpu_hour: Amount,
    /// The same by proven class, where it differs.
    #[serde(default)]
    pub class_prices: BTreeMap<String, Amount>,
    /// Addresses whose orders count besides the pool owner's.
    #[serde(default)]
    pub tenants: BTreeSet<Address>,
    /// Usage is durable after this time at the latest.
    #[serde(default = "thirty_seconds")]
    pub checkpoint_interval: Millis,
    /// Epochs whose receipts are kept and served though they are paid for.
    #[serde(default = "two_hundred")]
    pub kept_epochs: usize,
}

fn thirty_seconds() -> Millis {
    Millis::seconds(30)
}

fn two_hundred() -> usize {
    200
}

impl SettlementConfig {
    /// As the core wants it.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn for_core(&self, rewards_contract: Address) -> Result<Settlement, ExitError> {
        let wrong = |text: String| Err(ExitError::new(Exit::BadConfig, text));
        let mut classes = BTreeMap::new();
        for (class, price) in &self.class_prices {
            let Ok(number) = class.parse() else {
                return wrong(format!("settlement.class_prices: {class:?} is not the number of a class"));
            };
            classes.insert(ProofClassId(number), *price);
        }
        let prices = Prices { per_gpu_hour: self.price_per_gpu_hour, classes };
        if prices.highest() > Prices::MOST {
            return wrong(format!("settlement: a price is above {} tokens per GPU and hour", Prices::MOST));
        }
        if self.checkpoint_interval.0 == 0 || self.kept_epochs == 0 {
            return wrong(
                "settlement.checkpoint_interval and settlement.kept_epochs must not be 0".to_owned(),
            );
        }
        Ok(Settlement {
            rewards_contract,
            prices,
            tenants: self.tenants.clone(),
            checkpoint: self.checkpoint_interval,
            kept_epochs: self.kept_epochs,
        })
    }
}
